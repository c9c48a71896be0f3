//! Calls that carry a file: what the server makes of it, and when it refuses. As tdlib/telegram-bot-api does, without looking
//! into it further than its first bytes.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    methods::{Parameters, Refusal, Upload, file_id, open_chat, post, text, unique},
    world::Bot,
};

/// Largest photo, and largest file of any kind, in bytes.
const PHOTO: usize = 10_000_000;
const LARGEST: usize = 50_000_000;
/// Most UTF-16 units of a caption.
const CAPTION: usize = 1024;

/// Carries one out: `field` is `photo`, `document` or `voice`.
pub fn send(
    bot: &mut Bot,
    p: &Parameters,
    field: &str,
    mut files: HashMap<String, Upload>,
) -> Result<Value, Refusal> {
    open_chat(bot, p)?;
    let upload = files.remove(field).ok_or(Refusal::bad(format!("there is no {field} in the request")))?;
    if upload.bytes.is_empty() {
        return Err(Refusal::bad("file must be non-empty"));
    }
    if upload.bytes.len() > LARGEST {
        return Err(Refusal::new(413, "Request Entity Too Large"));
    }
    let caption = text(p, "caption");
    if caption.encode_utf16().count() > CAPTION {
        return Err(Refusal::bad("message caption is too long"));
    }
    let (folder, suffix) = match field {
        "photo" => ("photos", "jpg"),
        "voice" => ("voice", "oga"),
        _ => ("documents", upload.name.rsplit_once('.').map_or("bin", |(_, end)| end)),
    };
    let path = format!("{folder}/file_{}.{suffix}", bot.fresh());
    let known = json!({
        "file_id": file_id(&path), "file_unique_id": unique(&path), "file_size": upload.bytes.len()
    });
    let mut file = known.as_object().cloned().unwrap_or_default();
    let more = match field {
        "photo" => {
            if upload.bytes.len() > PHOTO {
                return Err(Refusal::bad("file of that size can't be sent as a photo"));
            }
            if !picture(&upload.bytes) {
                return Err(Refusal::bad("IMAGE_PROCESS_FAILED"));
            }
            file.extend([("width".to_owned(), json!(90)), ("height".to_owned(), json!(60))]);
            json!({ "photo": [file] })
        }
        // Anything else that is sent as a voice note becomes an ordinary file.
        "voice" if upload.bytes.starts_with(b"OggS") => {
            file.extend([("duration".to_owned(), json!(1)), ("mime_type".to_owned(), json!("audio/ogg"))]);
            json!({ "voice": file })
        }
        _ => {
            file.insert("file_name".into(), json!(upload.name));
            file.insert("mime_type".into(), json!(upload.media));
            json!({ "document": file })
        }
    };
    let mut more = more.as_object().cloned().unwrap_or_default();
    if !caption.is_empty() {
        more.insert("caption".into(), json!(caption));
    }
    let message = post(bot, p, more)?;
    bot.files.insert(path, upload.bytes);
    Ok(message)
}

fn picture(bytes: &[u8]) -> bool {
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"\xff\xd8\xff") || webp
}
