//! An answer's body keeps the state with which its request began, so that what was exchanged meanwhile is known to be out
//! of use only when the last byte has passed. It also bounds how long an answer may be.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::live::Live;

/// Longest answer, in bytes. Telegram hands out files of 20 MB; a model's answer is a thousand times shorter.
const LONGEST: u64 = 256 << 20;

/// A body, and what it was asked for with.
pub struct Leased<B, L = Arc<Live>> {
    body: B,
    left: u64,
    _live: L,
}

impl<B, L> Leased<B, L> {
    /// Wraps a body.
    pub fn new(body: B, live: L) -> Self {
        Self { body, left: LONGEST, _live: live }
    }
}

/// Why an answer was cut short.
#[derive(Debug, thiserror::Error)]
pub enum Cut<E> {
    /// The far end, or the way to it.
    #[error(transparent)]
    Far(E),
    /// It did not end.
    #[error("the answer is longer than {LONGEST} bytes")]
    TooLong,
}

impl<B: Body<Data = Bytes> + Unpin, L: Unpin> Body for Leased<B, L> {
    type Data = Bytes;
    type Error = Cut<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Cut::Far(error)))),
            None => return Poll::Ready(None),
        };
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        Poll::Ready(Some(match this.left.checked_sub(length) {
            Some(left) => {
                this.left = left;
                Ok(frame)
            }
            None => Err(Cut::TooLong),
        }))
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
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::{Cut, LONGEST, Leased};

    /// An answer without an end is cut, and what it was asked for with is let go with it.
    #[tokio::test]
    async fn an_answer_without_an_end_is_cut() {
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        let endless = stream::repeat_with(move || Ok::<_, Infallible>(Frame::data(piece.clone())));
        let kept = std::sync::Arc::new(());
        let mut body = Leased::new(StreamBody::new(endless), kept.clone());
        let mut passed = 0;
        let cut = loop {
            match body.frame().await.expect("no end") {
                Ok(frame) => passed += frame.data_ref().expect("data").len() as u64,
                Err(cut) => break cut,
            }
        };
        assert!(matches!(cut, Cut::TooLong) && passed == LONGEST, "{passed}");
        assert_eq!(std::sync::Arc::strong_count(&kept), 2);
        drop(body);
        assert_eq!(std::sync::Arc::strong_count(&kept), 1);
    }
}
