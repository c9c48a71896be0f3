//! The HTTP side: `/bot<token>/<method>` and `/file/bot<token>/<path>`, parameters as query, JSON, form or multipart.
//! Checks each call and each result against the schema before anything else sees it.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::{
    Core, Schema, fault,
    fault::Trouble,
    journal::Call,
    lock,
    methods::{self, Refusal, Upload},
    poll,
};

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the test ordered this connection to be cut")]
pub struct Cut;

/// Accepts until its task is ended.
pub async fn serve(listener: TcpListener, core: Arc<Core>) {
    while let Ok((stream, _)) = listener.accept().await {
        let core = core.clone();
        let service = hyper::service::service_fn(move |request| answer(core.clone(), request));
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            // The error is the client's going away, or a cut that the test ordered.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(core: Arc<Core>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let path = request.uri().path().to_owned();
    if let Some((token, file)) = path.strip_prefix("/file/bot").and_then(|rest| rest.split_once('/')) {
        let bytes = core.look(token, |bot| bot.files.get(file).cloned()).flatten();
        lock(&core.journal).files.push(file.into());
        core.changes.send_modify(|count| *count += 1);
        // As a method of this name, for the test's faults.
        let trouble = fault::take(&mut lock(&core.faults), "file");
        match trouble {
            None | Some(Trouble::AnswerLost) => {}
            Some(Trouble::Refuse(why)) => return Ok(refusal(&why)),
            Some(Trouble::Cut) => return Err(Cut),
            Some(Trouble::Stall) => std::future::pending::<()>().await,
            Some(Trouble::Garbage(status)) => {
                return Ok(json_answer(status, None, &json!("garbage")));
            }
        }
        return Ok(match bytes {
            Some(bytes) => Response::new(Full::from(bytes)),
            None => {
                json_answer(404, None, &json!({"ok": false, "error_code": 404, "description": "Not Found"}))
            }
        });
    }
    let Some((token, method)) = path.strip_prefix("/bot").and_then(|rest| rest.split_once('/')) else {
        return Ok(refusal(&Refusal::new(404, "Not Found")));
    };
    let Some(username) =
        core.look(token, |bot| (!bot.revoked).then(|| bot.user["username"].clone())).flatten()
    else {
        return Ok(refusal(&Refusal::new(401, "Unauthorized")));
    };
    let Some(name) = Schema::get().method(method) else {
        core.violation(format!("call of the unknown method {method:?}"));
        return Ok(refusal(&Refusal::new(404, "Not Found")));
    };
    let (parameters, files) = match parameters(name, request).await {
        Ok(read) => read,
        Err(why) => return Ok(refusal(&Refusal::bad(why))),
    };
    if let Err(why) = Schema::get().check_call(name, &parameters) {
        core.violation(why.to_string());
    }
    let record = |status: u16, answer: Value| {
        lock(&core.journal).calls.push(Call {
            bot: username.as_str().unwrap_or_default().into(),
            method: name.into(),
            parameters: parameters.clone(),
            status,
            answer,
            at: Instant::now(),
        });
        core.changes.send_modify(|count| *count += 1);
    };
    let trouble = fault::take(&mut lock(&core.faults), name);
    match &trouble {
        None | Some(Trouble::AnswerLost) => {}
        Some(Trouble::Refuse(why)) => {
            record(why.code, json!({"description": why.description}));
            return Ok(refusal(why));
        }
        Some(Trouble::Cut) => {
            record(0, json!("cut"));
            return Err(Cut);
        }
        Some(Trouble::Stall) => {
            record(0, json!("stall"));
            std::future::pending::<Infallible>().await;
        }
        Some(Trouble::Garbage(status)) => {
            record(*status, json!("garbage"));
            let mut page = Response::new(Full::from("<html><h1>upstream connect error</h1></html>"));
            *page.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            return Ok(page);
        }
    }
    let outcome = match name {
        "getUpdates" => poll::get_updates(&core, token, &parameters).await,
        _ => core
            .with(token, |bot| methods::execute(bot, name, &parameters, files))
            .unwrap_or(Err(Refusal::new(401, "Unauthorized"))),
    };
    if let Err(Refusal { code: 501, description, .. }) = &outcome {
        core.violation(description.clone());
    }
    let response = match outcome {
        Ok(result) => {
            if let Err(why) = Schema::get().check_result(name, &result) {
                core.violation(format!("the stand-in's own answer: {why}"));
            }
            record(200, result.clone());
            json_answer(200, None, &json!({"ok": true, "result": result}))
        }
        Err(why) => {
            record(why.code, json!({"description": why.description}));
            refusal(&why)
        }
    };
    match trouble {
        Some(Trouble::AnswerLost) => Err(Cut),
        _ => Ok(response),
    }
}

fn refusal(why: &Refusal) -> Response<Full<Bytes>> {
    let mut body = json!({"ok": false, "error_code": why.code, "description": why.description});
    if let Some(seconds) = why.retry_after {
        body["parameters"] = json!({"retry_after": seconds});
    }
    if let Some(id) = why.migrate_to {
        body["parameters"] = json!({"migrate_to_chat_id": id});
    }
    json_answer(why.code, why.retry_after, &body)
}

fn json_answer(status: u16, retry_after: Option<u64>, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    if let Some(seconds) = retry_after {
        response = response.header(header::RETRY_AFTER, seconds);
    }
    response.body(Full::from(body.to_string())).expect("the parts are valid")
}

/// The parameters of a call, and the files that came with it by the name of their field.
async fn parameters(
    method: &str,
    request: Request<Incoming>,
) -> Result<(Map<String, Value>, HashMap<String, Upload>), String> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    let mut pairs: HashMap<String, String> = form(query.as_bytes());
    let (mut parameters, mut files) = (Map::new(), HashMap::new());
    if kind.starts_with("application/json") && !body.is_empty() {
        parameters = serde_json::from_slice(&body).map_err(|_| "can't parse request JSON object")?;
    } else if let Some(boundary) = kind.split("boundary=").nth(1) {
        let (fields, uploads) = multipart(&body, boundary.trim_matches('"'))?;
        // The schema has a text where a file may be.
        pairs.extend(uploads.keys().map(|name| (name.clone(), format!("attach://{name}"))));
        pairs.extend(fields);
        files = uploads;
    } else {
        pairs.extend(form(&body));
    }
    for (name, text) in pairs {
        let value = Schema::get().type_parameter(method, &name, &text);
        parameters.insert(name, value);
    }
    Ok((parameters, files))
}

