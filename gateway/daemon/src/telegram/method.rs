//! Calls to the Bot API (10.3), as far as the gateway makes them: their fields, and one way to make them. The token is
//! added by egress; no URL here has one. Never retries: whoever calls decides what an [`ApiError`] means.
//! Source of every field: <https://core.telegram.org/bots/api>.

mod error;
mod upload;
mod way;

use std::time::Duration;

use openclaw_wire::id::{BotName, ChatId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use error::{ApiError, Delivery, Gone};
pub use upload::{SentAs, Upload, pieces, upload_within};
pub use way::{Answer, BotApi, Lost, Posting};

/// A method of the Bot API.
pub trait Method: Serialize + Sync {
    /// Its name in the path.
    const NAME: &'static str;
    /// What stands in `result` when it succeeded.
    type Output: DeserializeOwned;
}

/// Makes one call and reads its answer.
pub async fn call<M: Method>(api: &dyn BotApi, bot: &BotName, method: &M) -> Result<M::Output, ApiError> {
    let body = serde_json::to_vec(method).map_err(|error| ApiError::Refused {
        status: 0,
        description: format!("write the call {}: {error}", M::NAME),
    })?;
    match api.post(bot, M::NAME, body.into()).await {
        Ok(answer) => error::read(&answer),
        Err(lost) => Err(ApiError::Network { delivery: lost.delivery, message: lost.message }),
    }
}

/// Like [`call`], given up after `limit`; then nobody knows whether it was carried out.
pub async fn call_within<M: Method>(
    api: &dyn BotApi,
    bot: &BotName,
    method: &M,
    limit: Duration,
) -> Result<M::Output, ApiError> {
    tokio::time::timeout(limit, call(api, bot, method)).await.unwrap_or_else(|_| {
        Err(ApiError::Network {
            delivery: Delivery::Unknown,
            message: format!("{}: no answer within {} s", M::NAME, limit.as_secs()),
        })
    })
}

/// How text is marked up. HTML is the only one that is written here: it needs the fewest escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ParseMode {
    /// `<b>`, `<i>`, `<a>`, `<pre>`, ...
    #[serde(rename = "HTML")]
    Html,
}

/// Link previews are always off: Telegram would fetch the address, and with it whatever a model was talked into
/// writing there (incident 114).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NoPreview {
    is_disabled: bool,
}

/// The only value.
pub const NO_PREVIEW: NoPreview = NoPreview { is_disabled: true };

/// Which message is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReplyParameters {
    /// The message, in the same chat.
    pub message_id: i64,
    /// Send also if that message is gone.
    pub allow_sending_without_reply: bool,
}

/// `sendMessage`.
#[derive(Debug, Clone, Serialize)]
pub struct SendMessage<'a> {
    /// Where to.
    pub chat_id: ChatId,
    /// Topic of a forum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_thread_id: Option<i64>,
    /// 1 to 4096 characters without its tags.
    pub text: &'a str,
    /// None: `text` is plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse_mode: Option<ParseMode>,
    /// Off.
    pub link_preview_options: NoPreview,
    /// What it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_parameters: Option<ReplyParameters>,
    /// Buttons below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<&'a InlineKeyboard>,
}

impl Method for SendMessage<'_> {
    const NAME: &'static str = "sendMessage";
    type Output = Sent;
}

/// Of a `Message`, what the gateway needs of its own ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Sent {
    /// For edits and replies; unique in its chat.
    pub message_id: i64,
}

/// `editMessageText`. Without `reply_markup` the message loses its buttons.
#[derive(Debug, Clone, Serialize)]
pub struct EditMessageText<'a> {
    /// Where it is.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: i64,
    /// 1 to 4096 characters without its tags.
    pub text: &'a str,
    /// None: `text` is plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse_mode: Option<ParseMode>,
    /// Off.
    pub link_preview_options: NoPreview,
    /// Buttons below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<&'a InlineKeyboard>,
}

impl Method for EditMessageText<'_> {
    const NAME: &'static str = "editMessageText";
    type Output = serde::de::IgnoredAny;
}

/// `editMessageReplyMarkup`: other buttons, or none, below the same text.
#[derive(Debug, Clone, Serialize)]
pub struct EditMessageReplyMarkup<'a> {
    /// Where it is.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: i64,
    /// Buttons below it; none takes them away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<&'a InlineKeyboard>,
}

impl Method for EditMessageReplyMarkup<'_> {
    const NAME: &'static str = "editMessageReplyMarkup";
    type Output = serde::de::IgnoredAny;
}

/// `sendMessageDraft`: a preview for 30 seconds, in private chats only.
#[derive(Debug, Clone, Serialize)]
pub struct SendMessageDraft<'a> {
    /// A private chat.
    pub chat_id: ChatId,
    /// Topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_thread_id: Option<i64>,
    /// Not zero. The same number again: the change is animated.
    pub draft_id: i64,
    /// 0 to 4096 characters without its tags; empty shows "Thinking…".
    pub text: &'a str,
    /// None: `text` is plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse_mode: Option<ParseMode>,
    /// Show a button that makes Telegram send `stopped_message_generation`.
    pub can_stop: bool,
}

impl Method for SendMessageDraft<'_> {
    const NAME: &'static str = "sendMessageDraft";
    type Output = serde::de::IgnoredAny;
}

