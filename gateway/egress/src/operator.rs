//! The operator's socket: status, keys, money, approved skills, and the webhook of each bot. Only this user and root may
//! connect; the commands of `openclaw` are its clients.

use std::os::unix::net::UnixStream;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use openclaw_confine::locked::Locked;
use openclaw_wire::{
    egress::{Refusal, RefusalKind},
    id::BotName,
};

use crate::{
    exchange::Change,
    proxy::{Answer, Egress},
    refuse::{json, read, refusal, response, shown},
};

/// Largest request, in bytes: one key, or one `SetWebhook`.
const MAX_BODY: usize = 4096;

/// The kernel's word for who connected: this user or root. The socket's mode says the same; this is the second lock.
pub fn allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    openclaw_confine::peer::credentials(stream).is_ok_and(|peer| peer.uid == own || peer.uid == 0)
}

impl Egress {
    /// A request of the operator.
    pub async fn operator(&self, request: Request<Incoming>) -> Response<Answer> {
        match self.command(request).await {
            Ok(answer) => answer,
            Err(refused) => {
                tracing::info!(kind = ?refused.kind, "refused the operator: {}", refused.message);
                response(&refused)
            }
        }
    }

    async fn command(&self, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
        if request.uri().path().starts_with("/spend") {
            return self.ledger.answer(request).await;
        }
        if request.uri().path().starts_with("/skills") {
            return self.ways.operator(request).await;
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let unknown = || {
            let message = format!("{} {}: no such command", head.method, shown(path));
            refusal(
                RefusalKind::NotAllowed,
                message,
                "see `openclaw webhook --help` and `openclaw keys --help`",
            )
        };
        let ok = |value: &_| Ok(json(StatusCode::OK, value));
        let mut parts = path.split('/').skip(1);
        let words = [parts.next(), parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
        if parts.next().is_some() {
            return Err(unknown());
        }
        match (&head.method, words) {
            (&Method::GET, ["status", "", "", ""]) => {
                ok(&serde_json::to_value(self.status()).unwrap_or_default())
            }
            (&Method::GET, ["keys", "", "", ""]) => {
                ok(&serde_json::to_value(self.exchange.list()).unwrap_or_default())
            }
            (&Method::POST, ["decoy", "", "", ""]) => {
                let made = self.exchange.decoy().await.map_err(|error| {
                    refusal(RefusalKind::BadRequest, format!("{error:#}"), "free some room, and try again")
                })?;
                ok(&serde_json::Value::from(made.expose()))
            }
            (&Method::POST, ["keys", name, verb, force]) if matches!(force, "" | "force") => {
                let force = force == "force";
                let change = match verb {
                    "add" => Change::Add(whole(body).await?, force),
                    "rotate" => Change::Rotate(whole(body).await?, force),
                    "retire" if !force => Change::Retire,
                    "test" if !force => {
                        let tried = self.exchange.test(name).await;
                        return ok(&serde_json::to_value(tried).unwrap_or_default());
                    }
                    _ => return Err(unknown()),
                };
                let changed = self.exchange.change(name, change).await?;
                ok(&serde_json::to_value(changed).unwrap_or_default())
            }
            (&Method::POST, ["webhook", bot, verb, how]) => {
                let bot = bot.parse::<BotName>().map_err(|_| {
                    let mend =
                        "`openclaw status` shows the bots; each is a [[telegram.bot]] of openclaw.toml";
                    refusal(RefusalKind::BadRequest, format!("there is no bot {}", shown(bot)), mend)
                })?;
                match (verb, how) {
                    ("set", "") => self.webhook_set(&bot, &read(body, MAX_BODY).await?).await,
                    ("info", "") => self.webhook_info(&bot).await,
                    ("delete", "") => self.webhook_delete(&bot).await,
                    ("rotate", "" | "now") => {
                        let rotated = self.webhook_rotate(&bot, how == "now").await?;
                        ok(&serde_json::to_value(rotated).unwrap_or_default())
                    }
                    _ => Err(unknown()),
                }
            }
            _ => Err(unknown()),
        }
    }
}

/// A key, straight into locked memory; the buffers that it came through are wiped when they are freed.
async fn whole(body: Incoming) -> Result<Locked, Refusal> {
    let bad = |why: String| refusal(RefusalKind::BadRequest, format!("read the key: {why}"), "send it again");
    let whole = Limited::new(body, MAX_BODY).collect().await.map_err(|error| bad(error.to_string()))?;
    Locked::copy(&whole.to_bytes()).map_err(|full| bad(full.to_string()))
}
