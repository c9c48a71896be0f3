//! Tries keys with real calls that cost nothing: the list of models, `getMe`. A server that has no list is asked for one
//! token. Used before a new key takes over, and by `openclaw keys test`.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use openclaw_wire::{
    config::Api,
    egress::{Refusal, Tried},
};
use serde_json::json;
use url::Url;

use crate::{
    dial::{Request, Way},
    failover::attach,
    live::Live,
    table::{Credential, ModelCall, ModelRow},
};

/// What came of trying a key.
#[derive(Debug)]
pub struct Attempt {
    /// For people.
    pub tried: Tried,
    /// The far end says that the key is wrong. Otherwise, if it is not good, it could not be asked.
    pub refused: bool,
}

/// Tries a key on every route that uses it.
pub async fn attempt(live: &Live, name: &str) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for row in &live.table.models {
        let Ok(call) = &row.call else { continue };
        for credential in call.credentials.iter().filter(|credential| credential.name == name) {
            let (asked, answer) = model(live, row, call, credential).await;
            attempts.push(judge(format!("model {}", row.shown.name), asked, answer));
        }
    }
    for row in &live.table.bots {
        let Ok(call) = &row.call else { continue };
        for credential in call.credentials.iter().filter(|credential| credential.name == name) {
            let request = Request::new(Method::POST, call.method("getMe"));
            let answer = send(live, &call.way, credential, request).await;
            attempts.push(judge(format!("bot {}", row.shown.name), "getMe", answer));
        }
    }
    attempts
}

async fn model(
    live: &Live,
    row: &ModelRow,
    call: &ModelCall,
    credential: &Credential,
) -> (&'static str, Result<StatusCode, Refusal>) {
    let mut request = Request::new(Method::GET, list(row.shown.api, &call.url, call.path));
    version(row.shown.api, &mut request);
    match send(live, &call.way, credential, request).await {
        Ok(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) => {}
        answer => return ("the list of models", answer),
    }
    let mut request = Request::new(Method::POST, call.url.clone());
    version(row.shown.api, &mut request);
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let ask = json!({
        "model": row.shown.model, "max_tokens": 1, "messages": [{"role": "user", "content": "."}]
    });
    request.body = Bytes::from(ask.to_string()).into();
    ("one token", send(live, &call.way, credential, request).await)
}

/// `GET /v1/models` (<https://docs.anthropic.com/en/api/models-list>, <https://platform.openai.com/docs/api-reference/models>),
/// beside the path of the calls.
fn list(api: Api, url: &Url, path: &str) -> Url {
    let mut list = url.clone();
    let base = url.path().strip_suffix(path).unwrap_or_default();
    list.set_path(&format!("{base}{}", if api == Api::Anthropic { "v1/models" } else { "models" }));
    list
}

fn version(api: Api, request: &mut Request) {
    if api == Api::Anthropic {
        request.headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    }
}

async fn send(
    live: &Live,
    way: &Way,
    credential: &Credential,
    mut request: Request,
) -> Result<StatusCode, Refusal> {
    attach(&mut request, credential);
    // What the answer says is of no interest, and dropping it closes the connection.
    live.clients.send(way, request).await.map(|answer| answer.status())
}

fn judge(route: String, asked: &str, answer: Result<StatusCode, Refusal>) -> Attempt {
    let (good, refused, said) = match answer {
        Ok(status) if status.is_success() => (true, false, "it works".to_owned()),
        // Telegram answers 404 where a token has not even the form of one.
        Ok(status)
            if matches!(status.as_u16(), 401 | 403)
                || (status == StatusCode::NOT_FOUND && asked == "getMe") =>
        {
            (false, true, format!("refused ({})", status.as_u16()))
        }
        Ok(status) => (false, false, format!("no clear answer ({})", status.as_u16())),
        Err(refusal) => (false, false, refusal.message),
    };
    Attempt { tried: Tried { route, good, said: format!("{asked}: {said}") }, refused }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use openclaw_wire::config::Api;
    use url::Url;

    use super::{judge, list};

    #[test]
    fn the_list_of_models_is_beside_the_calls() {
        let at = |api, url: &str, path| list(api, &Url::parse(url).expect("url"), path).to_string();
        let anthropic = at(Api::Anthropic, "https://api.anthropic.com/v1/messages", "v1/messages");
        assert_eq!(anthropic, "https://api.anthropic.com/v1/models");
        let openai = at(Api::Openai, "https://h/v1/chat/completions", "chat/completions");
        assert_eq!(openai, "https://h/v1/models");
        let below = at(Api::Openai, "https://h/a/b/chat/completions", "chat/completions");
        assert_eq!(below, "https://h/a/b/models");
    }

    #[test]
    fn only_a_clear_no_is_a_refusal() {
        for (status, asked, good, refused) in [
            (200, "x", true, false),
            (401, "x", false, true),
            (403, "x", false, true),
            (404, "getMe", false, true),
            (404, "x", false, false),
            (429, "x", false, false),
            (500, "x", false, false),
        ] {
            let status = StatusCode::from_u16(status).expect("status");
            let attempt = judge("r".into(), asked, Ok(status));
            assert_eq!((attempt.tried.good, attempt.refused), (good, refused), "{status} {asked}");
        }
    }
}
