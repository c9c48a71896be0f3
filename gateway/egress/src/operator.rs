//! The operator's socket: status, and the webhook of each bot. Only this user and root may connect; the commands
//! of `openclaw` are its clients.

use std::os::unix::net::UnixStream;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use openclaw_wire::egress::{Refusal, RefusalKind, SetWebhook};

use crate::{
    proxy::{Answer, Egress},
    refuse::{json, refusal, response, shown},
    webhook::Place,
};

/// Largest request, in bytes: one [`SetWebhook`].
const MAX_BODY: usize = 4096;

/// The kernel's word for who connected: this user or root. The socket's mode says the same; this is the second lock.
pub fn allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    openclaw_confine::peer::credentials(stream).is_ok_and(|peer| peer.uid == own || peer.uid == 0)
}

impl Egress {
    /// A request of the operator.
    pub async fn operator(&self, place: &Place, request: Request<Incoming>) -> Response<Answer> {
        match self.command(place, request).await {
            Ok(answer) => answer,
            Err(refused) => {
                tracing::info!(kind = ?refused.kind, "refused the operator: {}", refused.message);
                response(&refused)
            }
        }
    }

    async fn command(&self, place: &Place, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        if request.uri().path().starts_with("/spend") {
            return self.ledger.answer(request).await;
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let unknown = || {
            let message = format!("{} {}: no such command", head.method, shown(path));
            refusal(RefusalKind::NotAllowed, message, "see `openclaw webhook --help`")
        };
        if head.method == Method::GET && path == "/status" {
            return Ok(json(StatusCode::OK, &self.status()));
        }
        let (name, verb) =
            path.strip_prefix("/webhook/").and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
        if head.method != Method::POST {
            return Err(unknown());
        }
        let bot = self.table.bots.iter().find(|bot| bot.shown.name.as_str() == name).ok_or_else(|| {
            let mend = "`openclaw status` shows the bots; each is a [[telegram.bot]] of openclaw.toml";
            refusal(RefusalKind::BadRequest, format!("there is no bot {}", shown(name)), mend)
        })?;
        match verb {
            "set" => self.webhook_set(place, bot, &wish(body).await?).await,
            "info" => self.webhook_info(bot).await,
            "delete" => self.webhook_delete(bot).await,
            _ => Err(unknown()),
        }
    }
}

async fn wish(body: Incoming) -> Result<SetWebhook, Refusal> {
    let bad = |why: String| {
        refusal(RefusalKind::BadRequest, format!("read what to set: {why}"), "send the JSON of SetWebhook")
    };
    let whole =
        Limited::new(body, MAX_BODY).collect().await.map_err(|error| bad(error.to_string()))?.to_bytes();
    serde_json::from_slice(&whole).map_err(|error| bad(error.to_string()))
}
