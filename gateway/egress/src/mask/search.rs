//! Finds any of many long texts in one pass (Wu and Manber, "A fast algorithm for multi-pattern searching", 1994): looks
//! at every second pair of bytes at most, and in ordinary text at one of fifteen. Keeps one copy of each text,
//! in locked memory.

use std::ops::Range;

use openclaw_confine::locked::Locked;

/// Entries of the table of shifts: eight bits of the first byte and five of the second. Pairs that share an entry cost
/// time and change no result.
const ENTRIES: usize = 1 << 13;

/// How much of a text's beginning may be shown where what follows can't be waited for: no more than a fourth, so that nobody
/// guesses the rest, and no more than this, which lets the beginnings pass that vendors tell everybody and documentation is
/// full of (`sk-ant-api03-`, `sk-proj-`, `AIza`).
const SHOWN: usize = 16;

/// The texts and where to look for them.
#[derive(Default)]
pub struct Search {
    /// Sorted.
    texts: Vec<Locked>,
    /// Length of the shortest text; the window that is moved along.
    window: usize,
    /// Length of the longest one.
    longest: usize,
    /// How far the window may move when it ends with this pair.
    shifts: Vec<u8>,
    /// Texts by the pair at the end of their window, sorted.
    ends: Vec<([u8; 2], usize)>,
    /// Bytes with which a text begins, and bytes that are in any.
    first: Bytes,
    any: Bytes,
    /// Entries of the pairs with which texts begin.
    begins: Vec<bool>,
}

/// A set of bytes.
#[derive(Default)]
struct Bytes([u64; 4]);

impl Bytes {
    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }
}

fn entry(pair: [u8; 2]) -> usize {
    usize::from(pair[0]) | usize::from(pair[1] & 0x1f) << 8
}

impl Search {
    /// Of texts of two bytes or more.
    pub fn new(mut texts: Vec<Locked>) -> Self {
        texts.sort_unstable_by(|one, other| one.as_ref().cmp(other.as_ref()));
        // A longer window than a shift can say is of no use.
        let window = texts.iter().map(|text| text.as_ref().len()).min().unwrap_or(0).min(u8::MAX.into());
        let longest = texts.iter().map(|text| text.as_ref().len()).max().unwrap_or(0);
        assert!(texts.is_empty() || window >= 2, "a text is too short to be looked for");
        let mut search = Self { window, longest, ..Self::default() };
        if texts.is_empty() {
            return search;
        }
        search.shifts = vec![(window - 1) as u8; ENTRIES];
        search.begins = vec![false; ENTRIES];
        for (index, text) in texts.iter().map(Locked::as_ref).enumerate() {
            for (at, pair) in text[..window].windows(2).enumerate() {
                let shift = (window - 2 - at) as u8;
                let entry = &mut search.shifts[entry([pair[0], pair[1]])];
                *entry = shift.min(*entry);
            }
            search.ends.push(([text[window - 2], text[window - 1]], index));
            search.first.add(text[0]);
            search.begins[entry([text[0], text[1]])] = true;
            text.iter().for_each(|byte| search.any.add(*byte));
        }
        search.ends.sort_unstable();
        search.texts = texts;
        search
    }

    /// The first text at or after `from`, and of those that begin there the longest: where, and its length.
    pub fn find(&self, bytes: &[u8], from: usize) -> Option<(usize, usize)> {
        if self.texts.is_empty() {
            return None;
        }
        let mut end = from + self.window;
        while end <= bytes.len() {
            let pair = [bytes[end - 2], bytes[end - 1]];
            match self.shifts[entry(pair)] {
                0 => {
                    let start = end - self.window;
                    if let Some(length) = self.at(&bytes[start..], pair) {
                        return Some((start, length));
                    }
                    end += 1;
                }
                shift => end += usize::from(shift),
            }
        }
        None
    }

