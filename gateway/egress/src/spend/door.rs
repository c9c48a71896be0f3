//! Questions about money, at the gateway's door and at the operator's socket: figures and alerts out, and the wish for
//! more of a cap in, up to a ceiling that nobody can set from here.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use openclaw_wire::{
    egress::{Refusal, RefusalKind},
    spend::ALERTS_WAIT,
};

use super::ledger::Ledger;
use crate::{
    proxy::Answer,
    refuse::{empty, json, read, refusal, shown},
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
                self.seen(read(body, MAX_BODY).await?);
                Ok(empty())
            }
            ("POST", "/spend/raise") => {
                let state = self.raise(&read(body, MAX_BODY).await?).await?;
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
