//! Hides secrets in what the gateway reads out of a model's answer: one that is cut over several events and would be whole
//! again when their texts are put together, one whose letters are spelled as JSON escapes. Holds back nothing that could be
//! read by itself: bytes of an unfinished event, or of an answer that is one JSON value. An event never waits for the next:
//! what shows in it of a secret's beginning is bounded by [`Search::beginning`], and the rest is replaced as it comes.

use std::{borrow::Cow, ops::Range, slice::from_ref};

use bytes::{Bytes, BytesMut};

use super::{
    events::Lines,
    hide,
    search::Search,
    strings::{characters, is_escaped, strings},
};

/// Longest unfinished event, and longest answer in one piece: the gateway takes none that is longer, so what goes on of it is
/// hidden as a whole.
const LONGEST: usize = 8 << 20;
/// Texts that are followed at the same time, those of them whose end may be the beginning of a secret. An answer has one or two.
const TEXTS: usize = 256;

/// One answer.
pub struct Joined {
    kind: Kind,
    held: BytesMut,
    texts: Texts,
}

enum Kind {
    /// Events; `begun` if it can't be one value any more.
    Events { lines: Lines, begun: bool },
    /// One JSON value.
    Whole,
    /// Too long to be anything.
    Endless,
}

impl Joined {
    /// Nothing has come yet.
    pub fn new() -> Self {
        let kind = Kind::Events { lines: Lines::default(), begun: false };
        Self { kind, held: BytesMut::new(), texts: Texts::default() }
    }

    /// What of the bytes so far can go on now, without secrets, and whether there was one.
    pub fn pass(&mut self, search: &Search, mut data: Bytes) -> (Bytes, bool) {
        // As the gateway does it: the content type is often wrong.
        if let Kind::Events { begun: begun @ false, .. } = &mut self.kind
            && let Some(first) = data.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            *begun = true;
            if *first == b'{' {
                self.kind = Kind::Whole;
            }
        }
        let mut hidden = Vec::new();
        match &mut self.kind {
            Kind::Events { lines, .. } if self.held.is_empty() => {
                let done = lines.take(&data, |lines| self.texts.event(search, &data, lines, &mut hidden));
                self.held.extend_from_slice(&data[done..]);
                data.truncate(done);
            }
            Kind::Events { lines, .. } => {
                self.held.extend_from_slice(&data);
                let done =
                    lines.take(&self.held, |lines| self.texts.event(search, &self.held, lines, &mut hidden));
                data = self.held.split_to(done).freeze();
            }
            Kind::Whole => {
                self.held.extend_from_slice(&data);
                data.clear();
            }
            Kind::Endless => hidden.push(0..data.len()),
        }
        if self.held.len() > LONGEST {
            self.kind = Kind::Endless;
            let mut all = BytesMut::from(data);
            hidden.push(all.len()..all.len() + self.held.len());
            all.unsplit(std::mem::take(&mut self.held));
            data = all.freeze();
        }
        (hide(data, &hidden), !hidden.is_empty())
    }

    /// What was held back, when the answer has ended. Some read an event whose end is missing.
    pub fn rest(&mut self, search: &Search) -> (Bytes, bool) {
        let (mut held, mut hidden) = (std::mem::take(&mut self.held), Vec::new());
        let length = held.len();
        match &mut self.kind {
            Kind::Events { lines, .. } => {
                held.extend_from_slice(b"\n\n");
                lines.take(&held, |lines| self.texts.event(search, &held, lines, &mut hidden));
                held.truncate(length);
            }
            Kind::Whole => self.texts.event(search, &held, from_ref(&(0..length)), &mut hidden),
            Kind::Endless => {}
        }
        (hide(held.freeze(), &hidden), !hidden.is_empty())
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// The ends of texts that may be the beginning of a secret, the one that grew last at the end.
#[derive(Default)]
struct Texts(Vec<(u64, Vec<u8>)>);

impl Texts {
    /// Takes an event's lines of data; adds the places in `bytes` that must be hidden.
    fn event(
        &mut self,
        search: &Search,
        bytes: &[u8],
        lines: &[Range<usize>],
        hidden: &mut Vec<Range<usize>>,
    ) {
        let data = match lines {
            [line] => Cow::Borrowed(&bytes[line.clone()]),
            lines => {
                Cow::Owned(lines.iter().map(|line| &bytes[line.clone()]).collect::<Vec<_>>().join(&b'\n'))
            }
        };
        // Bytes that are no text don't keep the gateway from reading the rest, and are in no secret.
        let json = match std::str::from_utf8(&data) {
            Ok(json) => Cow::Borrowed(json),
            Err(_) => data.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect(),
        };
        strings(&json, |text, string| {
            // No string goes over the end of a line.
            let (mut line, mut start) = (0, string.start);
            while start > lines[line].len() {
                start -= lines[line].len() + 1;
                line += 1;
            }
            let begin = lines[line].start + start;
            self.grow(search, text, &json.as_bytes()[string], |place| {
                hidden.push(begin + place.start..begin + place.end);
            });
        });
    }

    /// A text goes on with this piece, as it is spelled.
    fn grow(&mut self, search: &Search, text: u64, piece: &[u8], mut hide: impl FnMut(Range<usize>)) {
        let known = self.0.iter().position(|(known, _)| *known == text);
        let mut all = known.map(|at| self.0.remove(at).1).unwrap_or_default();
        let before = all.len();
        let places = is_escaped(piece).then(|| characters(piece));
        all.extend_from_slice(places.as_ref().map_or(piece, |(characters, _)| characters));

        let mut found: Vec<_> = search.all(&all).collect();
        // The end of a secret that is hidden now can't be the beginning of another.
        found.iter().for_each(|place| all[place.clone()].fill(b'*'));
        let (begun, covered) = search.beginning(&all);
        if covered > 0 {
            found.push(all.len() - covered..all.len());
        }
        for place in found.iter().filter(|place| place.end > before) {
            let place = place.start.max(before) - before..place.end - before;
            hide(match &places {
                Some((_, places)) => places[place.start]..places[place.end],
                None => place,
            });
        }
        if begun > 0 {
            all.drain(..all.len() - begun);
            if self.0.len() == TEXTS {
                self.0.remove(0);
            }
            self.0.push((text, all));
        }
    }
}

#[cfg(test)]
mod tests;
