//! The skill `transcribe-voice`: one sound file to one service, as OpenAI's API wants it, and the text back. It never looks
//! into the sound: whoever decodes it is the far end.

use std::process::ExitCode;

use openclaw_skill_kit::{arguments, attached, http, service::Source};
use openclaw_wire::runner::Task;
use serde::Deserialize;

mod form;

use form::Form;

/// Largest file that the service takes (platform.openai.com/docs/guides/speech-to-text), in bytes.
const LARGEST: u64 = 25 << 20;
/// Longest answer, in bytes.
const MOST: usize = 1 << 20;
/// The model at OpenAI; other servers have their own and take the name for it.
const MODEL: &str = "gpt-transcribe";
/// What the service takes, by the end of the file's name.
const KINDS: [(&str, &str); 10] = [
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("mp3", "audio/mpeg"),
    ("mpga", "audio/mpeg"),
    ("mpeg", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("mp4", "audio/mp4"),
    ("wav", "audio/wav"),
    ("webm", "audio/webm"),
    ("flac", "audio/flac"),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    file: String,
    language: Option<String>,
    #[serde(default)]
    source: Source,
}

fn main() -> ExitCode {
    openclaw_skill_kit::run(answer)
}

fn answer(task: &Task) -> Result<String, String> {
    let wanted: Wanted = arguments(task)?;
    let url = wanted.source.address("/v1/audio/transcriptions")?;
    let kind = kind(&wanted.file)?;
    let (name, sound) = attached::read(&wanted.file, LARGEST)?;
    let mut form = Form::new(&sound);
    form.field("model", MODEL);
    form.field("response_format", "json");
    if let Some(language) = &wanted.language {
        form.field("language", language);
    }
    form.file("file", name.as_str(), kind, &sound);
    let (content_type, body) = form.finish();
    let reply = http::post(&url, &[("content-type", &content_type)], body, MOST)?.good(&url)?;
    let said = reply.json(&url)?;
    match said["text"].as_str().map(str::trim) {
        Some("") => Ok("Nothing is said in it.".into()),
        Some(text) => Ok(text.to_owned()),
        None => Err("the service answered without a text".into()),
    }
}

/// The media type of an attachment, by the ending that the gateway gave it.
fn kind(path: &str) -> Result<&'static str, String> {
    let end = path.rsplit_once('.').map(|(_, end)| end).unwrap_or_default();
    let kind = KINDS.iter().find(|(known, _)| *known == end).map(|(_, kind)| *kind);
    kind.ok_or_else(|| {
        let known: Vec<_> = KINDS.iter().map(|(end, _)| *end).collect();
        format!("{path:?} ends in none of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_sound_is_not_sent() {
        assert_eq!(super::kind("/attached/7.ogg"), Ok("audio/ogg"));
        for path in ["/attached/7.txt", "/attached/ogg", ""] {
            assert!(super::kind(path).expect_err(path).contains("ends in none of ogg"), "{path}");
        }
    }
}
