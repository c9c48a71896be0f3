//! The operator's status page and `/metrics`, over HTTP/1.1 on the VPN's address or on loopback; never beside the webhook, and
//! never on a socket that this process made: it can make none. Whoever is not logged in gets one and the same answer to whatever
//! he asks.

mod checklist;
pub mod drill;
mod gate;
mod hand;
mod lockout;
mod metrics;
mod sessions;
mod tokens;
mod view;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, COOKIE, RETRY_AFTER, SET_COOKIE},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use openclaw_wire::{
    admin::{PageStatus, PageToken, Scope},
    door::Door,
};
use tokio::net::TcpStream;
use tracing::{info, warn};

use self::{drill::Drills, gate::Gate, lockout::Lockout, sessions::Sessions};
pub use self::{
    hand::{listen, may_listen, over},
    tokens::Tokens,
};
use crate::{admin::Admin, ingress::Digest};

/// For the head of a request, and for a request after the last one.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// Largest head.
const HEAD: usize = 16 << 10;
/// Largest body: a token.
const BODY: usize = 256;
/// For that body.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Everything behind the listening sockets.
pub struct Page {
    gate: Gate,
    tokens: Tokens,
    sessions: Sessions,
    lockout: Lockout,
    drills: Arc<Drills>,
    listens: std::sync::Mutex<Vec<hand::Listening>>,
}

/// What can be asked. Each has its line in [`Act::of`] and in [`Act::needs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Look,
    Metrics,
    Drill,
    LogOut,
}

impl Act {
    /// All that there is.
    #[cfg(test)]
    const ALL: [(Method, &'static str, Self); 4] = [
        (Method::GET, "/", Self::Look),
        (Method::GET, "/metrics", Self::Metrics),
        (Method::POST, "/drill", Self::Drill),
        (Method::POST, "/logout", Self::LogOut),
    ];

    fn of(method: &Method, path: &str) -> Result<Self, StatusCode> {
        let (expected, act) = match path {
            "/" => (Method::GET, Self::Look),
            "/metrics" => (Method::GET, Self::Metrics),
            "/drill" => (Method::POST, Self::Drill),
            "/logout" => (Method::POST, Self::LogOut),
            _ => return Err(StatusCode::NOT_FOUND),
        };
        if *method == expected { Ok(act) } else { Err(StatusCode::METHOD_NOT_ALLOWED) }
    }

    /// What a token must be good for (incident 51).
    fn needs(self) -> Scope {
        match self {
            Self::Metrics => Scope::Metrics,
            Self::Look | Self::Drill | Self::LogOut => Scope::Operator,
        }
    }

    /// It changes something.
    fn changes(self) -> bool {
        matches!(self, Self::Drill | Self::LogOut)
    }
}

/// Whom a request comes from.
enum Who {
    Nobody,
    /// Too many wrong tokens came from there; nothing is compared.
    LockedOut,
    /// By a cookie that this page set.
    Session(Digest),
    /// By a token in the header, which no other page can have a browser send.
    Token(Scope),
}

impl Page {
    /// With the names of the configuration; `drill` leads to whoever can hold one.
    pub fn new(names: &[String], tokens: Tokens, drill: Option<Door>) -> Self {
        Self {
            gate: Gate::new(names),
            tokens,
            sessions: Sessions::default(),
            lockout: Lockout::default(),
            drills: Arc::new(Drills::new(drill)),
            listens: std::sync::Mutex::default(),
        }
    }

    /// For `openclaw status`.
    pub fn status(&self) -> PageStatus {
        let listens = self.listens.lock().unwrap_or_else(PoisonError::into_inner);
        let listens = listens.iter().filter_map(hand::Listening::shown).collect();
        PageStatus { on: true, listens, tokens: self.tokens.scopes() }
    }

    /// Another token, or none: from now on the old one is wrong, and whoever came in by it is out (incident 43).
    pub fn set_token(&self, token: &PageToken) -> std::io::Result<()> {
        self.tokens.set(token)?;
        if token.scope == Scope::Operator {
            self.sessions.clear();
        }
        info!(scope = ?token.scope, there = token.sha256.is_some(), "a token of the status page was changed");
        Ok(())
    }

    /// Answers one connection until it ends.
    async fn connection(
        self: Arc<Self>,
        admin: Arc<Admin>,
        stream: TcpStream,
        near: SocketAddr,
        far: IpAddr,
    ) {
        let service = service_fn(move |request| {
            let (page, admin) = (Arc::clone(&self), Arc::clone(&admin));
            async move { Ok::<_, Infallible>(page.answer(&admin, request, near, far).await) }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), service);
        // Its error is the browser's going away.
        let _gone = served.await;
    }

    async fn answer(
        &self,
        admin: &Admin,
        request: Request<Incoming>,
        near: SocketAddr,
        far: IpAddr,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let (method, path, headers) = (&head.method, head.uri.path(), &head.headers);
        let mut answer = match self.gate.check(headers, near) {
            Err(status) => view::plain(status),
            Ok(origin) => {
                let same = gate::is_own(headers, &origin);
                match (method, path) {
                    (&Method::POST, "/login") => self.log_in(same, body, far).await,
                    _ => self.act(admin, method, path, headers, same, far).await,
                }
            }
        };
        view::harden(answer.headers_mut());
        answer
    }

