//! Takes the webhook secret out of the bytes before anybody else has them. Every request carries it in a header, and
//! whoever reads the gateway's memory would find it in the buffers of the HTTP parser: so it is hashed as it arrives,
//! and overwritten in place by a number under which the gate asks for the digest.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Digest;

/// The header that carries the secret, as it stands in a line.
const NAME: &[u8] = b"x-telegram-bot-api-secret-token:";
/// Digits of the number that replaces it. A shorter value has no digest, so it is wrong: real ones have 43 characters.
const DIGITS: usize = 8;
/// Digests that wait for their request. Requests on a connection are read one after the other, ahead by a buffer.
const WAITING: usize = 64;

/// Digests of what stood in the header, by number.
#[derive(Debug, Default)]
pub struct Shown(Mutex<VecDeque<(u32, Digest)>>);

impl Shown {
    /// The SHA-256 of what stood where this value stands now, once.
    pub fn digest(&self, value: &[u8]) -> Option<Digest> {
        let number = u32::from_str_radix(std::str::from_utf8(value.get(..DIGITS)?).ok()?, 16).ok()?;
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = shown.iter().position(|(other, _)| *other == number)?;
        shown.remove(at).map(|(_, digest)| digest)
    }

    fn add(&self, number: u32, digest: Digest) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() == WAITING {
            shown.pop_front();
        }
        shown.push_back((number, digest));
    }
}

/// A stream whose reader never sees a secret.
#[derive(Debug)]
pub struct Scrubbed<S> {
    inner: S,
    scrub: Scrub,
}

impl<S> Scrubbed<S> {
    /// Wraps a connection from its first byte on.
    pub fn new(inner: S, shown: Arc<Shown>) -> Self {
        Self { inner, scrub: Scrub { shown, state: State::Line(0), number: 0, hash: Sha256::new() } }
    }
}

/// Where in a line the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This many bytes of the line are those of the name.
    Line(usize),
    /// The line is another one.
    Other,
    /// Between colon and value.
    Blank,
    /// This many bytes of the value were seen; the flag: the last ones were blanks, which do not count at the end.
    Value(usize, bool),
}

#[derive(Debug)]
struct Scrub {
    shown: Arc<Shown>,
    state: State,
    number: u32,
    hash: Sha256,
}

impl Scrub {
    fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while let Some(byte) = bytes.get_mut(at) {
            self.state = match (self.state, *byte) {
                (State::Value(..), b'\r' | b'\n') => {
                    self.finish();
                    if *byte == b'\n' { State::Line(0) } else { State::Other }
                }
                (_, b'\n') => State::Line(0),
                (State::Line(seen), byte) if byte.to_ascii_lowercase() == NAME[seen] => {
                    if seen + 1 == NAME.len() { State::Blank } else { State::Line(seen + 1) }
                }
                (State::Line(_), _) => State::Other,
                (State::Other, _) => match bytes[at..].iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        at += end;
                        State::Line(0)
                    }
                    None => return,
                },
                (State::Blank, b' ' | b'\t') => State::Blank,
                (State::Blank, b'\r') => State::Other,
                (State::Value(seen, _), b' ' | b'\t') => State::Value(seen, true),
                (State::Blank, _) => {
                    self.number = self.number.wrapping_add(1);
                    self.hash.reset();
                    self.hide(byte, 0);
                    State::Value(1, false)
                }
                (State::Value(seen, blank), _) => {
                    if blank {
                        // A secret has no blank in it; whatever this is, it is not one.
                        self.hash.update([0]);
                    }
                    self.hide(byte, seen);
                    State::Value(seen + 1, false)
                }
            };
            at += 1;
        }
    }

    /// The value is complete.
    fn finish(&mut self) {
        self.shown.add(self.number, Digest::new(self.hash.finalize_reset().into()));
        // The hash still has its last block in a buffer, and resetting it only moves a position.
        self.hash.update([0; 63]);
        self.hash.reset();
    }

    /// Hashes one byte of the value and puts a digit of its number, or a filler, in its place.
    fn hide(&mut self, byte: &mut u8, place: usize) {
        self.hash.update([*byte]);
        *byte = match place < DIGITS {
            true => b"0123456789abcdef"[(self.number >> (4 * (DIGITS - 1 - place)) & 0xf) as usize],
            false => b'x',
        };
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Scrubbed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(context, buffer);
        this.scrub.pass(&mut buffer.filled_mut()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Scrubbed<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sha2::{Digest as _, Sha256};
    use tokio::io::AsyncReadExt;

    use super::{Digest, Scrubbed, Shown};

    /// What the reader gets when the bytes come in two pieces, and the digests.
    async fn pass(bytes: &[u8], cut: usize) -> (Vec<u8>, Arc<Shown>) {
        let shown = Arc::new(Shown::default());
        let stream = tokio_test_pieces(bytes, cut);
        let mut scrubbed = Scrubbed::new(stream, Arc::clone(&shown));
        let mut out = Vec::new();
        scrubbed.read_to_end(&mut out).await.expect("read");
        (out, shown)
    }

    fn tokio_test_pieces(bytes: &[u8], cut: usize) -> impl tokio::io::AsyncRead + Unpin {
        let (one, two) = bytes.split_at(cut);
        std::io::Cursor::new(one.to_vec()).chain(std::io::Cursor::new(two.to_vec()))
    }

    fn value(line: &[u8]) -> &[u8] {
        let text = line.split(|byte| *byte == b':').nth(1).expect("a value");
        text.trim_ascii()
    }

    #[tokio::test]
    async fn the_secret_is_gone_wherever_the_reads_are_cut_and_its_digest_is_there_once() {
        let secret = "abcDEF_0123456789-abcdefghijklmnopqrstuvwxy";
        let head = format!(
            "POST /telegram/a HTTP/1.1\r\nHost: x\r\nX-Telegram-Bot-Api-Secret-Token:  {secret} \r\nA: b\r\n\r\n{{}}"
        );
        for cut in 0..=head.len() {
            let (out, shown) = pass(head.as_bytes(), cut).await;
            assert_eq!(out.len(), head.len());
            let text = String::from_utf8(out).expect("text");
            assert!(!text.contains(&secret[..6]) && text.ends_with("A: b\r\n\r\n{}"), "{cut}: {text}");
            let line = text.lines().find(|line| line.starts_with("X-Telegram")).expect("the line");
            let expected = Digest::new(Sha256::digest(secret).into());
            assert!(shown.digest(value(line.as_bytes())).expect("there").matches(&expected), "{cut}");
            assert!(shown.digest(value(line.as_bytes())).is_none(), "once");
        }
    }

    #[tokio::test]
    async fn each_value_has_its_own_number_and_nobody_can_write_one() {
        let two = "A: b\nx-telegram-bot-api-secret-token: 00000001xxxxxxxx\nX-TELEGRAM-BOT-API-SECRET-TOKEN: two two two\r\n";
        let (out, shown) = pass(two.as_bytes(), 0).await;
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(value(lines[1].as_bytes()), b"00000001xxxxxxxx", "the first number, by chance the same");
        let first = Digest::new(Sha256::digest("00000001xxxxxxxx").into());
        let digest = shown.digest(value(lines[1].as_bytes())).expect("there");
        assert!(digest.matches(&first), "the digest of what was written");
        assert!(!text.contains("two"), "{text}");
        for short in ["", "1", "1234567"] {
            let (out, shown) =
                pass(format!("\nx-telegram-bot-api-secret-token:{short}\r\n").as_bytes(), 0).await;
            assert!(shown.digest(value(&out)).is_none(), "{short:?}");
        }
    }
}
