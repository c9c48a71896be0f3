//! Keeps our own secrets out of what far ends send back: a server that echoes a request in an error page would hand
//! the key to the gateway. Found in plain form, across chunk borders; each byte of it becomes `*`, so that
//! lengths and JSON stay valid. Holds back nothing but bytes that may be the beginning of a secret.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use memchr::memmem::Finder;
use openclaw_wire::secret::Secret;
use zeroize::Zeroizing;

/// Shortest secret that is looked for, in bytes. Servers that want no key get ones like `ollama`, which occur in ordinary text.
const SHORTEST: usize = 16;

/// The secrets to look for. The searchers are copies of the secrets and live as long as the process.
#[derive(Default)]
pub struct Masks {
    secrets: Vec<(Zeroizing<Vec<u8>>, Finder<'static>)>,
}

impl Masks {
    /// Of a bot token (`number:secret`) the part after the colon is looked for: so it is found where the colon is
    /// percent-encoded, too.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut masks = Self::default();
        for secret in secrets {
            let whole = secret.expose();
            let part = match whole.split_once(':') {
                Some((id, rest)) if id.bytes().all(|b| b.is_ascii_digit()) => rest,
                _ => whole,
            };
            let known = masks.secrets.iter().any(|(text, _)| text.as_slice() == part.as_bytes());
            if part.len() >= SHORTEST && !known {
                let text = Zeroizing::new(part.as_bytes().to_vec());
                let finder = Finder::new(part.as_bytes()).into_owned();
                masks.secrets.push((text, finder));
            }
        }
        masks
    }

    /// Whether a secret is in `bytes`.
    pub fn found(&self, bytes: &[u8]) -> bool {
        self.secrets.iter().any(|(_, finder)| finder.find(bytes).is_some())
    }

    /// The same bytes with every whole secret replaced. Copies only when there is one.
    fn replace(&self, bytes: Bytes) -> Bytes {
        if !self.found(&bytes) {
            return bytes;
        }
        let mut copy = BytesMut::from(&*bytes);
        for (text, finder) in &self.secrets {
            let mut from = 0;
            while let Some(at) = finder.find(&copy[from..]) {
                let start = from + at;
                copy[start..start + text.len()].fill(b'*');
                from = start + text.len();
            }
        }
        copy.freeze()
    }

    /// How many bytes at the end of `bytes` may be the beginning of a secret; never a whole one.
    fn beginning(&self, bytes: &[u8]) -> usize {
        let one = |text: &[u8]| {
            let tail = &bytes[bytes.len() - bytes.len().min(text.len() - 1)..];
            let mut starts = memchr::memchr_iter(text[0], tail);
            starts.find(|start| text.starts_with(&tail[*start..])).map_or(0, |start| tail.len() - start)
        };
        self.secrets.iter().map(|(text, _)| one(text)).max().unwrap_or(0)
    }
}

/// An answer's body with the secrets taken out.
pub struct Masked<B> {
    body: B,
    masks: std::sync::Arc<Masks>,
    held: Bytes,
    ended: bool,
}

impl<B> Masked<B> {
    /// Wraps a body.
    pub fn new(body: B, masks: std::sync::Arc<Masks>) -> Self {
        Self { body, masks, held: Bytes::new(), ended: false }
    }

    /// What of `held` and `data` can go on now.
    fn pass(&mut self, data: Bytes) -> Bytes {
        let whole = if self.held.is_empty() {
            data
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + data.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&data);
            joined.freeze()
        };
        // Replaced first: the end of a secret that is masked now can't be the beginning of another.
        let mut whole = self.masks.replace(whole);
        self.held = whole.split_off(whole.len() - self.masks.beginning(&whole));
        whole
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Masked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        while !this.ended {
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(frame) => frame?,
                None => {
                    this.ended = true;
                    break;
                }
            };
            // Trailers are not passed on: nothing that we speak uses them.
            let Ok(data) = frame.into_data() else { continue };
            let data = this.pass(data);
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        let rest = std::mem::take(&mut this.held);
        Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        let inner = if self.ended { SizeHint::with_exact(0) } else { self.body.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, pin::Pin, sync::Arc, task::Context, task::Poll};

    use bytes::Bytes;
    use http_body::{Body, Frame};
    use openclaw_wire::secret::Secret;

    use super::{Masked, Masks};

    const KEY: &str = "test-key-not-real-0001";
    const TOKEN: &str = "12345:test-token-not-real";

    struct Chunks(VecDeque<Bytes>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
        }
    }

    fn masks() -> Arc<Masks> {
        let secrets = [KEY, TOKEN, "ollama", KEY].map(|text| Secret::new(text.to_owned()));
        Arc::new(Masks::new(&secrets))
    }

    fn through(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let body = Chunks(chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect());
        let mut body = Masked::new(body, masks());
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut out = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            out.push(frame.into_data().expect("data").to_vec());
        }
        assert!(body.is_end_stream());
        out
    }

    #[test]
    fn a_secret_is_replaced_at_every_chunk_border() {
        for secret in [KEY, &TOKEN[6..]] {
            let text = format!("before {secret} between {secret}{secret} after");
            let want = text.replace(secret, &"*".repeat(secret.len())).into_bytes();
            for first in 0..text.len() {
                for second in first..text.len() {
                    let (a, b) = text.as_bytes().split_at(first);
                    let (b, c) = b.split_at(second - first);
                    assert_eq!(through(&[a, b, c]).concat(), want, "cut at {first} and {second}");
                }
            }
            let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(through(&single).concat(), want);
        }
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let event = b"data: {\"x\":1}\n\n".as_slice();
        assert_eq!(through(&[event, event]), [event, event], "an event goes on as it came");
        assert_eq!(through(&[b"ab test-ke", b"pt back"]), [b"ab ".as_slice(), b"test-kept back"]);
        assert_eq!(through(&[b"ends with test-key-not"]), [b"ends with ".as_slice(), b"test-key-not"]);
        // The secret begins again inside of a beginning.
        let text = format!("test-test-key{KEY}");
        let want = format!("test-test-key{}", "*".repeat(KEY.len()));
        assert_eq!(through(&[&text.as_bytes()[..20], &text.as_bytes()[20..]]).concat(), want.as_bytes());
    }

    #[test]
    fn an_encoded_colon_hides_no_token_and_short_words_are_left_alone() {
        assert_eq!(through(&[b"/bot12345%3Atest-token-not-real/x"]), [b"/bot12345%3A*******************/x"]);
        assert_eq!(through(&[b"use ollama"]), [b"use ollama"]);
    }

    #[test]
    fn the_announced_length_stays_true() {
        let mut body = Masked::new(http_body_util::Full::new(Bytes::from(format!("x{KEY}test-k"))), masks());
        let announced = body.size_hint().exact().expect("exact");
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut got = 0;
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) {
            got += frame.data_ref().expect("data").len() as u64;
            assert_eq!(body.size_hint().exact(), Some(announced - got));
        }
        assert_eq!(got, announced);
    }
}
