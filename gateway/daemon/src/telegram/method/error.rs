//! What an answer of the Bot API says: a result, or one of the failures that somebody here treats in its own way.
//! Descriptions are for people and change, so unknown ones fall into the class of their status.

use std::time::Duration;

use openclaw_wire::{egress::RefusalKind, id::ChatId};
use serde::{Deserialize, de::DeserializeOwned};

use super::Answer;

/// Wait when Telegram says "too many" without saying how long.
const UNSAID_WAIT: Duration = Duration::from_secs(5);
/// Longest description that is kept, in characters.
const DESCRIPTION: usize = 200;

/// Whether a call that brought no usable answer can have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It never reached Telegram, or Telegram said that it failed.
    No,
    /// It may have been carried out.
    Unknown,
}

/// Why a chat can't be written to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// The person blocked the bot.
    #[error("the bot was blocked by the user")]
    Blocked,
    /// The account is deleted.
    #[error("the user's account is deactivated")]
    Deactivated,
    /// The bot was put out of the group, or the group is gone.
    #[error("the bot is no longer a member of the chat")]
    Kicked,
    /// Unknown to this bot, or never started by that person.
    #[error("the chat was not found or was never started")]
    NotFound,
    /// Any other prohibition.
    #[error("the bot may not write to the chat")]
    Forbidden,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 429: wait that long.
    #[error("Telegram asks to wait {} s", retry_after.as_secs())]
    TooMany {
        /// How long.
        retry_after: Duration,
    },
    /// The tags in the text were refused.
    #[error("Telegram refused the markup")]
    BadMarkup,
    /// The edit would change nothing: the message already says that.
    #[error("the message is already as wanted")]
    NotModified,
    /// More text than one message holds.
    #[error("the message is too long")]
    TooLong,
    /// The message to edit is gone, too old, or not the bot's.
    #[error("the message can't be edited any more")]
    EditGone,
    /// Nothing can be sent to that chat.
    #[error("{0}")]
    ChatGone(#[from] Gone),
    /// The group became a supergroup, which has another id.
    #[error("the group is now the supergroup {to}")]
    Migrated {
        /// Its id.
        to: ChatId,
    },
    /// The bot's token is revoked, wrong, or not there.
    #[error("the bot's token is missing or was refused: put a valid one into the key file")]
    Unauthorized,
    /// The pressed button's query has expired.
    #[error("the button's query is too old")]
    QueryTooOld,
    /// The topic was deleted.
    #[error("the topic was not found")]
    ThreadNotFound,
    /// Any other refusal for good.
    #[error("Telegram refused the call ({status}): {description}")]
    Refused {
        /// HTTP status; 0 when nothing was sent.
        status: u16,
        /// What Telegram or egress said, shortened.
        description: String,
    },
    /// Telegram's own failure: try again later.
    #[error("Telegram failed ({status})")]
    Server {
        /// HTTP status.
        status: u16,
        /// Whether it can have been carried out.
        delivery: Delivery,
    },
    /// Telegram was not reached, or its answer did not come back: try again later.
    #[error("{message}")]
    Network {
        /// Whether it can have been carried out.
        delivery: Delivery,
        /// What was attempted.
        message: String,
    },
    /// It succeeded, but the result is not what the method promises.
    #[error("Telegram's result was not understood: {0}")]
    Unreadable(String),
}

impl ApiError {
    /// Whether the call may have been carried out all the same.
    pub fn may_be_done(&self) -> bool {
        use ApiError::{Network, Server, Unreadable};
        matches!(
            self,
            Unreadable(_)
                | Server { delivery: Delivery::Unknown, .. }
                | Network { delivery: Delivery::Unknown, .. }
        )
    }
}

/// `{"ok": ..., "result" | "error_code", "description", "parameters"}`.
#[derive(Deserialize)]
struct Envelope<T> {
    ok: bool,
    result: Option<T>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
}