/// `sendChatAction`: shown for at most 5 seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SendChatAction {
    /// Where to.
    pub chat_id: ChatId,
    /// Topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_thread_id: Option<i64>,
    /// What it looks as if the bot were doing.
    pub action: ChatAction,
}

/// What it looks as if the bot were doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatAction {
    /// Writing.
    Typing,
}

impl Method for SendChatAction {
    const NAME: &'static str = "sendChatAction";
    type Output = serde::de::IgnoredAny;
}

/// `answerCallbackQuery`: ends the wait that a pressed button shows.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerCallbackQuery<'a> {
    /// From the update.
    pub callback_query_id: &'a str,
    /// A notice, at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// The notice must be confirmed.
    pub show_alert: bool,
}

impl Method for AnswerCallbackQuery<'_> {
    const NAME: &'static str = "answerCallbackQuery";
    type Output = serde::de::IgnoredAny;
}

/// `setMyCommands`: the menu beside the text field; at most 100.
#[derive(Debug, Clone, Serialize)]
pub struct SetMyCommands<'a> {
    /// In order.
    pub commands: &'a [BotCommand<'a>],
}

/// One command of the menu.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BotCommand<'a> {
    /// Without the slash: 1 to 32 of `a-z 0-9 _`.
    pub command: &'a str,
    /// 1 to 256 characters.
    pub description: &'a str,
}

impl Method for SetMyCommands<'_> {
    const NAME: &'static str = "setMyCommands";
    type Output = serde::de::IgnoredAny;
}

/// `getFile`: where a file of at most 20 MB can be fetched, for at least an hour.
#[derive(Debug, Clone, Serialize)]
pub struct GetFile<'a> {
    /// From the message.
    pub file_id: &'a str,
}

/// What [`GetFile`] gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct File {
    /// Bytes, as far as Telegram knows.
    #[serde(default)]
    pub file_size: Option<u64>,
    /// For `GET /r/telegram/<bot>/file/<file_path>` at egress.
    #[serde(default)]
    pub file_path: Option<String>,
}

impl Method for GetFile<'_> {
    const NAME: &'static str = "getFile";
    type Output = File;
}

/// `deleteMessage`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DeleteMessage {
    /// Where it is.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: i64,
}

impl Method for DeleteMessage {
    const NAME: &'static str = "deleteMessage";
    type Output = serde::de::IgnoredAny;
}

/// `getMe`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct GetMe {}

/// What [`GetMe`] gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Me {
    /// The bot's own id.
    pub id: UserId,
    /// Its name behind the `@`.
    #[serde(default)]
    pub username: Option<String>,
    /// It sees every message of its groups, not only those that address it.
    #[serde(default)]
    pub can_read_all_group_messages: bool,
}

impl Method for GetMe {
    const NAME: &'static str = "getMe";
    type Output = Me;
}

/// `InlineKeyboardMarkup`: rows of buttons below a message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InlineKeyboard {
    /// Row by row.
    pub inline_keyboard: Vec<Vec<Button>>,
}

/// One button. Only callbacks: no address and no web app ever hides behind a button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// What it says.
    pub text: String,
    /// What comes back in the callback query, 1 to 64 **bytes**. It is no secret and no proof of who pressed.
    pub callback_data: String,
    /// Its colour; the app's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<ButtonStyle>,
}

/// Colour of a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ButtonStyle {
    /// Red.
    Danger,
    /// Green.
    Success,
    /// Blue.
    Primary,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_have_the_fields_of_bot_api_10_3() {
        let keyboard = InlineKeyboard {
            inline_keyboard: vec![vec![Button {
                text: "Allow".into(),
                callback_data: "a:1".into(),
                style: Some(ButtonStyle::Success),
            }]],
        };
        let send = SendMessage {
            chat_id: ChatId(-5),
            message_thread_id: Some(7),
            text: "<b>x</b>",
            parse_mode: Some(ParseMode::Html),
            link_preview_options: NO_PREVIEW,
            reply_parameters: Some(ReplyParameters { message_id: 9, allow_sending_without_reply: true }),
            reply_markup: Some(&keyboard),
        };
        assert_eq!(
            serde_json::to_value(&send).expect("writes"),
            json!({"chat_id": -5, "message_thread_id": 7, "text": "<b>x</b>", "parse_mode": "HTML",
                "link_preview_options": {"is_disabled": true},
                "reply_parameters": {"message_id": 9, "allow_sending_without_reply": true},
                "reply_markup": {"inline_keyboard": [[
                    {"text": "Allow", "callback_data": "a:1", "style": "success"}]]}})
        );
        let draft = SendMessageDraft {
            chat_id: ChatId(5),
            message_thread_id: None,
            draft_id: 3,
            text: "",
            parse_mode: None,
            can_stop: true,
        };
        assert_eq!(
            serde_json::to_value(&draft).expect("writes"),
            json!({"chat_id": 5, "draft_id": 3, "text": "", "can_stop": true})
        );
        let typing =
            SendChatAction { chat_id: ChatId(5), message_thread_id: None, action: ChatAction::Typing };
        assert_eq!(serde_json::to_value(typing).expect("writes"), json!({"chat_id": 5, "action": "typing"}));
        assert_eq!(serde_json::to_value(GetMe {}).expect("writes"), json!({}));
    }
}
