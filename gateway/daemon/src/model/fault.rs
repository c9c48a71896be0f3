//! What can go wrong with a model, told apart by who can mend it. Errors carry codes, never a provider's own sentence:
//! that may repeat the conversation or a part of a key.

use http::StatusCode;
use openclaw_wire::{
    egress::{Refusal, RefusalKind},
    id::ModelName,
};
use serde_json::Value;

use super::{message::Usage, retry::Advice};
use crate::egress::EgressError;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The caller gave up.
    Cancelled,
    /// No connection to the provider, or to egress.
    Unreachable,
    /// No first byte, or none for too long.
    Timeout,
    /// Too many requests or overloaded (408, 409, 429, 529).
    Busy,
    /// The provider failed (5xx).
    Server,
    /// The key is not accepted.
    Auth,
    /// The account has no credit left.
    Quota,
    /// Egress holds no key for it.
    NoKey,
    /// The provider does not know the model's name.
    NoSuchModel,
    /// It could cost more than a spending limit leaves.
    Cap,
    /// Its price is not known, so nothing is sent to it.
    NotPriced,
    /// Egress does not allow the request, or can't use the model as it is configured.
    Blocked,
    /// More tokens than the model takes.
    ContextTooLong,
    /// The provider's filter stopped it.
    Refused,
    /// The stream ended before the answer did.
    Truncated,
    /// The answer, or one event of it, is larger than we take.
    Oversized,
    /// Not an answer that a model server gives.
    Malformed,
    /// The provider says that our request is wrong (other 4xx).
    Rejected,
    /// An answer of nothing.
    Empty,
    /// The prompt ends with no message that could be answered.
    Prompt,
}

impl Kind {
    /// Whether the same request may succeed at the same model.
    pub(super) fn passes(self) -> bool {
        use Kind::{Busy, Empty, Malformed, Server, Timeout, Truncated, Unreachable};
        matches!(self, Busy | Empty | Malformed | Server | Timeout | Truncated | Unreachable)
    }

    /// Whether another model may be asked. What the provider's filter stopped is not carried to the next one.
    pub(super) fn moves_on(self) -> bool {
        !matches!(self, Kind::Cancelled | Kind::Refused | Kind::Prompt)
    }

    /// Whether the next prompt would most likely meet the same at this model.
    pub(super) fn is_the_models(self) -> bool {
        use Kind::{Auth, Busy, NoKey, NoSuchModel, Quota, Server, Timeout, Unreachable};
        matches!(self, Auth | Busy | NoKey | NoSuchModel | Quota | Server | Timeout | Unreachable)
    }

    /// Whether only the operator can mend it: tell them, even when another model answered.
    pub fn for_operator(self) -> bool {
        use Kind::{Auth, Blocked, NoKey, NoSuchModel, NotPriced, Quota, Rejected};
        matches!(self, Auth | Blocked | NoKey | NoSuchModel | NotPriced | Quota | Rejected)
    }

    /// A sentence for the user.
    pub fn sentence(self) -> &'static str {
        match self {
            Kind::Cancelled => "Stopped.",
            Kind::Unreachable => {
                "The model's server cannot be reached at the moment. Please try again later."
            }
            Kind::Timeout => "The model took too long to answer. Please try again.",
            Kind::Busy => {
                "The model's provider is busy or limits us right now. Please try again in a few minutes."
            }
            Kind::Server => "The model's provider has a problem of its own. Please try again later.",
            Kind::Auth => {
                "The model's provider does not accept our key. The operator must put a valid one in place."
            }
            Kind::Quota => {
                "The account at the model's provider has no credit left. The operator must top it up."
            }
            Kind::NoKey => "There is no key for this model. The operator must add one.",
            Kind::NoSuchModel => {
                "The provider does not know the configured model. The operator must correct its name."
            }
            Kind::Cap => {
                "A spending limit is reached, so I stopped. The owner can raise it; otherwise I go on when the limit's \
                 day or month is over. /usage shows the limits."
            }
            Kind::NotPriced => {
                "The price of this model is not known, so nothing is sent to it. `openclaw status` tells the operator \
                 which lines to add."
            }
            Kind::Blocked => {
                "This model cannot be used as it is configured. `openclaw status` tells the operator why."
            }
            Kind::ContextTooLong => "This conversation is too long for the model. /new starts a fresh one.",
            Kind::Refused => "The model's provider declined to answer this.",
            Kind::Truncated => "The model's answer broke off. Please try again.",
            Kind::Oversized => "The model's answer was too large, so I stopped it.",
            Kind::Malformed => "The model's server gave an answer that I cannot read.",
            Kind::Rejected => {
                "The model's provider did not accept the request. The operator finds the code in the log."
            }
            Kind::Empty => "The model gave an empty answer. Please try again, perhaps in other words.",
            Kind::Prompt => "There is no message to answer.",
        }
    }
}

