//! Keeps our own secrets out of what passes: a server that echoes a request in an error page would hand the key to the
//! gateway, and a skill must not carry one away. Found plain and encoded, across chunk borders; each byte of it becomes
//! `*`, so that lengths and JSON stay valid. Holds back nothing but bytes that may be the beginning of a secret. In answers
//! of models the texts are followed, too, that the gateway puts together from the events of a stream ([`joined`]): of a
//! key that is cut over several, the beginning is seen there and the rest is not.

mod events;
mod forms;
mod joined;
mod search;
mod strings;

use std::{
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use openclaw_confine::locked::{Full, Locked};

use crate::{alarm::Alarms, secret::Secret};
use joined::Joined;
use search::Search;

/// Shortest secret that is looked for, in bytes. Servers that want no key get ones like `ollama`, which occur in ordinary text.
const SHORTEST: usize = 16;
/// As an alarm tells of it.
const GATEWAY: &str = "a request of the gateway";

/// The secrets to look for, in all their forms.
#[derive(Default)]
pub struct Masks(Search, Arc<Alarms>);

impl Masks {
    /// Of a bot token (`number:secret`) the part after the colon is looked for: so it is found where the colon is
    /// percent-encoded, too.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Result<Self, Full> {
        let mut texts: Vec<Locked> = Vec::new();
        for secret in secrets {
            let whole = secret.expose();
            let part = match whole.split_once(':') {
                Some((id, rest)) if id.bytes().all(|b| b.is_ascii_digit()) => rest,
                _ => whole,
            };
            let known = texts.iter().any(|text| text.as_ref() == part.as_bytes());
            if part.len() >= SHORTEST && !known {
                for form in forms::forms(part.as_bytes()) {
                    texts.push(Locked::copy(&form)?);
                }
            }
        }
        Ok(Self(Search::new(texts), Arc::default()))
    }

    /// The same, with alarms for what is found in requests of the gateway.
    pub fn with_alarms(self, alarms: Arc<Alarms>) -> Self {
        Self(self.0, alarms)
    }

    /// Whether a secret is in `bytes`.
    pub fn found(&self, bytes: &[u8]) -> bool {
        self.0.find(bytes, 0).is_some()
    }

    /// The bytes of a request of the gateway without secrets; one that was there is an alarm.
    pub fn clean(&self, bytes: Bytes) -> Bytes {
        let (clean, found) = self.replace(bytes);
        if found > 0 {
            self.1.raise(GATEWAY);
        }
        clean
    }

    /// The same bytes with every whole secret replaced, and how many there were. Copies only when there is one.
    fn replace(&self, bytes: Bytes) -> (Bytes, usize) {
        let found: Vec<_> = self.0.all(&bytes).collect();
        (hide(bytes, &found), found.len())
    }
}

/// Copies only when there is something to hide.
fn hide(bytes: Bytes, places: &[Range<usize>]) -> Bytes {
    if places.is_empty() {
        return bytes;
    }
    let mut copy = BytesMut::from(bytes);
    for place in places {
        copy[place.clone()].fill(b'*');
    }
    copy.freeze()
}

/// Looks through a stream piece by piece, in either direction. What it found is replaced; whether it is passed on so
/// or not at all is the caller's decision.
pub struct Scanner {
    masks: Arc<Masks>,
    held: Bytes,
    /// Of an answer of a model.
    joined: Option<Joined>,
    found: usize,
}

impl Scanner {
    /// One for each stream.
    pub fn new(masks: Arc<Masks>) -> Self {
        Self { masks, held: Bytes::new(), joined: None, found: 0 }
    }

    /// What of the bytes so far can go on now, without secrets.
    pub fn pass(&mut self, data: Bytes) -> Bytes {
        let whole = if self.held.is_empty() {
            data
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + data.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&data);
            joined.freeze()
        };
        // Replaced first: the end of a secret that is masked now can't be the beginning of another.
        let (mut whole, found) = self.masks.replace(whole);
        self.found += found;
        let (begun, _) = self.masks.0.beginning(&whole);
        self.held = whole.split_off(whole.len() - begun);
        self.read(whole, false)
    }

    /// What was held back, when the stream has ended.
    pub fn rest(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        self.read(held, true)
    }

    /// What can go on of an answer that the gateway reads.
    fn read(&mut self, data: Bytes, last: bool) -> Bytes {
        let Some(joined) = &mut self.joined else { return data };
        let (mut data, mut hidden) = joined.pass(&self.masks.0, data);
        if last && joined.held() > 0 {
            let (rest, more) = joined.rest(&self.masks.0);
            (data, hidden) = ([data, rest].concat().into(), hidden || more);
        }
        self.found += usize::from(hidden);
        data
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len() + self.joined.as_ref().map_or(0, Joined::held)
    }

    /// How many secrets were in it so far, or how often a part of one was.
    pub fn found(&self) -> usize {
        self.found
    }
}

