//! The skill `generate-image`: a description to one service, as OpenAI's API wants it, and the picture into a file. It takes
//! the bytes as they are: nothing here decodes a picture.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::ExitCode,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use openclaw_skill_kit::{arguments, folder::alone, http, service::Source};
use openclaw_wire::runner::Task;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the jail shows `~/pictures`.
const PICTURES: &str = "/files/pictures";
/// Longest answer, in bytes: a picture in base64.
const MOST: usize = 48 << 20;
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
    let folder = Path::new(PICTURES);
    // Before anything is paid for.
    free(folder, &wanted.name)?;
    let size = wanted.size.as_deref().unwrap_or("1024x1024");
    let body = json!({ "model": MODEL, "prompt": wanted.prompt, "n": 1, "size": size });
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let reply = http::post(&url, &[("content-type", "application/json")], body, MOST)?.good(&url)?;
    keep(folder, &wanted.name, &picture(&reply.json(&url)?)?)
}

/// `data[0].b64_json` (platform.openai.com/docs/api-reference/images/create).
fn picture(said: &Value) -> Result<Vec<u8>, String> {
    let text = said["data"][0]["b64_json"].as_str();
    let text = text.ok_or("the service answered without a picture (`b64_json`)")?;
    STANDARD.decode(text).map_err(|error| format!("the picture is not base64: {error}"))
}

fn free(folder: &Path, name: &str) -> Result<(), String> {
    let good =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !good {
        return Err(format!("{name:?} is no name: lower case letters, digits and `-`"));
    }
    match ENDS.iter().find(|end| folder.join(format!("{name}.{end}")).symlink_metadata().is_ok()) {
        Some(end) => Err(format!("there is a picture {name}.{end} already; choose another name")),
        None => Ok(()),
    }
}

/// The kinds that services make.
const ENDS: [&str; 3] = ["png", "jpg", "webp"];

fn keep(folder: &Path, name: &str, bytes: &[u8]) -> Result<String, String> {
    let end = match bytes {
        [0x89, b'P', b'N', b'G', ..] => ENDS[0],
        [0xff, 0xd8, 0xff, ..] => ENDS[1],
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ENDS[2],
        _ => return Err("what the service made is no PNG, JPEG or WebP".into()),
    };
    let (new, file) = (folder.join(".new"), format!("{name}.{end}"));
    let _alone = alone(folder).map_err(|error| format!("wait for others that keep pictures: {error}"))?;
    // What an interrupted call left behind.
    let _absent = fs::remove_file(&new);
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new).and_then(|mut out| {
            out.write_all(bytes)?;
            out.sync_all()?;
            fs::hard_link(&new, folder.join(&file))?;
            fs::remove_file(&new)
        });
    written.map_err(|error| format!("keep the picture {file}: {error}"))?;
    Ok(format!("The picture is in pictures/{file} ({} bytes).", bytes.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{free, keep, picture};

    #[test]
    fn a_picture_is_kept_once_under_its_kind() {
        let dir = tempfile::tempdir().expect("dir");
        let png =
            picture(&json!({ "created": 1, "data": [{ "b64_json": "iVBORw0KGgo=" }] })).expect("a picture");
        free(dir.path(), "pot").expect("free");
        assert_eq!(
            keep(dir.path(), "pot", &png).expect("kept"),
            "The picture is in pictures/pot.png (8 bytes)."
        );
        assert!(free(dir.path(), "pot").expect_err("taken").contains("already"));
        assert!(keep(dir.path(), "pot", &png).is_err(), "never replaced");
        for name in ["", "../x", "a/b", "A", "a.b"] {
            assert!(free(dir.path(), name).is_err(), "{name}");
        }
        assert!(keep(dir.path(), "other", b"<svg onload=x>").expect_err("a kind").contains("no PNG"));
        for bad in [
            json!({}),
            json!({ "data": [{ "url": "https://example.com/a.png" }] }),
            json!({ "data": [{ "b64_json": "?" }] }),
        ] {
            assert!(picture(&bad).is_err(), "{bad}");
        }
    }
}
