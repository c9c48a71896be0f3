//! The Bot API's methods on the stand-in's world, with the server's own words for each refusal. Nothing here waits;
//! `getUpdates` is in `poll`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    markup, uploads,
    world::{Bot, Chat, Hook},
};

/// Most UTF-16 units of a message. The documentation says "characters"; the smaller reading is the safe one.
pub const MAX_TEXT: usize = 4096;

/// Why a call failed: what becomes `error_code`, `description` and `parameters`.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Also the HTTP status.
    pub code: u16,
    /// With its prefix, such as `Bad Request: `.
    pub description: String,
    /// Seconds to wait.
    pub retry_after: Option<u64>,
    /// The supergroup that the chat became.
    pub migrate_to: Option<i64>,
}

impl Refusal {
    /// A 400 with the server's prefix.
    pub fn bad(description: impl std::fmt::Display) -> Self {
        Self::new(400, &format!("Bad Request: {description}"))
    }

    /// Any other code, description as it stands.
    pub fn new(code: u16, description: &str) -> Self {
        Self { code, description: description.into(), retry_after: None, migrate_to: None }
    }

    /// A 429.
    pub fn flood(seconds: u64) -> Self {
        let description = format!("Too Many Requests: retry after {seconds}");
        Self { retry_after: Some(seconds), ..Self::new(429, &description) }
    }
}

pub(super) type Parameters = Map<String, Value>;

/// A file that came with a call.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The sender's name for it.
    pub name: String,
    /// The sender's word for what is in it.
    pub media: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Carries one method out.
pub fn execute(
    bot: &mut Bot,
    method: &str,
    p: &Parameters,
    files: HashMap<String, Upload>,
) -> Result<Value, Refusal> {
    match method {
        "sendPhoto" => uploads::send(bot, p, "photo", files),
        "sendDocument" => uploads::send(bot, p, "document", files),
        "sendVoice" => uploads::send(bot, p, "voice", files),
        "getMe" => Ok(bot.user.clone()),
        "setWebhook" => set_webhook(bot, p),
        "deleteWebhook" => {
            bot.hook = None;
            if p.get("drop_pending_updates") == Some(&json!(true)) {
                bot.pending.clear();
            }
            Ok(json!(true))
        }
        "getWebhookInfo" => Ok(webhook_info(bot)),
        "sendMessage" => send_message(bot, p),
        "editMessageText" => edit_text(bot, p),
        "editMessageReplyMarkup" => edit_markup(bot, p),
        "deleteMessage" => {
            let id = number(p, "message_id");
            open_chat(bot, p)?.messages.remove(&id).ok_or(Refusal::bad("message to delete not found"))?;
            Ok(json!(true))
        }
        "sendMessageDraft" => draft(bot, p),
        "sendChatAction" => {
            const ACTIONS: [&str; 11] = [
                "typing",
                "upload_photo",
                "record_video",
                "upload_video",
                "record_voice",
                "upload_voice",
                "upload_document",
                "choose_sticker",
                "find_location",
                "record_video_note",
                "upload_video_note",
            ];
            let chat = open_chat(bot, p)?;
            if !ACTIONS.contains(&text(p, "action")) {
                return Err(Refusal::bad("wrong parameter action in request"));
            }
            chat.typing += 1;
            Ok(json!(true))
        }
        "answerCallbackQuery" => answer_callback(bot, p),
        "getFile" => get_file(bot, p),
        "setMyCommands" => {
            bot.commands = p.get("commands").cloned().unwrap_or_default();
            Ok(json!(true))
        }
        other => Err(Refusal::new(501, &format!("the stand-in does not carry out {other}"))),
    }
}

fn number(p: &Parameters, name: &str) -> i64 {
    p.get(name).and_then(Value::as_i64).unwrap_or_default()
}

pub(super) fn text<'a>(p: &'a Parameters, name: &str) -> &'a str {
    p.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn open_chat<'a>(bot: &'a mut Bot, p: &Parameters) -> Result<&'a mut Chat, Refusal> {
    let chat = bot.chats.get_mut(&number(p, "chat_id")).ok_or(Refusal::bad("chat not found"))?;
    if let Some(id) = chat.became {
        let why = Refusal::bad("group chat was upgraded to a supergroup chat");
        return Err(Refusal { migrate_to: Some(id), ..why });
    }
    match chat.closed {
        Some(why) => Err(Refusal::new(403, why)),
        None => Ok(chat),
    }
}

