//! The bodies of a skill's requests and answers, piece by piece: counted, and looked through for our keys. A request that
//! holds one is cut before the key leaves; in an answer it is masked.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use openclaw_wire::egress::Denial;

use super::{call::Call, denial::Why, place::Place};
use crate::mask::{Masked, Masks, Scanned};

/// Errors of bodies.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// A body that may not go on.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Stopped(pub Denial);

/// A request's body on its way out.
pub struct Outgoing<B> {
    body: Scanned<B>,
    call: Arc<Call>,
    place: Place,
}

impl<B> Outgoing<B> {
    /// Wraps a body that goes to `place`.
    pub fn new(body: B, masks: Arc<Masks>, call: Arc<Call>, place: Place) -> Self {
        Self { body: Scanned::new(body, masks), call, place }
    }
}

fn stopped(call: &Call, why: &Why) -> Broken {
    Stopped(call.denied(why)).into()
}

impl<B> Body for Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Broken>,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Self { body, call, place } = self.get_mut();
        let came = |length| call.sends(length).map_err(|why| stopped(call, &why));
        let found = |_, now| match now {
            0 => Ok(()),
            _ => Err(stopped(call, &Why::Secret(place.clone()))),
        };
        body.poll_piece(cx, came, found)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body on its way in.
pub struct Returning<B> {
    body: Masked<B>,
    call: Arc<Call>,
}

impl<B> Returning<B> {
    /// Wraps a body.
    pub fn new(body: B, masks: Arc<Masks>, call: Arc<Call>) -> Self {
        Self { body: Masked::new(body, masks), call }
    }
}

impl<B> Body for Returning<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Broken>,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        let frame = frame.map_err(Into::into)?;
        let length = frame.data_ref().map_or(0, Bytes::len);
        Poll::Ready(Some(match self.call.receives(length) {
            Ok(()) => Ok(frame),
            Err(why) => Err(stopped(&self.call, &why)),
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
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::{Outgoing, Returning, Stopped};
    use crate::{
        mask::Masks,
        secret::Secret,
        way::{
            call::{Call, RECEIVED, SENT},
            place::Place,
        },
    };

    const KEY: &str = "test-key-not-real-0001";

    fn call() -> Arc<Call> {
        Arc::new(Call::new("weather".parse().expect("id"), String::new(), Vec::new(), Default::default()))
    }

    fn masks() -> Arc<Masks> {
        let key = Secret::new(KEY).expect("room");
        Arc::new(Masks::new([&key]).expect("room"))
    }

    /// What leaves of a body in these pieces, and the denial.
    async fn leaves(pieces: Vec<Vec<u8>>) -> (Vec<u8>, Option<String>) {
        let frames = pieces
            .into_iter()
            .map(|piece| Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from(piece))));
        let place = Place { host: "api.example.com".into(), port: 443 };
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut body = Outgoing::new(body, masks(), call(), place);
        let mut out = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => out.extend(frame.into_data().expect("data")),
                Err(error) => {
                    let Stopped(denial) = error.downcast_ref().expect("stopped");
                    return (out, Some(denial.message.clone()));
                }
            }
        }
        (out, None)
    }

    /// Incident 63: a key in a request to an allowed host does not leave, however it is cut.
    #[tokio::test]
    async fn no_byte_of_a_key_leaves() {
        use base64::Engine;
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("user:{KEY}"));
        let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [KEY.to_owned(), encoded, hex] {
            let text = format!("{{\"a\":\"{form}\"}}").into_bytes();
            for cut in 0..text.len() {
                let (out, denial) = leaves(vec![text[..cut].to_vec(), text[cut..].to_vec()]).await;
                let denial = denial.expect("denied");
                assert!(
                    denial.contains("tried to send one of OpenClaw's keys to api.example.com:443"),
                    "{denial}"
                );
                assert!(out.len() <= 6 + 7, "only what stands before it may have left: {out:?}");
            }
        }
        let (out, denial) = leaves(vec![b"test-key-not".to_vec(), b"-a-key".to_vec()]).await;
        assert_eq!(
            (out.as_slice(), denial),
            (b"test-key-not-a-key".as_slice(), None),
            "what only looks like one"
        );
    }

    #[tokio::test]
    async fn budgets_cut_both_directions() {
        let call = call();
        let place = Place { host: "api.example.com".into(), port: 443 };
        let body = || Full::new(Bytes::from_static(&[b'x'; 1024]));
        call.sends(SENT as usize - 1024).expect("within");
        let whole = Outgoing::new(body(), masks(), call.clone(), place.clone()).collect().await;
        assert_eq!(whole.expect("the last piece").to_bytes().len(), 1024);
        assert!(Outgoing::new(body(), masks(), call.clone(), place).collect().await.is_err());
        call.receives(RECEIVED as usize).expect("within");
        assert!(Returning::new(body(), masks(), call).collect().await.is_err());
    }
}
