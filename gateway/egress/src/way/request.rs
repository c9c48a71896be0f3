//! A request of a skill on its way: judged once more in the form in which it is sent, its headers passed by rule, the key
//! added that its manifest declares, its body looked through.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use openclaw_wire::{
    egress::RefusalKind,
    skill::{HostGrant, Placement},
};
use url::Url;

use super::{
    Ways,
    body::{Outgoing, Returning},
    call::{Call, SENT},
    denial::Why,
    judge,
    out::Failed,
    path,
    place::Place,
};
use crate::{
    dial::{self, Body, Timed},
    lease::Leased,
    live::Live,
    refuse::refusal,
    spend::{Asked, Metered, Toll},
};

/// Requests up to this length are read whole, so that they leave in one piece.
const SMALL: u64 = 64 << 10;

/// Headers that belong to one connection (RFC 9110, section 7.6.1), and those that the way out sets itself. Without
/// `accept-encoding` answers come as they are: in a compressed one a key could not be seen.
const OWN: [&str; 13] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
    "accept-encoding",
];

impl Ways {
    /// Sends a request of a call to a place, if one of the call's entries allows it.
    pub async fn ask(
        &self,
        call: &Arc<Call>,
        place: &Place,
        request: Request<Incoming>,
    ) -> Result<Response<Returning<Leased<Metered<Timed>>>>, Failed> {
        let grants = judge::host(call, place).map_err(Failed::Denied)?;
        // What began with one state of the keys ends with it.
        let live = self.exchange.current.get();
        let target = self.out.target(place, &live).map_err(Failed::Denied)?;
        let (head, body) = request.into_parts();
        let asked = head.uri.path_and_query().map_or("", |both| both.as_str());
        let odd = || Failed::Denied(Why::Request(place.clone(), head.method.to_string(), asked.to_owned()));
        let mut url = path::address(&target.origin, asked).ok_or_else(odd)?;
        let grant = judge::request(&grants, place, head.method.as_str(), &url).map_err(Failed::Denied)?;
        call.request().map_err(Failed::Denied)?;

        let masks = live.masks.clone();
        let secret = || Failed::Denied(Why::Secret(place.clone()));
        if masks.found(url.as_str().as_bytes()) {
            return Err(secret());
        }
        if !plain(&head.headers) {
            return Err(Failed::Denied(Why::Encoded(place.clone())));
        }
        let mut headers = passed(&head.headers);
        if headers
            .iter()
            .any(|(name, value)| masks.found(name.as_str().as_bytes()) || masks.found(value.as_bytes()))
        {
            return Err(secret());
        }
        add_key(&live, place, grant, &mut url, &mut headers)?;

        let mut out = dial::Request::new(head.method, url);
        out.headers = headers;
        let length = body.size_hint().exact();
        let path = out.url.path().to_owned();
        let body = Outgoing::new(super::connection::boxed(body), masks.clone(), call.clone(), place.clone());
        out.body = match length {
            Some(0) => Body::default(),
            Some(length) if length <= SMALL => whole(body).await?.into(),
            _ => Body::pieces(body),
        };
        // A body of unknown length can be as long as the call may still send.
        let toll = self.admit(call, place, grant, &path, length.unwrap_or(SENT)).await?;
        let (mut head, body) = match (self.out.send(&target, out).await, toll) {
            (Ok(answer), None) => {
                let (head, body) = answer.into_parts();
                (head, Metered::free(body))
            }
            (Ok(answer), Some(toll)) => {
                let (head, body) = answer.into_parts();
                let body = Metered::toll(body, toll, head.status);
                (head, body)
            }
            (Err(failed), toll) => {
                // What may have been acted on counts, even without an answer.
                let acted = matches!(&failed, Failed::Far(refusal) if refusal.kind == RefusalKind::NoAnswer);
                if let Some(toll) = toll.filter(|_| !acted) {
                    toll.failed();
                }
                return Err(failed);
            }
        };
        if !plain(&head.headers) {
            return Err(Failed::Far(refusal(
                RefusalKind::NoAnswer,
                format!("{place} answered compressed, which was not asked for"),
                "use a server that honours a missing Accept-Encoding",
            )));
        }
        let length = head.headers.get(header::CONTENT_LENGTH).cloned();
        head.headers = passed(&head.headers);
        // A body can be masked; a header with a key in it stays here.
        let keys: Vec<HeaderName> = head
            .headers
            .iter()
            .filter(|(_, value)| masks.found(value.as_bytes()))
            .map(|(name, _)| name.clone())
            .collect();
        for name in keys {
            head.headers.remove(name);
        }
        if let Some(length) = length {
            head.headers.insert(header::CONTENT_LENGTH, length);
        }
        // The reason phrase is in there: words of the far end's in which nobody looks for keys.
        head.extensions.clear();
        head.version = http::Version::HTTP_11;
        Ok(Response::from_parts(head, Returning::new(Leased::new(body, live), masks, call.clone())))
    }
}