fn set_webhook(bot: &mut Bot, p: &Parameters) -> Result<Value, Refusal> {
    let url = text(p, "url");
    if p.get("drop_pending_updates") == Some(&json!(true)) {
        bot.pending.clear();
    }
    if let Some(kinds) = p.get("allowed_updates").and_then(Value::as_array) {
        bot.allowed = Some(kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect());
    }
    if url.is_empty() {
        bot.hook = None;
        return Ok(json!(true));
    }
    let parsed = url::Url::parse(url).map_err(|_| Refusal::bad("invalid webhook URL specified"))?;
    if parsed.scheme() != "https" {
        return Err(Refusal::bad("bad webhook: An HTTPS URL must be provided for webhook"));
    }
    if ![443, 80, 88, 8443].contains(&parsed.port_or_known_default().unwrap_or(0)) {
        return Err(Refusal::bad("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"));
    }
    let secret = text(p, "secret_token");
    if secret.len() > 256 {
        return Err(Refusal::bad("secret token is too long"));
    }
    if !secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(Refusal::bad("secret token contains unallowed characters"));
    }
    let most = p.get("max_connections").and_then(Value::as_u64).unwrap_or(40).clamp(1, 100);
    bot.hook = Some(Hook {
        url: url.into(),
        secret: (!secret.is_empty()).then(|| secret.into()),
        max_connections: most as usize,
        last_error: None,
    });
    bot.poll += 1;
    Ok(json!(true))
}

fn webhook_info(bot: &Bot) -> Value {
    let hook = bot.hook.clone().unwrap_or_default();
    let mut info = json!({
        "url": hook.url, "has_custom_certificate": false, "pending_update_count": bot.pending.len()
    });
    if bot.hook.is_some() {
        info["max_connections"] = json!(hook.max_connections);
    }
    if let Some((at, why)) = hook.last_error {
        info["last_error_date"] = json!(at);
        info["last_error_message"] = json!(why);
    }
    if let Some(kinds) = bot.allowed.as_ref().filter(|kinds| !kinds.is_empty()) {
        info["allowed_updates"] = json!(kinds);
    }
    info
}

/// The text and entities that a call describes, or the server's refusal.
fn formatted(p: &Parameters) -> Result<Map<String, Value>, Refusal> {
    let source = text(p, "text");
    let parsed = match text(p, "parse_mode").to_lowercase().as_str() {
        "" => markup::Parsed {
            text: source.into(),
            entities: p.get("entities").and_then(Value::as_array).cloned().unwrap_or_default(),
        },
        "html" => markup::html(source).map_err(|why| Refusal::bad(format!("can't parse entities: {why}")))?,
        other => return Err(Refusal::new(501, &format!("the stand-in does not parse {other}"))),
    };
    let units: usize = parsed.text.encode_utf16().count();
    if parsed.text.trim().is_empty() {
        return Err(Refusal::bad("message text is empty"));
    }
    if units > MAX_TEXT {
        return Err(Refusal::bad("message is too long"));
    }
    let end = |entity: &Value| entity["offset"].as_u64().zip(entity["length"].as_u64()).map(|(o, l)| o + l);
    if parsed.entities.iter().any(|entity| end(entity).is_none_or(|end| end > units as u64)) {
        return Err(Refusal::bad("ENTITY_BOUNDS_INVALID"));
    }
    let mut out = Map::from_iter([("text".to_owned(), json!(parsed.text))]);
    if !parsed.entities.is_empty() {
        out.insert("entities".into(), Value::Array(parsed.entities));
    }
    if let Some(preview) = p.get("link_preview_options") {
        out.insert("link_preview_options".into(), preview.clone());
    }
    Ok(out)
}

/// An inline keyboard, checked: callback data is 1 to 64 bytes, a button has a text and one action.
fn keyboard(p: &Parameters) -> Result<Option<Value>, Refusal> {
    let Some(markup) = p.get("reply_markup") else { return Ok(None) };
    let Some(rows) = markup.get("inline_keyboard").and_then(Value::as_array) else { return Ok(None) };
    for button in rows.iter().flat_map(|row| row.as_array().into_iter().flatten()) {
        if button["text"].as_str().is_none_or(str::is_empty) {
            return Err(Refusal::bad(
                "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
            ));
        }
        if let Some(data) = button.get("callback_data").and_then(Value::as_str)
            && !(1..=64).contains(&data.len())
        {
            return Err(Refusal::bad("BUTTON_DATA_INVALID"));
        }
    }
    Ok((!rows.is_empty()).then(|| markup.clone()))
}

fn send_message(bot: &mut Bot, p: &Parameters) -> Result<Value, Refusal> {
    open_chat(bot, p)?;
    let mut more = formatted(p)?;
    if let Some(keyboard) = keyboard(p)? {
        more.insert("reply_markup".into(), keyboard);
    }
    post(bot, p, more)
}

/// A message of the bot with this content, if rate, thread and the message that it answers allow it.
pub(super) fn post(bot: &mut Bot, p: &Parameters, mut more: Map<String, Value>) -> Result<Value, Refusal> {
    let from = bot.sender();
    limit(bot, p)?;
    let chat = open_chat(bot, p)?;
    let forum = chat.object["is_forum"] == true;
    match p.get("message_thread_id").and_then(Value::as_i64) {
        Some(1) if forum => return Err(Refusal::bad("message thread not found")),
        Some(topic) => {
            more.insert("message_thread_id".into(), json!(topic));
            if forum {
                more.insert("is_topic_message".into(), json!(true));
            }
        }
        None => {}
    }
    if let Some(reply) = p.get("reply_parameters") {
        let id = reply["message_id"].as_i64().unwrap_or_default();
        match chat.messages.get(&id) {
            Some(original) => {
                let mut original = original.clone();
                if let Some(fields) = original.as_object_mut() {
                    fields.remove("reply_to_message");
                }
                more.insert("reply_to_message".into(), original);
            }
            None if reply["allow_sending_without_reply"] == true => {}
            None => return Err(Refusal::bad("message to be replied not found")),
        }
    }
    let message = chat.add(&from, more);
    chat.unseen.push_back(message["message_id"].as_i64().unwrap_or_default());
    Ok(message)
}

