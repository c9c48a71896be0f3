//! The gateway's answer as it comes: JSON documents, one on each line.

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use hyper::body::Body;
use openclaw_wire::admin::ChatEvent;

/// Longest line, in bytes: a question shows the full arguments of a call, which are at most a model's answer.
const LONGEST: usize = 1 << 20;

/// Reads the events of one turn.
pub struct Events<B> {
    body: B,
    buffer: Vec<u8>,
}

impl<B> Events<B>
where
    B: Body + Unpin,
    B::Data: AsRef<[u8]>,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    /// From the body of the answer.
    pub fn new(body: B) -> Self {
        Self { body, buffer: Vec::new() }
    }

    /// The next event; the end of the stream before the turn's end is an error. Nothing is lost when the caller stops
    /// waiting.
    pub async fn next(&mut self) -> anyhow::Result<ChatEvent> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line)
                    .context("understand the gateway: are both of one release?");
            }
            if self.buffer.len() > LONGEST {
                bail!("read the answer: a line is longer than {LONGEST} bytes");
            }
            let Some(frame) = self.body.frame().await else {
                bail!("the gateway went away in the middle of the answer; it answers again when it is back");
            };
            let frame = frame.context("read the answer: the gateway went away")?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(data.as_ref());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use bytes::Bytes;
    use hyper::body::{Body, Frame};
    use openclaw_wire::admin::ChatEvent;

    use super::Events;

    struct Pieces(VecDeque<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from(piece)))))
        }
    }

    #[tokio::test]
    async fn events_are_found_however_the_stream_is_cut() {
        let pieces = ["{\"te", "xt\":\"a\"}\n\n{\"done\":", "true}\n", "{\"text\":\"cut"];
        let mut events = Events::new(Pieces(pieces.into_iter().collect()));
        assert_eq!(events.next().await.expect("text"), ChatEvent::Text("a".into()));
        assert_eq!(events.next().await.expect("done"), ChatEvent::Done(true));
        let error = events.next().await.expect_err("cut").to_string();
        assert!(error.contains("went away"), "{error}");
    }
}