#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    migrate_to_chat_id: Option<ChatId>,
    #[serde(default)]
    retry_after: Option<u64>,
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ApiError> {
    if let Some(kind) = answer.refused {
        return Err(refused_by_egress(kind, answer.status));
    }
    if (200..300).contains(&answer.status) {
        return match serde_json::from_slice::<Envelope<T>>(&answer.body) {
            Ok(Envelope { ok: true, result: Some(result), .. }) => Ok(result),
            // A success without its result, or with another one: the act is done.
            Ok(Envelope { ok: true, .. }) => Err(ApiError::Unreadable("it has no `result`".into())),
            Ok(envelope) => Err(classify(400, &envelope, answer.retry_after)),
            Err(error) if says_ok(&answer.body) => Err(ApiError::Unreadable(error.to_string())),
            Err(error) => Err(ApiError::Network {
                delivery: Delivery::Unknown,
                message: format!("Telegram's answer is not the Bot API's JSON: {error}"),
            }),
        };
    }
    match serde_json::from_slice::<Envelope<serde::de::IgnoredAny>>(&answer.body) {
        Ok(envelope) => Err(classify(answer.status, &envelope, answer.retry_after)),
        // Not the API server, but something between it and us.
        Err(_) if answer.status >= 500 => {
            Err(ApiError::Server { status: answer.status, delivery: Delivery::Unknown })
        }
        Err(_) => {
            let nothing = Envelope::<()> { ok: false, result: None, description: None, parameters: None };
            Err(classify(answer.status, &nothing, answer.retry_after))
        }
    }
}

fn says_ok(body: &[u8]) -> bool {
    matches!(serde_json::from_slice::<Envelope<serde::de::IgnoredAny>>(body), Ok(Envelope { ok: true, .. }))
}

fn refused_by_egress(kind: RefusalKind, status: u16) -> ApiError {
    match kind {
        RefusalKind::NoKey => ApiError::Unauthorized,
        RefusalKind::Unreachable => ApiError::Network {
            delivery: Delivery::No,
            message: "Telegram could not be reached; egress's log says why".into(),
        },
        RefusalKind::NoAnswer => ApiError::Network {
            delivery: Delivery::Unknown,
            message: "Telegram did not answer; egress's log says why".into(),
        },
        kind => ApiError::Refused { status, description: format!("egress refused it: {kind:?}") },
    }
}

fn classify<T>(status: u16, envelope: &Envelope<T>, header: Option<u64>) -> ApiError {
    let description = envelope.description.as_deref().unwrap_or_default();
    let said = description.to_ascii_lowercase();
    let says = |part: &str| said.contains(part);
    let parameters = envelope.parameters.as_ref();
    match status {
        429 => {
            let seconds = parameters.and_then(|p| p.retry_after).or(header).or_else(|| last_number(&said));
            ApiError::TooMany { retry_after: seconds.map_or(UNSAID_WAIT, Duration::from_secs) }
        }
        401 => ApiError::Unauthorized,
        // The path holds the token: an unknown one is "Not Found". "method not found" is our own mistake.
        404 if !says("method not found") => ApiError::Unauthorized,
        403 if says("blocked") => Gone::Blocked.into(),
        403 if says("deactivated") => Gone::Deactivated.into(),
        403 if says("kicked") || says("not a member") || says("deleted") => Gone::Kicked.into(),
        403 if says("can't initiate conversation") => Gone::NotFound.into(),
        403 => Gone::Forbidden.into(),
        500.. => ApiError::Server { status, delivery: Delivery::No },
        _ => {
            if let Some(to) = parameters.and_then(|p| p.migrate_to_chat_id) {
                ApiError::Migrated { to }
            } else if says("can't parse entities") {
                ApiError::BadMarkup
            } else if says("message is not modified") {
                ApiError::NotModified
            } else if says("message is too long") || says("text is too long") || says("message_too_long") {
                ApiError::TooLong
            } else if says("message to edit not found") || says("message can't be edited") {
                ApiError::EditGone
            } else if says("thread not found") || says("topic_deleted") || says("topic_closed") {
                ApiError::ThreadNotFound
            } else if says("query is too old") {
                ApiError::QueryTooOld
            } else if says("chat not found") || says("peer_id_invalid") {
                Gone::NotFound.into()
            } else {
                ApiError::Refused { status, description: description.chars().take(DESCRIPTION).collect() }
            }
        }
    }
}