fn limit(bot: &mut Bot, p: &Parameters) -> Result<(), Refusal> {
    match &mut bot.flood {
        Some(flood) => flood.count(number(p, "chat_id")).map_err(Refusal::flood),
        None => Ok(()),
    }
}

fn own_message<'a>(bot: &'a mut Bot, p: &Parameters) -> Result<&'a mut Value, Refusal> {
    let me = bot.user["id"].clone();
    let id = number(p, "message_id");
    let message =
        open_chat(bot, p)?.messages.get_mut(&id).ok_or(Refusal::bad("message to edit not found"))?;
    if message["from"]["id"] != me {
        return Err(Refusal::bad("message can't be edited"));
    }
    Ok(message)
}

fn edit_text(bot: &mut Bot, p: &Parameters) -> Result<Value, Refusal> {
    own_message(bot, p)?;
    let (new, keyboard) = (formatted(p)?, keyboard(p)?);
    limit(bot, p)?;
    let message = own_message(bot, p)?;
    let same = |name: &str| message.get(name) == new.get(name);
    if same("text") && same("entities") && message.get("reply_markup") == keyboard.as_ref() {
        return Err(Refusal::bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a \
             current content and reply markup of the message",
        ));
    }
    apply(message, new, keyboard)
}

fn edit_markup(bot: &mut Bot, p: &Parameters) -> Result<Value, Refusal> {
    let keyboard = keyboard(p)?;
    let message = own_message(bot, p)?;
    if message.get("reply_markup") == keyboard.as_ref() {
        return Err(Refusal::bad(
            "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message",
        ));
    }
    let keep = ["text", "entities", "link_preview_options"];
    let new = keep.iter().filter_map(|name| Some((name.to_string(), message.get(name)?.clone()))).collect();
    apply(message, new, keyboard)
}

fn apply(message: &mut Value, new: Map<String, Value>, keyboard: Option<Value>) -> Result<Value, Refusal> {
    let fields = message.as_object_mut().ok_or(Refusal::bad("message to edit not found"))?;
    for name in ["text", "entities", "link_preview_options", "reply_markup"] {
        fields.remove(name);
    }
    fields.extend(new);
    fields.insert("edit_date".into(), json!(super::world::now()));
    if let Some(keyboard) = keyboard {
        fields.insert("reply_markup".into(), keyboard);
    }
    Ok(message.clone())
}

fn draft(bot: &mut Bot, p: &Parameters) -> Result<Value, Refusal> {
    let chat = open_chat(bot, p)?;
    if chat.object["type"] != "private" {
        return Err(Refusal::bad("the method is available only in private chats"));
    }
    if number(p, "draft_id") == 0 {
        return Err(Refusal::bad("draft_id must be non-zero"));
    }
    let shown = match text(p, "text").is_empty() {
        true => String::new(),
        false => formatted(p)?["text"].as_str().unwrap_or_default().to_owned(),
    };
    chat.drafts.push((number(p, "draft_id"), shown));
    Ok(json!(true))
}

fn answer_callback(bot: &mut Bot, p: &Parameters) -> Result<Value, Refusal> {
    let too_old = Refusal::bad("query is too old and response timeout expired or query ID is invalid");
    let callback = bot.callbacks.get_mut(text(p, "callback_query_id")).ok_or(too_old.clone())?;
    if callback.answer.is_some() || callback.asked.elapsed().as_secs() > 150 {
        return Err(too_old);
    }
    if text(p, "text").chars().count() > 200 {
        return Err(Refusal::bad("MESSAGE_TOO_LONG"));
    }
    callback.answer = Some(text(p, "text").into());
    Ok(json!(true))
}

fn get_file(bot: &mut Bot, p: &Parameters) -> Result<Value, Refusal> {
    let id = text(p, "file_id");
    let found = bot.files.iter().find(|(path, _)| file_id(path) == id);
    let (path, bytes) = found.ok_or(Refusal::bad("wrong file_id or the file is temporarily unavailable"))?;
    if bytes.len() > 20 << 20 {
        return Err(Refusal::bad("file is too big"));
    }
    Ok(json!({"file_id": id, "file_unique_id": unique(path), "file_size": bytes.len(), "file_path": path}))
}

/// The id under which a stored file is offered.
pub fn file_id(path: &str) -> String {
    format!("BQACAgIAAxkBAA-{}", unique(path))
}

/// The id that stays the same for every bot.
pub fn unique(path: &str) -> String {
    path.bytes().map(|b| format!("{b:02x}")).collect()
}
