//! Questions about money, at the gateway's door and at the operator's socket: figures and alerts out, and the wish for
//! more of a cap in, up to a ceiling that nobody can set from here.

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use openclaw_wire::{
    egress::{Refusal, RefusalKind},
    spend::ALERTS_WAIT,
};
use serde::de::DeserializeOwned;

use super::ledger::Ledger;
use crate::{
    proxy::Answer,
    refuse::{json, refusal, shown},
};

/// Largest request, in bytes.
const MAX_BODY: usize = 4096;

impl Ledger {
    /// Answers a request below `/spend`.
    pub async fn answer(&self, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        let (head, body) = request.into_parts();
        match (head.method.as_str(), head.uri.path()) {
            ("GET", "/spend") => Ok(json(StatusCode::OK, &self.report().await?)),
            ("GET", "/spend/alerts") => {
                let alerts = tokio::time::timeout(ALERTS_WAIT, self.alerts()).await.unwrap_or_default();
                Ok(json(StatusCode::OK, &alerts))
            }
            ("POST", "/spend/alerts") => {
                self.seen(read(body).await?);
                Ok(nothing())
            }
            ("POST", "/spend/raise") => {
                let state = self.raise(&read(body).await?).await?;
                tracing::info!(whose = %state.cap.whose, limit = %state.limit, "a spending limit was raised");
                Ok(json(StatusCode::OK, &state))
            }
            (_, path) => Err(unknown(&head.method, path)),
        }
    }
}

fn unknown(method: &Method, path: &str) -> Refusal {
    let mend = "are both programs of one release?";
    refusal(RefusalKind::NotAllowed, format!("{method} {}: no such question", shown(path)), mend)
}

fn nothing() -> Response<Answer> {
    let mut response = Response::new(Answer::Left(Default::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Refusal> {
    let bad = |why: String| {
        refusal(RefusalKind::BadRequest, format!("read what was asked: {why}"), "send its JSON")
    };
    let whole = Limited::new(body, MAX_BODY).collect().await.map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&whole.to_bytes()).map_err(|error| bad(error.to_string()))
}
