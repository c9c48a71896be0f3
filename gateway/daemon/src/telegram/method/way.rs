//! The way from here to the Bot API: one POST through egress. Knows of a broken connection whether the call can have
//! been carried out, and never repeats one.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{
    Method, Request, Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{Full, StreamBody};
use hyper::body::Incoming;
use openclaw_wire::{egress::RefusalKind, id::BotName};

use super::{Delivery, Upload};
use crate::egress::{Egress, EgressError, collect};

/// Largest answer: a hundred updates of the 64 KiB that Telegram allows for each, and more than any other method gives.
const ANSWER: usize = 8 << 20;

/// The way to the Bot API: egress, or a script in a test.
pub trait BotApi: Send + Sync + 'static {
    /// `POST /r/telegram/<bot>/<method>` with a JSON body. The caller bounds the wait.
    fn post<'a>(&'a self, bot: &'a BotName, method: &'static str, body: Bytes) -> Posting<'a>;

    /// The same with a form that carries a file.
    fn upload<'a>(&'a self, bot: &'a BotName, upload: Upload) -> Posting<'a>;
}

/// An answer on its way.
pub type Posting<'a> = Pin<Box<dyn Future<Output = Result<Answer, Lost>> + Send + 'a>>;

/// What came back from egress.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The answer is egress's own: why it did not carry the call out.
    pub refused: Option<RefusalKind>,
    /// Header `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Bytes,
}

/// No answer came back.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Whether the call can have reached Telegram all the same.
    pub delivery: Delivery,
    /// What was attempted and what the system said.
    pub message: String,
}

impl BotApi for Egress {
    fn post<'a>(&'a self, bot: &'a BotName, method: &'static str, body: Bytes) -> Posting<'a> {
        Box::pin(async move {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/r/telegram/{bot}/{method}"))
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(body))
                .map_err(|error| Lost { delivery: Delivery::No, message: format!("{method}: {error}") })?;
            answer(method, self.send(request).await).await
        })
    }

    fn upload<'a>(&'a self, bot: &'a BotName, upload: Upload) -> Posting<'a> {
        Box::pin(async move {
            let method = upload.sent_as.method();
            let unsent = |error: &dyn std::fmt::Display| Lost {
                delivery: Delivery::No,
                message: format!("{method}: {error}"),
            };
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|error| unsent(&error))?;
            let boundary: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            let (kind, body) = upload.body(&boundary);
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/r/telegram/{bot}/{method}"))
                .header(CONTENT_TYPE, kind)
                .body(StreamBody::new(body))
                .map_err(|error| unsent(&error))?;
            answer(method, self.send_once(request).await).await
        })
    }
}

async fn answer(method: &str, sent: Result<Response<Incoming>, EgressError>) -> Result<Answer, Lost> {
    let response = match sent {
        Ok(response) => response,
        Err(EgressError::Refused(refusal)) => {
            return Ok(Answer { refused: Some(refusal.kind), ..Answer::default() });
        }
        Err(error) => return Err(lost(method, &error)),
    };
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let status = response.status().as_u16();
    let body = collect(response.into_body(), ANSWER).await.map_err(|error| lost(method, &error))?;
    Ok(Answer { status, refused: None, retry_after, body })
}

fn lost(method: &str, error: &EgressError) -> Lost {
    let delivery = match error {
        EgressError::Door(_) => Delivery::No,
        _ => Delivery::Unknown,
    };
    Lost { delivery, message: format!("{method}: {error}") }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        sync::mpsc,
        time::Duration,
    };

    use openclaw_wire::{
        door::{self, Door, Entry},
        egress::REFUSED,
        id::ChatId,
    };

    use super::*;
    use crate::telegram::method::{ApiError, ChatAction, SendChatAction, call};

    /// Reads one request and gives its head and body.
    fn request(stream: &mut UnixStream) -> (String, String) {
        let mut bytes = Vec::new();
        loop {
            let mut more = [0; 1024];
            let read = stream.read(&mut more).expect("read");
            assert!(read > 0, "a whole request");
            bytes.extend_from_slice(&more[..read]);
            let text = String::from_utf8(bytes.clone()).expect("text");
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("length");
            if body.len() == length.parse::<usize>().expect("number") {
                return (head.to_owned(), body.to_owned());
            }
        }
    }

    #[tokio::test]
    async fn calls_go_through_egress_and_say_how_far_they_came() {
        let (ours, theirs) = door::pair().expect("pair");
        let (tell, seen) = mpsc::channel();
        let answers = [
            "HTTP/1.1 200 OK\r\ncontent-length: 25\r\n\r\n{\"ok\":true,\"result\":true}".to_owned(),
            "HTTP/1.1 429 x\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n".to_owned(),
            format!("HTTP/1.1 424 x\r\n{REFUSED}: no_key\r\ncontent-length: 0\r\n\r\n"),
            format!("HTTP/1.1 504 x\r\n{REFUSED}: no_answer\r\ncontent-length: 0\r\n\r\n"),
            // The connection breaks after the request.
            String::new(),
        ];
        let far = std::thread::spawn(move || {
            let entry = Entry::from_fd(theirs).expect("entry");
            for answer in answers {
                let mut stream = entry.accept().expect("accept");
                tell.send(request(&mut stream)).expect("told");
                let answer = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                stream.write_all(answer.as_bytes()).expect("write");
            }
        });
        let egress = Egress::new(Door::Pair(ours));
        let bot: BotName = "main".parse().expect("name");
        let typing =
            SendChatAction { chat_id: ChatId(5), message_thread_id: None, action: ChatAction::Typing };
        assert!(call(&egress, &bot, &typing).await.is_ok());
        let (head, body) = seen.recv().expect("seen");
        assert!(head.starts_with("POST /r/telegram/main/sendChatAction HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(body, r#"{"chat_id":5,"action":"typing"}"#);

        let failed = async || call(&egress, &bot, &typing).await.expect_err("fails");
        assert_eq!(failed().await, ApiError::TooMany { retry_after: Duration::from_secs(7) });
        assert_eq!(failed().await, ApiError::Unauthorized);
        for _ in 0..2 {
            let unknown = failed().await;
            assert!(
                matches!(unknown, ApiError::Network { delivery: Delivery::Unknown, .. }),
                "{unknown:?}: it may have been carried out"
            );
        }
        far.join().expect("far end");
        let unsent = failed().await;
        assert!(
            matches!(unsent, ApiError::Network { delivery: Delivery::No, .. }),
            "{unsent:?}: nobody is there"
        );
    }
}