    /// Where every text is, one that begins inside of another too.
    pub fn all<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let mut from = 0;
        std::iter::from_fn(move || {
            let (start, length) = self.find(bytes, from)?;
            from = start + 1;
            Some(start..start + length)
        })
    }

    /// The longest text with which `bytes` begin, of those whose window ends with the pair.
    fn at(&self, bytes: &[u8], pair: [u8; 2]) -> Option<usize> {
        let from = self.ends.partition_point(|(other, _)| *other < pair);
        let same = self.ends[from..].iter().take_while(|(other, _)| *other == pair);
        let found = same.filter(|(_, index)| bytes.starts_with(self.texts[*index].as_ref()));
        found.map(|(_, index)| self.texts[*index].as_ref().len()).max()
    }

    /// How many bytes at the end of `bytes` may be the beginning of a text, never a whole one; and how many of them must
    /// not be shown, if it is one.
    pub fn beginning(&self, bytes: &[u8]) -> (usize, usize) {
        let most = bytes.len().min(self.longest.saturating_sub(1));
        let run = bytes.iter().rev().take(most).take_while(|byte| self.any.has(**byte)).count();
        let tail = &bytes[bytes.len() - run..];
        let (mut begun, mut covered) = (0, 0);
        for start in 0..run {
            let rest = &tail[start..];
            let may_begin = match rest {
                [only] => self.first.has(*only),
                [first, second, ..] => self.begins[entry([*first, *second])],
                [] => false,
            };
            if !may_begin {
                continue;
            }
            let from = self.texts.partition_point(|text| text.as_ref() <= rest);
            let texts = self.texts[from..].iter().map(Locked::as_ref);
            for text in texts.take_while(|text| text.starts_with(rest)) {
                begun = begun.max(rest.len());
                covered = covered.max(rest.len().saturating_sub(SHOWN.min(text.len() / 4)));
            }
        }
        (begun, covered)
    }
}

#[cfg(test)]
mod tests {
    use openclaw_confine::locked::Locked;

    use super::Search;

    fn search(texts: &[&str]) -> Search {
        Search::new(texts.iter().map(|text| Locked::copy(text.as_bytes()).expect("room")).collect())
    }

    #[test]
    fn every_text_is_found_at_every_place() {
        let texts = ["abcdefgh", "bcdefghi-longer", "hgfedcba", "aaaaaaaa", "abcdefgh-and-more"];
        let search = search(&texts);
        for text in texts {
            for before in 0..40 {
                for filler in ["x", "a", "abcdefg", "hgfedcb"] {
                    let hay = format!("{}{text}{filler}", &filler.repeat(40)[..before]);
                    let (at, length) = search.find(hay.as_bytes(), 0).expect("found");
                    // What the filler and the text make together may begin earlier; nothing begins later.
                    assert!(at <= before && texts.contains(&&hay[at..at + length]), "{hay}");
                }
            }
        }
        assert_eq!(search.find(b"abcdefg hgfedcb aaaaaaa bcdefghi-longe", 0), None);
        assert_eq!(search.find(b"-abcdefgh-and-more-", 0), Some((1, 17)), "the longest of two");
        assert_eq!(search.find(b"abcdefgh abcdefgh", 1), Some((9, 8)));
    }

    /// Against the obvious way, on texts of few letters, where nearly everything nearly matches.
    #[test]
    fn it_finds_what_the_obvious_way_finds() {
        let mut state = 7_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for _ in 0..300 {
            let mut text = |most: u32| -> String {
                let length = 3 + random(most);
                (0..length).map(|_| char::from(b'a' + random(2) as u8)).collect()
            };
            let texts = [text(5), text(9), text(12)];
            let hay = text(60);
            let search = search(&texts.each_ref().map(String::as_str));
            let all = (0..hay.len()).filter_map(|at| {
                let here = texts.iter().filter(|text| hay[at..].starts_with(text.as_str()));
                here.map(String::len).max().map(|length| (at, length))
            });
            assert_eq!(search.find(hay.as_bytes(), 0), all.min_by_key(|(at, _)| *at), "{texts:?} in {hay}");
            let tails = (1..=hay.len()).rev().find(|length| {
                let tail = &hay[hay.len() - length..];
                texts.iter().any(|text| text.len() > *length && text.starts_with(tail))
            });
            assert_eq!(
                search.beginning(hay.as_bytes()).0,
                tails.unwrap_or(0),
                "{texts:?} at the end of {hay}"
            );
        }
    }

    #[test]
    fn without_texts_nothing_is_found() {
        let none = search(&[]);
        assert_eq!((none.find(b"anything", 0), none.beginning(b"anything")), (None, (0, 0)));
    }
}
