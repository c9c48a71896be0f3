//! What the gateway and the operator say to egress, over HTTP/1.1 on a unix socket.
//!
//! Gateway's door:
//! - `ANY /r/model/<name>/<path…>`: forwarded to that model's server with its key added; the answer is streamed back.
//! - `POST /r/telegram/<bot>/<method>`: a Bot API call out of a fixed list (never `setWebhook`).
//! - `GET /r/telegram/<bot>/file/<file_path>`: a file that Telegram holds.
//! - `GET /status`: [`Status`].
//! - Money: [`crate::spend`].
//!
//! Operator's socket (a path below the state folder, mode 0600):
//! - `GET /status`, `POST /webhook/<bot>/set` with [`SetWebhook`], `POST /webhook/<bot>/info`, `POST /webhook/<bot>/delete`.
//!   Each webhook verb is answered with Telegram's own status and JSON: its `getWebhookInfo` afterwards
//!   (`{"ok":true,"result":{…}}`), or the answer with which it refused the act (`{"ok":false,"description":…}`).
//!
//! A request that egress itself refuses or cannot carry out is answered with the header [`REFUSED`] and a [`Refusal`].

use serde::{Deserialize, Serialize};

use crate::{
    config::Api,
    id::{BotName, ModelName},
    spend::CapState,
};

/// Header on an answer that is egress's own and not the far end's; its value is the [`RefusalKind`].
pub const REFUSED: &str = "x-openclaw-refused";

/// Why egress did not carry a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The table has no such route, method or path. 403.
    NotAllowed,
    /// The route's key is not there. 424.
    NoKey,
    /// The far end could not be reached: name, connection or TLS. Nothing was sent. 502.
    Unreachable,
    /// The far end was reached but gave no usable answer in time: it may have acted on the request. 504.
    NoAnswer,
    /// The far end's address is not public and not declared. 403.
    PrivateAddress,
    /// The request itself is malformed or too large. 400.
    BadRequest,
    /// It could cost more than a cap leaves. 402.
    CapReached,
    /// What it would cost is not known. 402.
    NotPriced,
    /// The ledger can't be written, so nothing that costs money is sent. 507.
    NoLedger,
}

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub kind: RefusalKind,
    /// What was attempted, on what. Never a key, never a URL with one.
    pub message: String,
    /// What the operator can do.
    pub mend: String,
}

/// What egress tells of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// What the kernel enforces on egress (`openclaw_confine::Report`).
    pub confinement: serde_json::Value,
    /// Models in order of preference.
    pub models: Vec<ModelRoute>,
    /// Bots.
    pub bots: Vec<BotRoute>,
    /// Caps over all, in their present periods.
    #[serde(default)]
    pub caps: Vec<CapState>,
}

/// A model that the gateway may ask for by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRoute {
    /// Route and display name.
    pub name: ModelName,
    /// Protocol.
    pub api: Api,
    /// The vendor's name of the model.
    pub model: String,
    /// Most tokens of one answer.
    pub max_output: u32,
    /// Host that it goes to, for display.
    pub host: String,
    /// Why it can't be used now; `None` when it can.
    pub problem: Option<String>,
}

/// A bot that the gateway may act for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BotRoute {
    /// Name in the configuration.
    pub name: BotName,
    /// Webhook or polling.
    pub updates: crate::config::Updates,
    /// SHA-256 of the webhook secret, in hex: the gateway never holds the secret itself.
    pub webhook_secret_sha256: String,
    /// Why it can't be used now; `None` when it can.
    pub problem: Option<String>,
}

/// Registers a webhook with the secret that egress holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SetWebhook {
    /// `https://host`; `/telegram/<bot>` is added. The configuration's `public_url` by default.
    pub public_url: Option<String>,
    /// Throw away what Telegram has queued.
    pub drop_pending_updates: bool,
}
