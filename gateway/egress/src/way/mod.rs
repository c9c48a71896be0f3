//! The way out of a skill. The gateway registers a call, the runner redeems it, its jail gets one socket; what may be
//! reached through it is in egress's own store of approved manifests and in nothing that anybody says.
//!
//! In the order of a call: [`approved`] knows the manifest, [`call`] bounds the call, [`door`] opens the way, [`connection`]
//! speaks HTTP proxy, [`place`] reads where to, [`judge`] decides, [`request`] and [`tunnel`] carry it out, [`out`] dials,
//! [`denial`] explains.

mod approved;
mod authority;
mod body;
mod call;
mod connection;
mod denial;
mod door;
mod judge;
mod out;
mod path;
mod place;
mod request;
mod tunnel;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use openclaw_wire::egress::{Approval, CloseCall, OpenCall, Refusal, RefusalKind, Revoke, Standing};
use rustls::crypto::CryptoProvider;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    exchange::Exchange,
    live::Live,
    proxy,
    refuse::{empty, json, read, refusal, response, shown},
    serve::Served,
    spend::{Ledger, is_chat},
};

pub use self::{approved::Store, out::Endpoints, path::is_below};
use self::{
    call::{Call, Calls},
    denial::Why,
    out::Out,
    place::Place,
};

/// Largest question of the gateway or the operator, in bytes: an approval with 64 hosts.
const QUESTION: usize = 256 << 10;
/// URLs among the arguments of a call.
const URLS: usize = 32;

/// Everything that ways out share.
pub struct Ways {
    store: Store,
    calls: Calls,
    out: Out,
    exchange: Arc<Exchange>,
    ledger: Ledger,
    provider: Arc<CryptoProvider>,
}

impl Ways {
    /// Opens nothing to the outside yet.
    pub fn new(store: Store, endpoints: Endpoints, exchange: Arc<Exchange>, ledger: Ledger) -> Self {
        Self {
            store,
            calls: Calls::default(),
            out: Out::new(endpoints, Arc::clone(&exchange.outside)),
            exchange,
            ledger,
            provider: out::provider(),
        }
    }

    /// Serves the runner's door until `stop`, or until the runner's end is gone.
    pub async fn serve(self: Arc<Self>, door: Served, tasks: TaskTracker, stop: CancellationToken) {
        door.each(&tasks, &stop, |stream| door::answer(self.clone(), stream, tasks.clone(), stop.clone()))
            .await;
    }

    /// A request of the gateway below `/call/`.
    pub async fn gateway(&self, request: Request<Incoming>) -> Response<proxy::Answer> {
        let path = request.uri().path().to_owned();
        let done = async {
            match (request.method(), path.as_str()) {
                (&Method::POST, "/call/open") => {
                    let wish: OpenCall = read(request.into_body(), QUESTION).await?;
                    self.open(wish).map(|()| empty())
                }
                (&Method::POST, "/call/close") => {
                    let CloseCall { call } = read(request.into_body(), QUESTION).await?;
                    Ok(json(StatusCode::OK, &self.calls.close(&call)))
                }
                _ => Err(refusal(
                    RefusalKind::NotAllowed,
                    "no such command",
                    "this is a mistake; please report it",
                )),
            }
        };
        done.await.unwrap_or_else(|refused| {
            tracing::warn!("refused the gateway: {}", refused.message);
            response(&refused)
        })
    }

    fn open(&self, wish: OpenCall) -> Result<(), Refusal> {
        let OpenCall { call, skill, digest, chat, urls } = wish;
        let hosts = self.store.hosts(&skill, &digest).ok_or_else(|| {
            let message = match self.store.all().standing(&skill) {
                Standing::Approved => format!("the skill {skill} has changed since its way out was approved"),
                Standing::Revoked => format!("the way out of the skill {skill} was revoked"),
                Standing::Unknown => format!("nobody has approved the hosts that the skill {skill} names"),
            };
            let mend =
                format!("look at `openclaw skills show {skill}`, then `openclaw skills approve {skill}`");
            refusal(RefusalKind::NotAllowed, message, mend)
        })?;
        if urls.len() > URLS {
            return Err(refusal(RefusalKind::BadRequest, "too many URLs in one call", "give fewer"));
        }
        if !is_chat(&chat) {
            return Err(refusal(RefusalKind::BadRequest, "the call names no chat", "write bot/number"));
        }
        // What is no host is the host of nothing.
        let named = urls.into_iter().filter_map(|(argument, url)| {
            let url = url::Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
            let place = Place::read(url.host_str()?, Some(443)).ok()?;
            Some((argument, place.host))
        });
        let registered = self.calls.open(&call, Call::new(skill, chat, hosts, named.collect()));
        registered
            .map_err(|why| refusal(RefusalKind::BadRequest, why, "try again when other calls have ended"))
    }

    /// A request of the operator at `/skills`.
    pub async fn operator(&self, request: Request<Incoming>) -> Result<Response<proxy::Answer>, Refusal> {
        let path = request.uri().path().to_owned();
        let failed = |error: anyhow::Error| {
            refusal(
                RefusalKind::BadRequest,
                format!("{error:#}"),
                "check the state folder's free space and owner",
            )
        };
        match (request.method(), path.as_str()) {
            (&Method::GET, "/skills") => Ok(json(StatusCode::OK, &self.store.all())),
            (&Method::POST, "/skills/approve") => {
                let approval: Approval = read(request.into_body(), QUESTION).await?;
                for grant in &approval.hosts {
                    if let (Some((name, _)), openclaw_wire::skill::Reach::Host(host)) =
                        (&grant.secret, &grant.reach)
                        && let Err(why) = Self::may_have(
                            &self.exchange.current.get(),
                            name.as_str(),
                            (host.as_str(), grant.port),
                            None,
                        )
                    {
                        let denial = why.denial(&approval.skill);
                        return Err(refusal(RefusalKind::NotAllowed, denial.message, denial.mend));
                    }
                }
                let (skill, digest) = (approval.skill.clone(), approval.digest.clone());
                self.store.approve(approval).map_err(failed)?;
                self.calls.end(&skill);
                tracing::info!(%skill, digest, "approved");
                Ok(empty())
            }
            (&Method::POST, "/skills/revoke") => {
                let Revoke { skill } = read(request.into_body(), QUESTION).await?;
                let known = self.store.revoke(&skill).map_err(failed)?;
                self.calls.end(&skill);
                if !known {
                    let message = format!("no way out of a skill {skill} was approved");
                    return Err(refusal(
                        RefusalKind::BadRequest,
                        message,
                        "`openclaw skills list` shows them",
                    ));
                }
                tracing::info!(%skill, "revoked");
                Ok(empty())
            }
            _ => {
                let message = format!("{} {}: no such command", request.method(), shown(&path));
                Err(refusal(RefusalKind::NotAllowed, message, "see `openclaw skills --help`"))
            }
        }
    }

    /// INVARIANT: whatever was approved, a bot's key goes with no request of a skill, and a model's only to the host and
    /// port of its row, never to the path of the model's own calls: those go over the gateway, and are priced.
    fn may_have(live: &Live, name: &str, to: (&str, u16), path: Option<&str>) -> Result<(), Why> {
        match live.table.leaves_to(name, to, path) {
            true => Ok(()),
            false => Err(Why::BoundKey(name.to_owned())),
        }
    }
}