    /// A token for a cookie. Only our own page can ask for it, so that no other one tries tokens by somebody's browser.
    async fn log_in(&self, same: bool, body: Incoming, far: IpAddr) -> Response<Full<Bytes>> {
        if !same {
            return view::plain(StatusCode::FORBIDDEN);
        }
        let body = tokio::time::timeout(BODY_WITHIN, Limited::new(body, BODY).collect()).await;
        let Ok(Ok(body)) = body else { return view::plain(StatusCode::BAD_REQUEST) };
        match self.by_token(&body.to_bytes(), far) {
            Who::LockedOut => locked_out(),
            Who::Token(Scope::Operator) => {
                let Ok(cookie) = self.sessions.begin(Instant::now()) else {
                    return view::plain(StatusCode::INTERNAL_SERVER_ERROR);
                };
                info!(%far, "the operator logged in to the status page");
                let mut answer = view::plain(StatusCode::NO_CONTENT);
                answer.headers_mut().insert(SET_COOKIE, cookie);
                answer
            }
            _ => view::log_in(),
        }
    }

    async fn act(
        &self,
        admin: &Admin,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        same: bool,
        far: IpAddr,
    ) -> Response<Full<Bytes>> {
        let who = self.who(headers, far);
        let (scope, session) = match who {
            Who::Nobody => return view::log_in(),
            Who::LockedOut => return locked_out(),
            Who::Session(session) => (Scope::Operator, Some(session)),
            Who::Token(scope) => (scope, None),
        };
        let act = match Act::of(method, path) {
            Ok(act) => act,
            Err(status) => return view::plain(status),
        };
        if scope != act.needs() && scope != Scope::Operator {
            return view::plain(StatusCode::FORBIDDEN);
        }
        // A form of another page carries neither the header nor our origin, and should carry no cookie (incident 36).
        if act.changes() && (!same || session.is_none()) {
            return view::plain(StatusCode::FORBIDDEN);
        }
        match act {
            Act::Look => match admin.status().await {
                Ok(status) => view::page(&status, admin, &self.drills),
                Err(error) => {
                    warn!(%error, "the status page has no status");
                    view::plain(StatusCode::SERVICE_UNAVAILABLE)
                }
            },
            Act::Metrics => match admin.status().await {
                Ok(status) => metrics::answer(&status),
                Err(_) => view::plain(StatusCode::SERVICE_UNAVAILABLE),
            },
            Act::Drill => {
                self.drills.begin(Arc::clone(&admin.engine));
                view::plain(StatusCode::ACCEPTED)
            }
            Act::LogOut => {
                if let Some(session) = session {
                    self.sessions.end(&session);
                }
                let mut answer = view::plain(StatusCode::NO_CONTENT);
                answer.headers_mut().insert(SET_COOKIE, sessions::forget());
                answer
            }
        }
    }

    /// Nothing but a cookie of ours and a token counts: no header of a proxy, no address, no wish of the browser's (incidents
    /// 38, 39).
    fn who(&self, headers: &HeaderMap, far: IpAddr) -> Who {
        if let Some(cookies) = single(headers.get_all(COOKIE).iter())
            && let Some(session) = self.sessions.find(cookies, Instant::now())
        {
            return Who::Session(session);
        }
        match single(headers.get_all(AUTHORIZATION).iter()) {
            Some(value) => match value.as_bytes().strip_prefix(b"Bearer ") {
                Some(token) => self.by_token(token, far),
                None => Who::Nobody,
            },
            None => Who::Nobody,
        }
    }

    /// Counts what is wrong before it says so; this machine's own addresses have no privilege (incident 41).
    fn by_token(&self, token: &[u8], far: IpAddr) -> Who {
        let now = Instant::now();
        if !self.lockout.admits(far, now) {
            return Who::LockedOut;
        }
        match self.tokens.find(token) {
            Some(scope) => {
                self.lockout.right(far);
                Who::Token(scope)
            }
            None => {
                if self.lockout.wrong(far, now) {
                    warn!(%far, "too many wrong tokens: locked out of the status page for a while");
                }
                Who::Nobody
            }
        }
    }
}

fn single<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<&'a HeaderValue> {
    let first = values.next();
    if values.next().is_none() { first } else { None }
}

fn locked_out() -> Response<Full<Bytes>> {
    let mut answer = view::plain(StatusCode::TOO_MANY_REQUESTS);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(lockout::WINDOW.as_secs()));
    answer
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use openclaw_wire::admin::Scope;

    use super::Act;

    /// Incident 51: whatever changes something is the operator's, and asked for by POST.
    #[test]
    fn each_act_has_its_scope() {
        for (method, path, act) in Act::ALL {
            assert_eq!(Act::of(&method, path), Ok(act));
            assert_eq!(act.changes(), method == Method::POST, "{path}");
            assert!(!act.changes() || act.needs() == Scope::Operator, "{path}");
            let other = if method == Method::GET { Method::POST } else { Method::GET };
            assert_eq!(Act::of(&other, path), Err(StatusCode::METHOD_NOT_ALLOWED), "{path}");
        }
        assert_eq!(Act::of(&Method::GET, "/status"), Err(StatusCode::NOT_FOUND));
    }
}
