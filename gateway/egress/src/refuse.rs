//! Egress's own answers, and the questions in JSON that they are for: what it would not or could not do, and what mends it.
//! Never a key, never a URL with one.

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use openclaw_wire::egress::{REFUSED, Refusal, RefusalKind};
use serde::de::DeserializeOwned;

use crate::proxy::Answer;

/// A refusal; short for the literal.
pub fn refusal(kind: RefusalKind, message: impl Into<String>, mend: impl Into<String>) -> Refusal {
    Refusal { kind, message: message.into(), mend: mend.into() }
}

/// A piece of a request as it may stand in a message: escaped and cut (incident 110).
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    format!("{cut:?}")
}

/// The refusal as an answer.
pub fn response(refusal: &Refusal) -> Response<Answer> {
    let (status, name) = match refusal.kind {
        RefusalKind::NotAllowed => (StatusCode::FORBIDDEN, "not_allowed"),
        RefusalKind::NoKey => (StatusCode::FAILED_DEPENDENCY, "no_key"),
        RefusalKind::Unreachable => (StatusCode::BAD_GATEWAY, "unreachable"),
        RefusalKind::NoAnswer => (StatusCode::GATEWAY_TIMEOUT, "no_answer"),
        RefusalKind::PrivateAddress => (StatusCode::FORBIDDEN, "private_address"),
        RefusalKind::BadRequest => (StatusCode::BAD_REQUEST, "bad_request"),
        RefusalKind::CapReached => (StatusCode::PAYMENT_REQUIRED, "cap_reached"),
        RefusalKind::NotPriced => (StatusCode::PAYMENT_REQUIRED, "not_priced"),
        RefusalKind::NoLedger => (StatusCode::INSUFFICIENT_STORAGE, "no_ledger"),
    };
    let mut response = json(status, refusal);
    response.headers_mut().insert(REFUSED, HeaderValue::from_static(name));
    response
}

/// A value as a JSON answer.
pub fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Answer> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Done, and there is nothing to say.
pub fn empty() -> Response<Answer> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Reads a question in JSON of at most so many bytes.
pub async fn read<T: DeserializeOwned>(body: Incoming, most: usize) -> Result<T, Refusal> {
    let bad = |why: String| {
        refusal(RefusalKind::BadRequest, format!("read what was asked: {why}"), "send its JSON")
    };
    let whole = Limited::new(body, most).collect().await.map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&whole.to_bytes()).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use openclaw_wire::egress::{REFUSED, RefusalKind};

    use super::{refusal, response, shown};

    #[test]
    fn the_header_says_what_the_body_says() {
        use RefusalKind::{
            BadRequest, CapReached, NoAnswer, NoKey, NoLedger, NotAllowed, NotPriced, PrivateAddress,
            Unreachable,
        };
        for kind in [
            NotAllowed,
            NoKey,
            Unreachable,
            NoAnswer,
            PrivateAddress,
            BadRequest,
            CapReached,
            NotPriced,
            NoLedger,
        ] {
            let response = response(&refusal(kind, "m", "n"));
            let name = serde_json::to_value(kind).expect("name");
            assert_eq!(response.headers()[REFUSED].to_str().ok(), name.as_str());
        }
    }

    #[test]
    fn what_others_wrote_is_escaped_and_cut() {
        assert_eq!(shown("a\n\u{1b}[31mb"), r#""a\n\u{1b}[31mb""#);
        assert!(shown(&"x".repeat(16_384)).len() < 100);
    }
}
