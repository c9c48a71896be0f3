//! The way from here to the Bot API: one POST through egress. Knows of a broken connection whether the call can have
//! been carried out, and never repeats one.

use std::{future::Future, pin::Pin};

use bytes::Bytes;
use http::{
    Method, Request,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::Full;
use openclaw_wire::{egress::RefusalKind, id::BotName};

use super::Delivery;
use crate::egress::{Egress, EgressError, collect};

/// Largest answer: a hundred updates of the 64 KiB that Telegram allows for each, and more than any other method gives.
const ANSWER: usize = 8 << 20;

/// The way to the Bot API: egress, or a script in a test.
pub trait BotApi: Send + Sync + 'static {
    /// `POST /r/telegram/<bot>/<method>` with a JSON body. The caller bounds the wait.
    fn post<'a>(&'a self, bot: &'a BotName, method: &'static str, body: Bytes) -> Posting<'a>;
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
            let response = match self.send(request).await {
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
        })
    }
}

fn lost(method: &str, error: &EgressError) -> Lost {
    let delivery = match error {
        EgressError::Door(_) => Delivery::No,
        _ => Delivery::Unknown,
    };
    Lost { delivery, message: format!("{method}: {error}") }
}