/// A body on its way through a scanner.
pub struct Scanned<B> {
    body: B,
    scanner: Scanner,
    ended: bool,
}

impl<B> Scanned<B> {
    /// Wraps a body.
    pub fn new(body: B, masks: Arc<Masks>) -> Self {
        Self { body, scanner: Scanner::new(masks), ended: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Scanned<B> {
    /// The next piece, without secrets. `came` hears the length of each piece that comes, `found` how many secrets there were
    /// before it and are now; both can end the body.
    pub fn poll_piece<E>(
        &mut self,
        cx: &mut Context<'_>,
        came: impl Fn(usize) -> Result<(), E>,
        found: impl Fn(usize, usize) -> Result<(), E>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>>
    where
        B::Error: Into<E>,
    {
        while !self.ended {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => frame.map_err(Into::into)?,
                None => {
                    self.ended = true;
                    break;
                }
            };
            // Trailers are not passed on: nothing that we speak uses them.
            let Ok(data) = frame.into_data() else { continue };
            came(data.len())?;
            let before = self.scanner.found();
            let data = self.scanner.pass(data);
            found(before, self.scanner.found())?;
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        let rest = self.scanner.rest();
        Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))))
    }

    /// As of [`Body`].
    pub fn is_end_stream(&self) -> bool {
        self.scanner.held() == 0 && (self.ended || self.body.is_end_stream())
    }

    /// As of [`Body`]: what is held back still comes.
    pub fn size_hint(&self) -> SizeHint {
        let held = self.scanner.held() as u64;
        let inner = if self.ended { SizeHint::with_exact(0) } else { self.body.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

/// A body with the secrets taken out.
pub struct Masked<B> {
    body: Scanned<B>,
    /// Of what leaves.
    alarms: Option<Arc<Alarms>>,
}

impl<B> Masked<B> {
    /// Wraps an answer's body: an echo.
    pub fn new(body: B, masks: Arc<Masks>) -> Self {
        Self { body: Scanned::new(body, masks), alarms: None }
    }

    /// Wraps the body of a model's answer, which the gateway reads.
    pub fn read(body: B, masks: Arc<Masks>) -> Self {
        let mut body = Scanned::new(body, masks);
        body.scanner.joined = Some(Joined::new());
        Self { body, alarms: None }
    }

    /// Wraps the body of a request of the gateway: a secret in it is an alarm.
    pub fn leaving(body: B, masks: Arc<Masks>) -> Self {
        let alarms = Some(Arc::clone(&masks.1));
        Self { body: Scanned::new(body, masks), alarms }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Masked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, alarms } = self.get_mut();
        let alarms = alarms.as_ref();
        let found = |before, now| {
            match (before == 0 && now > 0, alarms) {
                (true, Some(alarms)) => alarms.raise(GATEWAY),
                (true, None) => tracing::warn!("a key was to come back in an answer; it was replaced"),
                (false, _) => {}
            }
            Ok(())
        };
        body.poll_piece(cx, |_| Ok(()), found)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, pin::Pin, sync::Arc, task::Context, task::Poll};

    use super::{Masked, Masks};
    use crate::secret::Secret;
    use bytes::Bytes;
    use http_body::{Body, Frame};

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
        let secrets = [KEY, TOKEN, "ollama", KEY].map(|text| Secret::new(text).expect("room"));
        Arc::new(Masks::new(&secrets).expect("room"))
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
    fn every_form_is_replaced_at_every_chunk_border() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
        let percent: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let basic = STANDARD.encode(format!("user:{KEY}"));
        for (text, hidden) in [(hex, 44), (percent, 66), (basic, 29)] {
            let text = format!("[\"{text}\"]");
            for cut in 0..text.len() {
                let out = through(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]).concat();
                assert_eq!(out.len(), text.len());
                assert_eq!(out.iter().filter(|byte| **byte == b'*').count(), hidden, "{text} cut at {cut}");
            }
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
