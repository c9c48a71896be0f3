//! The skill `transcribe-voice`: one sound file to one service, as OpenAI's API wants it, and the text back. It never looks
//! into the sound: whoever decodes it is the far end.

use std::{fs::OpenOptions, io::Read, os::unix::fs::OpenOptionsExt, path::Path, process::ExitCode};

use openclaw_skill_kit::{arguments, folder::NOFOLLOW, http, service::Source};
use openclaw_wire::runner::Task;
use serde::Deserialize;

mod form;

use form::Form;

/// Where the jail shows `~/voice`.
const VOICE: &str = "/files/voice";
/// Largest file that the service takes (platform.openai.com/docs/guides/speech-to-text), in bytes.
const LARGEST: u64 = 25 << 20;
/// Longest answer, in bytes.
const MOST: usize = 1 << 20;
/// The model at OpenAI; other servers have their own and take the name for it.
const MODEL: &str = "gpt-transcribe";
/// What the service takes, by the end of the file's name.
const KINDS: [(&str, &str); 8] = [
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("mp3", "audio/mpeg"),
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
    let (sound, kind) = sound(Path::new(VOICE), &wanted.file)?;
    let mut form = Form::new(&sound);
    form.field("model", MODEL);
    form.field("response_format", "json");
    if let Some(language) = &wanted.language {
        form.field("language", language);
    }
    form.file("file", &wanted.file, kind, &sound);
    let (content_type, body) = form.finish();
    let reply = http::post(&url, &[("content-type", &content_type)], body, MOST)?.good(&url)?;
    let said = reply.json(&url)?;
    match said["text"].as_str().map(str::trim) {
        Some("") => Ok("Nothing is said in it.".into()),
        Some(text) => Ok(text.to_owned()),
        None => Err("the service answered without a text".into()),
    }
}

/// The file and its media type. No path leads out of the folder.
fn sound(folder: &Path, name: &str) -> Result<(Vec<u8>, &'static str), String> {
    let good =
        !name.starts_with('.') && !name.chars().any(|c| c == '/' || c == '"' || c == '\\' || c.is_control());
    if !good {
        return Err(format!("{name:?} is not the name of a file in the folder `voice`"));
    }
    let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    let kind = KINDS.iter().find(|(known, _)| *known == end).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| {
        let known: Vec<_> = KINDS.iter().map(|(end, _)| *end).collect();
        format!("{name:?} ends in none of {}", known.join(", "))
    })?;
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {name:?} in the folder `voice`"),
        _ => format!("read {name:?}: {error}"),
    };
    let mut bytes = Vec::new();
    let file =
        OpenOptions::new().read(true).custom_flags(NOFOLLOW).open(folder.join(name)).map_err(failed)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(format!("{name:?} is larger than {} MiB", LARGEST >> 20)),
        false => Ok((bytes, kind)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_sounds_of_the_folder_are_read() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join("voice")).expect("folder");
        std::fs::write(dir.path().join("secret.ogg"), "secret").expect("file");
        std::fs::write(dir.path().join("voice/note.ogg"), "OggS").expect("file");
        std::fs::write(dir.path().join("voice/list.txt"), "text").expect("file");
        std::os::unix::fs::symlink("../secret.ogg", dir.path().join("voice/link.ogg")).expect("link");
        let read = |name: &str| super::sound(&dir.path().join("voice"), name);
        assert_eq!(read("note.ogg").expect("reads"), (b"OggS".to_vec(), "audio/ogg"));
        for name in
            ["../secret.ogg", "/etc/passwd", "link.ogg", "list.txt", "none.ogg", "", "a\"b.ogg", ".x.ogg"]
        {
            assert!(read(name).is_err(), "{name:?}");
        }
    }
}