impl Ways {
    /// Reserves what a request costs.
    async fn admit(
        &self,
        call: &Call,
        place: &Place,
        grant: &HostGrant,
        path: &str,
        sent: u64,
    ) -> Result<Option<Toll>, Failed> {
        let asked = Asked {
            key: grant.secret.as_ref().map_or("", |(name, _)| name.as_str()),
            chat: &call.chat,
            skill: call.skill.as_str(),
            host: &place.host,
            path,
            sent,
            private: place.private().is_some(),
        };
        let admitted = self.ledger.admit_call(asked).await;
        admitted.map_err(|refusal| Failed::Denied(Why::Money(place.clone(), refusal)))
    }
}

/// Adds the key that the entry declares, in the place of whatever the skill put there.
fn add_key(
    live: &Live,
    place: &Place,
    grant: &HostGrant,
    url: &mut Url,
    headers: &mut HeaderMap,
) -> Result<(), Failed> {
    let Some((name, placement)) = &grant.secret else { return Ok(()) };
    let name = name.as_str();
    Ways::may_have(live, name, (&place.host, place.port), Some(url.path())).map_err(Failed::Denied)?;
    let key = live.keys.find(name).ok_or_else(|| Failed::Denied(Why::NoKey(name.to_owned())))?;
    let odd = || Failed::Denied(Why::OddKey(name.to_owned()));
    let (header, value) = match placement {
        Placement::Bearer => {
            let text = zeroize::Zeroizing::new(format!("Bearer {}", key.secret.expose()));
            (header::AUTHORIZATION, HeaderValue::from_str(&text).map_err(|_| odd())?)
        }
        Placement::Header(header) => {
            let value = HeaderValue::from_maybe_shared(key.secret.expose_bytes()).map_err(|_| odd())?;
            (HeaderName::from_bytes(header.as_bytes()).map_err(|_| odd())?, value)
        }
        Placement::Query(parameter) => {
            let others = url.query_pairs().filter(|(name, _)| name != parameter);
            let kept: Vec<(String, String)> = others.map(|(a, b)| (a.into(), b.into())).collect();
            url.query_pairs_mut().clear().extend_pairs(kept).append_pair(parameter, key.secret.expose());
            key.used.mark();
            return Ok(());
        }
    };
    let mut value = value;
    value.set_sensitive(true);
    headers.insert(header, value);
    key.used.mark();
    Ok(())
}

async fn whole(
    body: Outgoing<impl http_body::Body<Data = bytes::Bytes, Error = super::body::Broken> + Unpin>,
) -> Result<bytes::Bytes, Failed> {
    body.collect().await.map(|whole| whole.to_bytes()).map_err(|error| {
        match error.downcast::<super::body::Stopped>() {
            Ok(stopped) => Failed::Stopped(stopped.0),
            Err(error) => Failed::Far(refusal(
                RefusalKind::BadRequest,
                format!("read the request's body: {error}"),
                "send it whole",
            )),
        }
    })
}

/// Whether a body comes as it is.
fn plain(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().all(|value| value == "identity")
}

/// What of a head goes on: not what belongs to the connection, nor what `Connection` names besides.
fn passed(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let own =
        |name: &HeaderName| OWN.contains(&name.as_str()) || named.iter().any(|other| other == name.as_str());
    let kept = headers.iter().filter(|(name, _)| !own(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn what_belongs_to_the_connection_stays_here() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("accept", "x"),
            ("connection", "keep-alive, X-Secret-Hop"),
            ("x-secret-hop", "y"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic x"),
            ("host", "h"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("accept-encoding", "gzip"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let passed = super::passed(&headers);
        let mut left: Vec<_> =
            passed.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        left.sort();
        assert_eq!(left, ["accept: x", "cookie: a=b", "cookie: c=d"]);
    }
}