/// One model that did not answer. No field holds words of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub model: ModelName,
    /// What went wrong in the last try.
    pub kind: Kind,
    /// HTTP status of the last try.
    pub status: Option<u16>,
    /// The provider's code, like `rate_limit_exceeded`.
    pub code: Option<String>,
    /// The provider's name of the request, for its support.
    pub request: Option<String>,
    /// What egress says, for the operator: what was attempted and what mends it.
    pub detail: Option<String>,
    /// How often it was asked; 0 if it could not be.
    pub tries: u32,
}

/// No model answered.
#[derive(Debug, Clone, thiserror::Error)]
#[error("ask the models: {}{}", .kind.sentence(), list(.failures))]
pub struct ModelError {
    /// What the caller acts on: of the preferred model; [`Kind::ContextTooLong`] if it was that at any.
    pub kind: Kind,
    /// Each model that was tried, in order.
    pub failures: Vec<Failure>,
    /// What was used up nevertheless.
    pub usage: Usage,
}

impl ModelError {
    /// For the user.
    pub fn sentence(&self) -> &'static str {
        self.kind.sentence()
    }

    pub(super) fn new(failures: Vec<Failure>, usage: Usage) -> Self {
        let kinds = || failures.iter().map(|failure| failure.kind);
        let long = kinds().find(|kind| *kind == Kind::ContextTooLong);
        let kind = long.or(kinds().next()).unwrap_or(Kind::Unreachable);
        Self { kind, failures, usage }
    }

    pub(super) fn alone(kind: Kind) -> Self {
        Self { kind, failures: Vec::new(), usage: Usage::default() }
    }
}

fn list(failures: &[Failure]) -> String {
    failures
        .iter()
        .map(|one| {
            let status = one.status.map(|status| format!(" {status}")).unwrap_or_default();
            let code = one.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
            format!(" [{}: {:?}{status}{code}, tries {}]", one.model, one.kind, one.tries)
        })
        .collect()
}

/// Why one try failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub kind: Kind,
    pub status: Option<u16>,
    pub code: Option<String>,
    pub request: Option<String>,
    pub detail: Option<String>,
    /// The field of our request that the provider does not know: told to the wire's dialect, in no log.
    pub field: Option<&'static str>,
    pub advice: Advice,
}

impl From<Kind> for Fault {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            status: None,
            code: None,
            request: None,
            detail: None,
            field: None,
            advice: Advice::default(),
        }
    }
}

impl From<EgressError> for Fault {
    fn from(error: EgressError) -> Self {
        let kind = match &error {
            EgressError::Refused(refusal) => return Self::of_refusal(refusal),
            EgressError::Cut => Kind::Truncated,
            EgressError::TooLarge(_) => Kind::Oversized,
            EgressError::Strange(_) => Kind::Malformed,
            EgressError::Door(_) | EgressError::Lost | EgressError::Slow(_) => Kind::Unreachable,
        };
        Self { detail: Some(error.to_string()), ..kind.into() }
    }
}

impl Fault {
    fn of_refusal(refusal: &Refusal) -> Self {
        let kind = match refusal.kind {
            RefusalKind::NoKey => Kind::NoKey,
            RefusalKind::CapReached => Kind::Cap,
            RefusalKind::NotPriced => Kind::NotPriced,
            RefusalKind::NotAllowed
            | RefusalKind::PrivateAddress
            | RefusalKind::BadRequest
            | RefusalKind::NoLedger => Kind::Blocked,
            RefusalKind::Unreachable | RefusalKind::NoAnswer => Kind::Unreachable,
        };
        Self { detail: Some(format!("{}; {}", refusal.message, refusal.mend)), ..kind.into() }
    }

