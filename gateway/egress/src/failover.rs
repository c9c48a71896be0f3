//! Sends a request with the first of its keys that is not put aside; when that one is refused (401) or asked for too often
//! (429), with the next. The key that failed is put aside for a while, so that the next request does not begin with it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    dial::{Request, Timed},
    live::{Live, now},
    route::Target,
    spend::Charge,
    table::Credential,
};
use http::{HeaderMap, Response, StatusCode, header};
use openclaw_wire::egress::{Refusal, RefusalKind};

/// For how long a key is put aside that was refused.
const REFUSED: Duration = Duration::from_secs(600);
/// And one that was asked for too often, if the server does not say; and how long the server may say.
const BUSY: Duration = Duration::from_secs(30);
const LONGEST: u64 = 3600;

/// Sends it. Only a request that is in memory as a whole can be sent a second time. What it may cost is reserved with each
/// key before it is used; one whose limit is reached is passed over.
pub async fn send(
    live: &Live,
    target: &Target,
    mut request: Request,
    mut charge: Option<&mut Charge>,
) -> Result<Response<Timed>, Refusal> {
    let mut left = in_order(&target.credentials).into_iter().peekable();
    while let Some(credential) = left.next() {
        if let Some(charge) = charge.as_deref_mut()
            && let Err(refused) = charge.reserve(&credential.name).await
        {
            match left.peek() {
                Some(_) if refused.kind == RefusalKind::CapReached => continue,
                _ => return Err(refused),
            }
        }
        let again = left.peek().and_then(|_| request.again());
        attach(&mut request, credential);
        let answer = live.clients.send(&target.way, request).await?;
        let Some(aside) = aside(answer.status(), answer.headers()) else { return Ok(answer) };
        if target.credentials.len() > 1 {
            credential.aside.store(now() + aside.as_secs(), Ordering::Relaxed);
            tracing::warn!(
                key = credential.name,
                status = answer.status().as_u16(),
                seconds = aside.as_secs(),
                "a key is put aside"
            );
        }
        match again {
            Some(again) => request = again,
            None => return Ok(answer),
        }
    }
    if let Some(charge) = charge {
        charge.reserve("").await?;
    }
    live.clients.send(&target.way, request).await
}

/// Adds a key, and notes that it is used.
pub fn attach(request: &mut Request, credential: &Credential) {
    if let Some((name, value)) = &credential.header {
        request.headers.insert(name.clone(), value.clone());
    }
    credential.used.mark();
}

/// The keys that are not put aside first, each group in the operator's order.
fn in_order(credentials: &Arc<[Credential]>) -> Vec<&Credential> {
    if let [only] = &**credentials {
        return vec![only];
    }
    let now = now();
    let (good, later): (Vec<_>, Vec<_>) =
        credentials.iter().partition(|credential| credential.aside.load(Ordering::Relaxed) <= now);
    good.into_iter().chain(later).collect()
}

/// Whether another key may do better, and for how long.
fn aside(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    match status {
        StatusCode::UNAUTHORIZED => Some(REFUSED),
        StatusCode::TOO_MANY_REQUESTS => {
            let said =
                headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            Some(said.map_or(BUSY, |seconds: u64| Duration::from_secs(seconds.clamp(1, LONGEST))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU64};

    use http::{HeaderMap, HeaderValue, StatusCode, header};

    use super::{aside, in_order};
    use crate::{live::now, table::Credential};

    #[test]
    fn keys_that_are_put_aside_come_last() {
        let credential = |name: &str, aside| Credential {
            name: name.into(),
            header: None,
            used: Arc::default(),
            aside: AtomicU64::new(aside),
        };
        let all: Arc<[Credential]> =
            [credential("A", now() + 100), credential("B", 0), credential("C", now() - 1)].into();
        let names: Vec<_> = in_order(&all).iter().map(|credential| credential.name.as_str()).collect();
        assert_eq!(names, ["B", "C", "A"]);
    }

    #[test]
    fn only_401_and_429_ask_for_another_key() {
        let seconds = |status: u16, retry: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(retry.map(|text| (header::RETRY_AFTER, HeaderValue::from_static(text))));
            let status = StatusCode::from_u16(status).expect("status");
            aside(status, &headers).map(|time| time.as_secs())
        };
        assert_eq!(seconds(200, None), None);
        assert_eq!(seconds(403, None), None);
        assert_eq!(seconds(529, Some("7")), None);
        assert_eq!(seconds(401, Some("7")), Some(600));
        assert_eq!(seconds(429, Some("7")), Some(7));
        assert_eq!(seconds(429, Some("999999")), Some(3600));
        assert_eq!(seconds(429, Some("soon")), Some(30));
    }
}