/// "Too Many Requests: retry after 12" → 12.
fn last_number(text: &str) -> Option<u64> {
    text.rsplit(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::telegram::method::Sent;

    fn says(status: u16, description: &str) -> ApiError {
        let body = json!({"ok": false, "error_code": status, "description": description});
        let answer = Answer { status, body: body.to_string().into(), ..Answer::default() };
        read::<Sent>(&answer).expect_err("a failure")
    }

    #[test]
    fn descriptions_become_cases() {
        // Texts as the reference server writes them.
        let markup = "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 3";
        assert_eq!(says(400, markup), ApiError::BadMarkup);
        let same = "Bad Request: message is not modified: specified new message content and reply markup are \
                    exactly the same as a current content and reply markup of the message";
        assert_eq!(says(400, same), ApiError::NotModified);
        for long in ["Bad Request: message is too long", "Bad Request: text is too long"] {
            assert_eq!(says(400, long), ApiError::TooLong);
        }
        for gone in ["Bad Request: message to edit not found", "Bad Request: message can't be edited"] {
            assert_eq!(says(400, gone), ApiError::EditGone);
        }
        assert_eq!(says(400, "Bad Request: message thread not found"), ApiError::ThreadNotFound);
        let old = "Bad Request: query is too old and response timeout expired or query ID is invalid";
        assert_eq!(says(400, old), ApiError::QueryTooOld);
        for (status, text, gone) in [
            (400, "Bad Request: chat not found", Gone::NotFound),
            (403, "Forbidden: bot was blocked by the user", Gone::Blocked),
            (403, "Forbidden: user is deactivated", Gone::Deactivated),
            (403, "Forbidden: bot was kicked from the supergroup chat", Gone::Kicked),
            (403, "Forbidden: bot is not a member of the channel chat", Gone::Kicked),
            (403, "Forbidden: the group chat was deleted", Gone::Kicked),
            (403, "Forbidden: bot can't initiate conversation with a user", Gone::NotFound),
            (403, "Forbidden: something new", Gone::Forbidden),
        ] {
            assert_eq!(says(status, text), ApiError::ChatGone(gone), "{text}");
        }
        assert_eq!(says(401, "Unauthorized"), ApiError::Unauthorized);
        assert_eq!(says(404, "Not Found"), ApiError::Unauthorized);
        assert!(matches!(says(404, "Not Found: method not found"), ApiError::Refused { status: 404, .. }));
        assert!(matches!(says(400, "Bad Request: new"), ApiError::Refused { status: 400, .. }));
        let server = ApiError::Server { status: 500, delivery: Delivery::No };
        assert_eq!(says(500, "Internal Server Error"), server);
    }

    #[test]
    fn waits_are_read_from_wherever_they_stand() {
        let wait = |answer: Answer| match read::<Sent>(&answer) {
            Err(ApiError::TooMany { retry_after }) => retry_after.as_secs(),
            other => panic!("{other:?}"),
        };
        let body = |json: serde_json::Value| json.to_string().into();
        let base = Answer { status: 429, ..Answer::default() };
        let all = json!({"ok": false, "description": "Too Many Requests: retry after 3",
            "parameters": {"retry_after": 4}});
        assert_eq!(wait(Answer { body: body(all), retry_after: Some(5), ..base.clone() }), 4);
        assert_eq!(wait(Answer { retry_after: Some(5), ..base.clone() }), 5);
        let text = json!({"ok": false, "description": "Too Many Requests: retry after 3"});
        assert_eq!(wait(Answer { body: body(text), ..base.clone() }), 3);
        assert_eq!(wait(base), UNSAID_WAIT.as_secs());
    }

    #[test]
    fn the_supergroups_id_is_taken_over() {
        let body = json!({"ok": false, "error_code": 400,
            "description": "Bad Request: group chat was upgraded to a supergroup chat",
            "parameters": {"migrate_to_chat_id": -1_001_234_567_890_i64}});
        let answer = Answer { status: 400, body: body.to_string().into(), ..Answer::default() };
        let migrated = ApiError::Migrated { to: ChatId(-1_001_234_567_890) };
        assert_eq!(read::<Sent>(&answer), Err(migrated));
    }

    #[test]
    fn success_is_not_mistaken_for_failure_nor_the_reverse() {
        let with = |status, text: &'static str| {
            read::<Sent>(&Answer { status, body: text.into(), ..Answer::default() })
        };
        assert_eq!(with(200, r#"{"ok":true,"result":{"message_id":5,"new":1}}"#), Ok(Sent { message_id: 5 }));
        assert!(matches!(with(200, r#"{"ok":true,"result":true}"#), Err(ApiError::Unreadable(_))));
        assert!(matches!(with(200, r#"{"ok":true}"#), Err(ApiError::Unreadable(_))));
        assert!(matches!(with(200, "<html>"), Err(ApiError::Network { delivery: Delivery::Unknown, .. })));
        assert!(matches!(with(200, r#"{"ok":false,"description":"x"}"#), Err(ApiError::Refused { .. })));
        let between = ApiError::Server { status: 502, delivery: Delivery::Unknown };
        assert_eq!(with(502, "<html>bad gateway"), Err(between));
    }
}
