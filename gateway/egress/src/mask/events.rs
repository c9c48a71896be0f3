//! Where the events of a stream stand in its bytes, as the HTML standard, section 9.2.6, has it and the gateway's `model::sse`
//! reads it. Knows positions alone: whoever passes the bytes on can do so unchanged.

use std::ops::Range;

use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The lines of a stream, while its bytes arrive. Positions count from the first byte that was not done with.
#[derive(Default)]
pub struct Lines {
    /// What the lines of data of the unfinished event say, and where the first of them begins.
    data: Vec<Range<usize>>,
    event: usize,
    /// Where the unfinished line begins, and up to where no end of it is.
    line: usize,
    looked: usize,
    /// The last byte was a CR: an LF right behind it belongs to the same line end.
    after_cr: bool,
    /// The first line is past, and with it the place where a byte order mark may stand.
    begun: bool,
    /// The beginning of the unfinished line is done with: it is no data.
    passed: bool,
}

impl Lines {
    /// Takes what was not done with, and more behind it. Gives each event that is whole now as the places of its lines of
    /// data, and says how many bytes are done with: all before the data of an unfinished event, or what may be its beginning.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[Range<usize>])) -> usize {
        if self.after_cr && self.looked < bytes.len() {
            self.after_cr = false;
            if bytes[self.looked] == b'\n' {
                self.looked += 1;
                self.line = self.looked;
            }
        }
        while let Some(at) = memchr2(b'\r', b'\n', &bytes[self.looked..]) {
            let end = self.looked + at;
            self.looked = end + 1;
            if bytes[end] == b'\r' {
                self.after_cr = self.looked == bytes.len();
                self.looked += usize::from(bytes.get(self.looked) == Some(&b'\n'));
            }
            let start = self.line + if self.begun { 0 } else { mark(&bytes[self.line..end]) };
            let passed = std::mem::take(&mut self.passed);
            if let Some(value) = data(&bytes[start..end]).filter(|_| !passed) {
                if self.data.is_empty() {
                    self.event = self.line;
                }
                self.data.push(start + value..end);
            } else if start == end && !passed && !self.data.is_empty() {
                each(&self.data);
                self.data.clear();
            }
            (self.line, self.begun) = (self.looked, true);
        }
        self.looked = bytes.len();
        let unfinished = &bytes[self.line..];
        let done = match self.data.is_empty() {
            false => self.event,
            true if self.passed || !self.may_be_data(unfinished) => {
                (self.line, self.passed) = (bytes.len(), true);
                bytes.len()
            }
            true => self.line,
        };
        for line in &mut self.data {
            *line = line.start - done..line.end - done;
        }
        (self.event, self.line, self.looked) = (0, self.line - done, self.looked - done);
        done
    }

    fn may_be_data(&self, line: &[u8]) -> bool {
        let rest = if self.begun { line } else { &line[mark(line)..] };
        let begins = |with: &[u8]| rest.starts_with(with) || with.starts_with(rest);
        begins(b"data:") || !self.begun && BYTE_ORDER_MARK.starts_with(line)
    }
}

/// The length of a byte order mark at the beginning.
fn mark(line: &[u8]) -> usize {
    if line.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

/// Where the value begins in a line of data.
fn data(line: &[u8]) -> Option<usize> {
    match line.strip_prefix(b"data")? {
        [] => Some(line.len()),
        [b':', b' ', ..] => Some(6),
        [b':', ..] => Some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    /// The data of the events, and the bytes as they go on.
    fn through(pieces: &[&[u8]]) -> (Vec<String>, Vec<Vec<u8>>) {
        let (mut lines, mut held, mut events, mut passed) =
            (Lines::default(), Vec::new(), Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let done = lines.take(&held, |data| {
                let lines: Vec<_> =
                    data.iter().map(|line| String::from_utf8_lossy(&held[line.clone()])).collect();
                events.push(lines.join("\n"));
            });
            passed.push(held.drain(..done).collect());
        }
        (events, passed)
    }

    const CASES: &[(&str, &[&str])] = &[
        ("data: a\n\n", &["a"]),
        ("data:a\r\n\r\ndata:b\r\rdata:c\n\n", &["a", "b", "c"]),
        ("event: x\ndata: 1\nid: 7\ndata: 2\n\n", &["1\n2"]),
        ("\u{feff}data: bom\n\n", &["bom"]),
        (": comment\n\n:\n\ndata\n\n", &[""]),
        ("data:  two spaces\n\n", &[" two spaces"]),
        ("event: nodata\n\ndata: y\n\n", &["y"]),
        ("data: unfinished\n", &[]),
        ("\n\n\r\n\r\ndata: late\n\n", &["late"]),
        ("data: a\ndata\ndata:\n\n", &["a\n\n"]),
        ("dataset: no\n\n data: no\n\n", &[]),
    ];

    #[test]
    fn the_events_are_the_same_at_every_border() {
        for (text, expected) in CASES {
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let bytes = text.as_bytes();
                    let (events, passed) =
                        through(&[&bytes[..first], &bytes[first..second], &bytes[second..]]);
                    assert_eq!(events, *expected, "{text:?} cut at {first} and {second}");
                    let passed = passed.concat();
                    assert!(
                        bytes.starts_with(&passed)
                            && (expected.is_empty() || passed.ends_with(b"\n") || passed.ends_with(b"\r"))
                    );
                }
            }
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(through(&single).0, *expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn nothing_but_unfinished_data_waits() {
        let pieces: [&[u8]; 5] =
            [b": pi", b"data: ng\neve", b"nt: x\nda", b"ta: 1\n: ping\n", b"\nevent: y\n"];
        let want: [&[u8]; 5] = [b": pi", b"data: ng\neve", b"nt: x\n", b"", b"data: 1\n: ping\n\nevent: y\n"];
        let (events, passed) = through(&pieces);
        assert_eq!((events, passed), (vec!["1".to_owned()], want.map(<[u8]>::to_vec).to_vec()));
    }
}
