//! The body of a far end's answer, with its two limits of time: the longest silence between two pieces, and the longest
//! exchange as a whole, so that no server can hold a connection for good by a byte now and then (incident 129).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// A body that ends in time.
#[derive(Debug)]
pub struct Timed<B = Incoming> {
    body: B,
    /// When the last piece came.
    heard: Instant,
    silence: Duration,
    /// The end of the whole exchange.
    end: Instant,
    /// Wakes when something may be over. It is not moved with each piece: that it came is seen when it wakes.
    timer: Pin<Box<Sleep>>,
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum Broken<E = hyper::Error> {
    /// The far end, or the way to it.
    #[error(transparent)]
    Far(E),
    /// Nothing came for so long.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// It did not end.
    #[error("it took too long")]
    TooLong,
}

impl<B> Timed<B> {
    /// With the longest silence, and the end of the exchange.
    pub fn new(body: B, silence: Duration, end: Instant) -> Self {
        let heard = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(end.min(heard + silence)));
        Self { body, heard, silence, end, timer }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Timed<B> {
    type Data = Bytes;
    type Error = Broken<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.heard = Instant::now();
            return Poll::Ready(match this.heard < this.end {
                true => frame.map(|frame| frame.map_err(Broken::Far)),
                false => Some(Err(Broken::TooLong)),
            });
        }
        loop {
            ready!(this.timer.as_mut().poll(cx));
            let now = Instant::now();
            let silent = this.heard + this.silence;
            if now >= this.end {
                return Poll::Ready(Some(Err(Broken::TooLong)));
            }
            if now >= silent {
                return Poll::Ready(Some(Err(Broken::Silent(this.silence))));
            }
            this.timer.as_mut().reset(silent.min(this.end));
        }
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
    use std::{convert::Infallible, time::Duration};

    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::Instant;

    use super::{Broken, Timed};

    const NEVER: Duration = Duration::from_secs(1 << 20);
    const SOON: Duration = Duration::from_millis(20);

    fn piece() -> Result<Frame<Bytes>, Infallible> {
        Ok(Frame::data(Bytes::from_static(b"x")))
    }

    #[tokio::test]
    async fn silence_ends_it() {
        let pieces = stream::iter([piece(), piece()]).chain(stream::pending());
        let mut body = Timed::new(StreamBody::new(pieces), SOON, Instant::now() + NEVER);
        for _ in 0..2 {
            body.frame().await.expect("a piece").expect("good");
        }
        assert!(matches!(body.frame().await, Some(Err(Broken::Silent(SOON)))));
    }

    /// Whoever says a byte now and then is not silent, and comes to an end all the same.
    #[tokio::test]
    async fn no_exchange_lasts_for_ever() {
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            Some((piece(), ()))
        });
        let mut body = Timed::new(StreamBody::new(Box::pin(trickle)), NEVER, Instant::now() + SOON);
        let end = loop {
            match body.frame().await.expect("no end") {
                Ok(_) => {}
                Err(end) => break end,
            }
        };
        assert!(matches!(end, Broken::TooLong));
        let silent = stream::pending::<Result<Frame<Bytes>, Infallible>>();
        let mut body = Timed::new(StreamBody::new(silent), NEVER, Instant::now() + SOON);
        assert!(matches!(body.frame().await, Some(Err(Broken::TooLong))));
    }
}
