//! Server-sent events, incrementally: bytes in, the data of each event out. As the HTML standard, section 9.2.6, but
//! for `id` and `retry`, which model servers don't use. Own code because the crates for it bound no event's size.

/// Larger than any delta; a whole answer that a server sends as one event fits as well.
pub const MAX_EVENT: usize = 1 << 20;

/// An event, or a line that never ends, is larger than [`MAX_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {MAX_EVENT} bytes")]
pub struct TooLarge;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its lines of data, joined by a line feed. Bytes that are not UTF-8 become U+FFFD.
    pub data: String,
}

/// The state between two chunks.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF right behind it belongs to the same line end.
    after_cr: bool,
    /// The first line is past, and with it the place where a byte order mark may stand.
    begun: bool,
}

impl Parser {
    /// Takes the next bytes and gives every event that they complete. What follows the last blank line waits for
    /// more; at the end of the stream it is dropped, as the standard says.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Event)) -> Result<(), TooLarge> {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.grow(&rest[..at])?;
            let cr = rest[at] == b'\r';
            rest = &rest[at + 1..];
            if cr {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            if let Some(event) = self.end_line() {
                each(event);
            }
        }
        self.grow(rest)
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + self.data.len() + bytes.len() > MAX_EVENT {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let mut text = &line[..];
        if !self.begun {
            self.begun = true;
            text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        }
        let event = match text.is_empty() {
            true => self.end_event(),
            false => {
                self.field(text);
                None
            }
        };
        // The buffer goes on to the next line.
        self.line = line;
        self.line.clear();
        event
    }

    fn field(&mut self, line: &[u8]) {
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.name = value.to_vec(),
            _ => {}
        }
    }

    fn end_event(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        let text = |bytes| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        std::mem::take(&mut self.has_data).then(|| Event { name: text(name), data: text(data) })
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_EVENT, Parser, TooLarge};

    fn events(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let (mut parser, mut out) = (Parser::default(), Vec::new());
        for chunk in chunks {
            parser.feed(chunk, |event| out.push((event.name, event.data))).expect("small");
        }
        out
    }

    const CASES: &[(&str, &[(&str, &str)])] = &[
        ("data: a\n\n", &[("", "a")]),
        ("data:a\r\n\r\ndata:b\r\rdata:c\n\n", &[("", "a"), ("", "b"), ("", "c")]),
        ("event: x\ndata: 1\ndata: 2\n\n", &[("x", "1\n2")]),
        ("\u{feff}data: bom\n\n", &[("", "bom")]),
        (": comment\n\n:\n\ndata\n\n", &[("", "")]),
        ("data:  two spaces\n\n", &[("", " two spaces")]),
        ("id: 1\nretry: 5\nunknown: z\ndata: k\n\n", &[("", "k")]),
        ("event: nodata\n\ndata: y\n\n", &[("", "y")]),
        ("data: {\"a\": \"b:c\"}\n\n", &[("", "{\"a\": \"b:c\"}")]),
        ("data: unfinished\n", &[]),
        ("data: é€😀\r\n\r\n", &[("", "é€😀")]),
        ("\n\n\r\n\r\ndata: late\n\n", &[("", "late")]),
        ("data: a\ndata\ndata:\n\n", &[("", "a\n\n")]),
        ("dataset: no\n\n", &[]),
    ];

    #[test]
    fn the_table_holds_at_every_split() {
        for (text, expected) in CASES {
            let expected: Vec<(String, String)> =
                expected.iter().map(|(n, d)| (n.to_string(), d.to_string())).collect();
            let bytes = text.as_bytes();
            assert_eq!(events(&[bytes]), expected, "{text:?}");
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(events(&chunks), expected, "{text:?} split at {first} and {second}");
                }
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(events(&single), expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(events(&[b"data: \xff\xfe\n\n"]), [(String::new(), "\u{fffd}\u{fffd}".to_owned())]);
    }

    #[test]
    fn an_event_or_line_without_end_is_refused() {
        let piece = [b'x'; 4096];
        let fill = |prefix: &[u8], suffix: &[u8]| {
            let mut parser = Parser::default();
            for _ in 0..=MAX_EVENT / piece.len() {
                for part in [prefix, &piece, suffix] {
                    parser.feed(part, |_| ())?;
                }
            }
            Ok(())
        };
        assert_eq!(fill(b"", b""), Err(TooLarge));
        assert_eq!(fill(b"data: ", b"\n"), Err(TooLarge));
        assert_eq!(fill(b"data: ", b"\n\n"), Ok(()));
        assert_eq!(fill(b": comment ", b"\n"), Ok(()));
    }
}