    /// From an answer that is not a success.
    pub fn of_status(status: StatusCode, body: &[u8]) -> Self {
        let value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let error = Error::read(&value).unwrap_or_default();
        Self { status: Some(status.as_u16()), ..error.fault(Some(status)) }
    }

    /// From an event or a body inside a success, if it is an error.
    pub fn inside(value: &Value) -> Option<Self> {
        Error::read(value).map(|error| error.fault(None))
    }
}

/// The provider's error object, whatever its shape.
#[derive(Default)]
struct Error {
    /// The provider's code or type, made safe for a log.
    code: Option<String>,
    /// Numeric code, where that is the status (llama.cpp, OpenRouter).
    status: Option<StatusCode>,
    /// Type, code, field and message in lower case: for recognising alone, never kept.
    words: String,
}

impl Error {
    /// `{"error": {…}}` (OpenAI, Anthropic), `{"error": "…"}` (Ollama), `{"object": "error", …}` (vLLM),
    /// `{"detail": …}` (FastAPI).
    fn read(value: &Value) -> Option<Self> {
        let flat = value["object"] == "error" || value["type"] == "error";
        let error = match &value["error"] {
            Value::Bool(true) => value,
            Value::Null | Value::Bool(false) if flat => value,
            Value::Null | Value::Bool(false) => {
                value.get("detail").filter(|_| value.get("choices").is_none())?
            }
            error => error,
        };
        let fields = ["type", "code", "param", "message", "status", "metadata", "msg"];
        let texts = fields.iter().filter_map(|name| error[*name].as_str()).chain(error.as_str());
        let words = texts.collect::<Vec<_>>().join(" ").to_lowercase();
        let inner = &error["details"]["error_code"];
        let code =
            [inner, &error["code"], &error["type"]].into_iter().find_map(|value| plain(value.as_str()?));
        let number = error["code"].as_u64().or_else(|| error["status"].as_u64());
        let status = number.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        Some(Self { code, status, words })
    }

    fn says(&self, any: &[&str]) -> bool {
        any.iter().any(|words| self.words.contains(words))
    }

    fn fault(self, status: Option<StatusCode>) -> Fault {
        let fields = ["max_completion_tokens", "max_tokens", "stream_options"];
        let field = fields.into_iter().find(|field| self.words.contains(field));
        Fault { field, kind: self.kind(status.or(self.status)), code: self.code, ..Kind::Server.into() }
    }

    fn kind(&self, status: Option<StatusCode>) -> Kind {
        const LONG: [&str; 9] = [
            "context_length",
            "exceed_context_size",
            "prompt is too long",
            "context length",
            "context window",
            "context size",
            "context limit",
            "request_too_large",
            "too many tokens",
        ];
        const BROKE: [&str; 5] = [
            "insufficient_quota",
            "exceeded your current quota",
            "credit balance",
            "billing",
            "insufficient credits",
        ];
        let code = status.map_or(0, |status| status.as_u16());
        if code != 429 && self.says(&LONG) {
            return Kind::ContextTooLong;
        }
        if self.says(&BROKE) {
            return Kind::Quota;
        }
        if self.says(&["content_filter", "content_policy", "content management policy"]) {
            return Kind::Refused;
        }
        match code {
            401 | 403 => Kind::Auth,
            402 => Kind::Quota,
            404 => Kind::NoSuchModel,
            408 | 409 | 425 | 429 | 529 => Kind::Busy,
            413 => Kind::ContextTooLong,
            400..=499 => Kind::Rejected,
            _ if self.says(&["overloaded", "rate_limit", "rate limit", "too many requests"]) => Kind::Busy,
            500..=599 => Kind::Server,
            _ if self.says(&["authentication_error", "permission_error", "invalid_api_key"]) => Kind::Auth,
            _ if self.says(&["not_found_error", "model_not_found"]) => Kind::NoSuchModel,
            _ if self.says(&["invalid_request"]) => Kind::Rejected,
            _ if self.says(&["timeout"]) => Kind::Timeout,
            _ => Kind::Server,
        }
    }
}