fn form(bytes: &[u8]) -> HashMap<String, String> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

/// Texts and files, by the names of their fields.
type Form = (HashMap<String, String>, HashMap<String, Upload>);

/// Takes a multipart body apart (RFC 7578), byte by byte: a file is anything.
fn multipart(body: &[u8], boundary: &str) -> Result<Form, String> {
    let find = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).position(|window| window == part);
    let (first, next) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let (mut texts, mut files) = (HashMap::new(), HashMap::new());
    let mut rest =
        body.strip_prefix(first.as_bytes()).ok_or("a form that does not begin with its boundary")?;
    while !rest.starts_with(b"--") {
        let end = find(rest, next.as_bytes()).ok_or("a form that does not end")?;
        let (part, after) = (&rest[..end], &rest[end + next.len()..]);
        let split = find(part, b"\r\n\r\n").ok_or("a part without a head")?;
        let (head, value) = (String::from_utf8_lossy(&part[..split]).into_owned(), &part[split + 4..]);
        let quoted = |key: &str| {
            let text = head.split(&format!(" {key}=\"")).nth(1)?;
            Some(text.split('"').next().unwrap_or_default().to_owned())
        };
        let name = quoted("name").ok_or("a part without a name")?;
        match quoted("filename") {
            Some(file) => {
                let media = head.split("Content-Type: ").nth(1).and_then(|text| text.lines().next());
                let media = media.unwrap_or("application/octet-stream").to_owned();
                files.insert(name, Upload { name: file, media, bytes: value.to_vec() });
            }
            None => {
                texts.insert(name, String::from_utf8(value.to_vec()).map_err(|error| error.to_string())?);
            }
        }
        rest = after;
    }
    Ok((texts, files))
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms_are_read_byte_by_byte() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n5\r\n--b\r\n\
            Content-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\
            \x89PNG\r\n\xff\r\n--b--\r\n";
        let (texts, files) = super::multipart(body, "b").expect("a form");
        assert_eq!(texts["chat_id"], "5");
        let photo = &files["photo"];
        assert_eq!((photo.name.as_str(), photo.media.as_str()), ("a.png", "image/png"));
        assert_eq!(photo.bytes, b"\x89PNG\r\n\xff");
        for cut in 0..body.len() - 4 {
            assert!(super::multipart(&body[..cut], "b").is_err(), "{cut}");
        }
    }
}
