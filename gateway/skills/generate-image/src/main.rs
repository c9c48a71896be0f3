//! The skill `generate-image`: a description to one service, as OpenAI's API wants it, and the picture into the conversation.
//! It takes the bytes as they are: nothing here decodes a picture.

use std::process::ExitCode;

use base64::{Engine, engine::general_purpose::STANDARD};
use openclaw_skill_kit::{arguments, attached, http, service::Source};
use openclaw_wire::runner::Task;
use serde::Deserialize;
use serde_json::{Value, json};

/// Longest answer, in bytes: in base64, a picture as large as its manifest lets it make.
const MOST: usize = 33 << 20;
/// The model at OpenAI; other servers have their own and take the name for it.
const MODEL: &str = "gpt-image-2";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    prompt: String,
    name: String,
    size: Option<String>,
    #[serde(default)]
    source: Source,
}

fn main() -> ExitCode {
    openclaw_skill_kit::run(answer)
}

fn answer(task: &Task) -> Result<String, String> {
    let wanted: Wanted = arguments(task)?;
    let url = wanted.source.address("/v1/images/generations")?;
    // Before anything is paid for.
    good(&wanted.name)?;
    let size = wanted.size.as_deref().unwrap_or("1024x1024");
    let body = json!({ "model": MODEL, "prompt": wanted.prompt, "n": 1, "size": size });
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let reply = http::post(&url, &[("content-type", "application/json")], body, MOST)?.good(&url)?;
    keep(&wanted.name, &picture(&reply.json(&url)?)?)
}

/// `data[0].b64_json` (platform.openai.com/docs/api-reference/images/create).
fn picture(said: &Value) -> Result<Vec<u8>, String> {
    let text = said["data"][0]["b64_json"].as_str();
    let text = text.ok_or("the service answered without a picture (`b64_json`)")?;
    STANDARD.decode(text).map_err(|error| format!("the picture is not base64: {error}"))
}

fn good(name: &str) -> Result<(), String> {
    let good =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match good {
        true => Ok(()),
        false => Err(format!("{name:?} is no name: lower case letters, digits and `-`")),
    }
}

fn keep(name: &str, bytes: &[u8]) -> Result<String, String> {
    let file = format!("{name}.{}", ending(bytes)?);
    attached::make(&file, bytes)?;
    Ok(format!("The picture {file} is made ({} bytes).", bytes.len()))
}

/// Of the kinds that services make.
fn ending(bytes: &[u8]) -> Result<&'static str, String> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Ok("png"),
        [0xff, 0xd8, 0xff, ..] => Ok("jpg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok("webp"),
        _ => Err("what the service made is no PNG, JPEG or WebP".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ending, good, picture};

    #[test]
    fn a_picture_is_taken_as_it_is_if_it_is_one() {
        let png =
            picture(&json!({ "created": 1, "data": [{ "b64_json": "iVBORw0KGgo=" }] })).expect("a picture");
        assert_eq!((png.as_slice(), ending(&png)), (b"\x89PNG\r\n\x1a\n".as_slice(), Ok("png")));
        assert!(ending(b"<svg onload=x>").expect_err("a kind").contains("no PNG"));
        for name in ["", "../x", "a/b", "A", "a.b"] {
            assert!(good(name).is_err(), "{name}");
        }
        for bad in [
            json!({}),
            json!({ "data": [{ "url": "https://example.com/a.png" }] }),
            json!({ "data": [{ "b64_json": "?" }] }),
        ] {
            assert!(picture(&bad).is_err(), "{bad}");
        }
    }
}