/// A word that may stand in a log: an identifier, not a sentence.
pub(super) fn plain(text: &str) -> Option<String> {
    let good = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    good.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::{Fault, Kind};

    #[test]
    fn answers_are_told_apart() {
        for (status, body, kind, code) in [
            (
                401,
                r#"{"type":"error","error":{"type":"authentication_error","message":"x"}}"#,
                Kind::Auth,
                Some("authentication_error"),
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens"}}"#,
                Kind::ContextTooLong,
                Some("invalid_request_error"),
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
                Kind::Quota,
                Some("invalid_request_error"),
            ),
            (
                400,
                r#"{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                Kind::ContextTooLong,
                Some("context_length_exceeded"),
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}"#,
                Kind::ContextTooLong,
                Some("exceed_context_size_error"),
            ),
            (
                400,
                r#"{"error":{"message":"filtered","code":"content_filter"}}"#,
                Kind::Refused,
                Some("content_filter"),
            ),
            (
                400,
                r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#,
                Kind::Rejected,
                Some("invalid_request_error"),
            ),
            (
                429,
                r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Kind::Quota,
                Some("insufficient_quota"),
            ),
            (
                429,
                r#"{"error":{"message":"m","type":"tokens","code":"rate_limit_exceeded"}}"#,
                Kind::Busy,
                Some("rate_limit_exceeded"),
            ),
            (429, "slow down", Kind::Busy, None),
            (
                529,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
                Kind::Busy,
                Some("overloaded_error"),
            ),
            (404, r#"{"error":"model 'x' not found"}"#, Kind::NoSuchModel, None),
            (402, r#"{"error":{"type":"billing_error"}}"#, Kind::Quota, Some("billing_error")),
            (413, "", Kind::ContextTooLong, None),
            (422, r#"{"detail":[{"msg":"extra fields"}]}"#, Kind::Rejected, None),
            (500, "<html>", Kind::Server, None),
            (
                503,
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                Kind::Server,
                Some("unavailable_error"),
            ),
        ] {
            let fault = Fault::of_status(StatusCode::from_u16(status).expect("status"), body.as_bytes());
            assert_eq!(
                (fault.kind, fault.code.as_deref(), fault.status),
                (kind, code, Some(status)),
                "{body}"
            );
        }
    }

    #[test]
    fn errors_inside_a_success_are_found_and_answers_are_not_mistaken() {
        for (body, kind) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
                Some(Kind::Busy),
            ),
            (r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#, Some(Kind::Busy)),
            (r#"{"error":{"message":"m","code":502}}"#, Some(Kind::Server)),
            (r#"{"error":{"message":"m","code":401}}"#, Some(Kind::Auth)),
            (r#"{"error":"something"}"#, Some(Kind::Server)),
            (r#"{"object":"error","message":"m","code":400}"#, Some(Kind::Rejected)),
            (r#"{"detail":"Not Found"}"#, Some(Kind::Server)),
            (r#"{"error":null,"choices":[]}"#, None),
            (r#"{"error":true,"message":"rate limit"}"#, Some(Kind::Busy)),
            (r#"{"error":false,"choices":[]}"#, None),
            (r#"{"choices":[],"detail":"x"}"#, None),
            (r#"{"type":"message_stop"}"#, None),
        ] {
            let value = serde_json::from_str(body).expect("JSON");
            assert_eq!(Fault::inside(&value).map(|fault| fault.kind), kind, "{body}");
        }
    }

    #[test]
    fn no_sentence_of_the_provider_is_kept() {
        let body = r#"{"error":{"message":"Incorrect key: canary-words","code":"canary words with spaces","type":"t\n"}}"#;
        let fault = Fault::of_status(StatusCode::BAD_REQUEST, body.as_bytes());
        assert!(!format!("{fault:?}").contains("canary"), "{fault:?}");
    }
}
