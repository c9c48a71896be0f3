//! What the gateway and the operator say to egress, over HTTP/1.1 on a unix socket.
//!
//! Gateway's door:
//! - `ANY /r/model/<name>/<path…>`: forwarded to that model's server with its key added; the answer is streamed back.
//! - `POST /r/telegram/<bot>/<method>`: a Bot API call out of a fixed list (never `setWebhook`).
//! - `GET /r/telegram/<bot>/file/<file_path>`: a file that Telegram holds.
//! - `GET /status`: [`Status`]. `GET /status/after/<version>`: the same as soon as it has another version, at the latest
//!   after 25 s; asking says that the gateway works by that version.
//! - `POST /webhook/<bot>/renewed`: an update came with the new secret; the one before is of no use any more.
//! - Money, here and on the operator's socket: [`crate::spend`].
//! - `POST /call/open` with [`OpenCall`]: a call of an approved skill may have one way out. 204, or a refusal.
//! - `POST /call/close` with [`CloseCall`]: it has none any more; answered with [`Closed`].
//!
//! Runner's door: one [`crate::frame`] with [`Redeem`], answered with [`Redeemed`] and, when that is `Open`, one end of a
//! fresh pair ([`crate::pass`], [`crate::way`]).
//!
//! Front's door: `GET`, `HEAD` or `POST /r/acme/<path…>`: forwarded to the host of the ACME directory that the configuration
//! names, with no key added; the answer comes back.
//!
//! Operator's socket (a path below the state folder, mode 0600):
//! - `GET /keys`: [`KeyList`]. `POST /keys/<NAME>/{add,rotate}[/force]` with the key itself as the body,
//!   `POST /keys/<NAME>/retire`: [`Changed`]. `POST /keys/<NAME>/test`: [`Tried`] in a list.
//! - `POST /decoy`: a key that opens nothing, as a JSON string; egress looks for it as for the others.
//! - `POST /webhook/<bot>/rotate[/now]`: a new secret; [`Rotated`].
//! - `GET /status`, `POST /webhook/<bot>/set` with [`SetWebhook`], `POST /webhook/<bot>/info`, `POST /webhook/<bot>/delete`.
//! - `GET /skills`: [`Approved`], `POST /skills/approve` with [`Approval`], `POST /skills/revoke` with [`Revoke`].
//!   Each webhook verb is answered with Telegram's own status and JSON: its `getWebhookInfo` afterwards
//!   (`{"ok":true,"result":{…}}`), or the answer with which it refused the act (`{"ok":false,"description":…}`).
//!
//! A request that egress itself refuses or cannot carry out is answered with the header [`REFUSED`] and a [`Refusal`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    config::Api,
    id::{BotName, ModelName, SkillId},
    skill::HostGrant,
    spend::CapState,
};

/// What stands before the path of each request to whoever signs certificates.
pub const ACME: &str = "/r/acme";

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
    /// Another one after each change of what is told here.
    #[serde(default)]
    pub version: u64,
    /// What the kernel enforces on egress (`openclaw_confine::Report`).
    pub confinement: serde_json::Value,
    /// Models in order of preference.
    pub models: Vec<ModelRoute>,
    /// Bots.
    pub bots: Vec<BotRoute>,
    /// Caps over all, in their present periods, and those of others of which four fifths are used.
    #[serde(default)]
    pub caps: Vec<CapState>,
    /// What the owner must hear of, oldest first.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
}

/// One of the keys, or the decoy, was in something that was to leave. It did not leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
    /// What carried it.
    pub what: String,
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
    /// The proxy on the way there.
    #[serde(default)]
    pub via: Option<String>,
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
    /// The secret before that one, while it is right as well.
    #[serde(default)]
    pub webhook_previous: Option<Previous>,
    /// The proxy on the way to the Bot API server.
    #[serde(default)]
    pub via: Option<String>,
    /// Why it can't be used now; `None` when it can.
    pub problem: Option<String>,
}

/// A granted call of a skill whose manifest names hosts. Which hosts those are is not said here: egress knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenCall {
    /// The gateway's id of the call; the runner redeems it, once.
    pub call: String,
    /// The skill.
    pub skill: SkillId,
    /// Digest of its folder.
    pub digest: String,
    /// The chat that pays for its requests with a price, as in [`crate::spend::CHAT`]; empty for none.
    #[serde(default)]
    pub chat: String,
    /// Arguments of the call that hold a URL, by name: for manifests that let a call reach the host of one.
    #[serde(default)]
    pub urls: BTreeMap<String, String>,
}

/// A call that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseCall {
    /// As in [`OpenCall`].
    pub call: String,
}

/// What a call did with its way out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Closed {
    /// What it tried and may not; the first ones, none twice.
    pub denials: Vec<Denial>,
    /// Requests that went out.
    pub requests: u32,
    /// Bytes of their bodies, and of the answers'.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
}

/// What a skill tried and may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// `skill weather tried to reach example.com:443 (not in its manifest)`. What the skill chose is bounded and printable.
    pub message: String,
    /// What would allow it: the line of the manifest, or what the operator can do.
    pub mend: String,
}

/// The runner asks for a call's way out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The call's id, as the gateway registered it.
    pub call: String,
}

/// The answer to [`Redeem`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redeemed {
    /// The jail's end follows.
    Open {
        /// Certificate authority of this call, as PEM, for this jail alone.
        authority: String,
    },
    /// There is none.
    Refused(Refusal),
}

/// The operator lets a skill reach what its manifest names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The skill.
    pub skill: SkillId,
    /// Digest of its folder ([`crate::skill::digest`]): another state of it is not approved.
    pub digest: String,
    /// Its manifest's hosts.
    pub hosts: Vec<HostGrant>,
}

/// The operator takes it back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The skill, in every state of it.
    pub skill: SkillId,
}

/// What is approved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Approved {
    /// By the operator.
    pub operator: Vec<Approval>,
    /// Bundled with the programs.
    pub bundled: Vec<Approval>,
    /// Bundled skills that the operator revoked.
    pub revoked: Vec<SkillId>,
}

/// Whether a skill has a way out in some state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the state that was approved.
    Approved,
    /// The operator took it back.
    Revoked,
    /// Nobody ever approved it.
    Unknown,
}

impl Approved {
    /// How a skill stands. What was revoked is so until it is approved again, whatever else is there.
    pub fn standing(&self, skill: &SkillId) -> Standing {
        let mut approved = self.operator.iter().chain(&self.bundled);
        match (self.revoked.contains(skill), approved.any(|each| each.skill == *skill)) {
            (true, _) => Standing::Revoked,
            (false, true) => Standing::Approved,
            (false, false) => Standing::Unknown,
        }
    }
}

/// Registers a webhook with the secret that egress holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SetWebhook {
    /// `https://host`; `/telegram/<bot>` is added. The configuration's `public_url` by default.
    pub public_url: Option<String>,
    /// Throw away what Telegram has queued.
    pub drop_pending_updates: bool,
}

/// A webhook secret that was exchanged and is still right: until the first update with the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// SHA-256, in hex.
    pub sha256: String,
    /// Seconds for which it is right at the most.
    pub seconds: u64,
}

/// The keys, without their values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyList {
    /// The key file.
    pub file: std::path::PathBuf,
    /// All keys.
    pub keys: Vec<KeyInfo>,
    /// Keys that were exchanged since egress started.
    pub retired: Vec<Retired>,
    /// Why the key file, as it is now, is not what egress works with.
    pub problem: Option<String>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// `file`, `credential` or `environment`.
    pub source: String,
    /// `model NAME` and `bot NAME`.
    pub used_by: Vec<String>,
    /// When it was last sent, in seconds since 1970-01-01 UTC; since egress started.
    pub last_used: Option<u64>,
    /// Until when a spare key is asked in its place.
    pub aside_until: Option<u64>,
}

/// Keys that are not used for new requests any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Counts the exchanges.
    pub number: u64,
    /// Their names.
    pub names: Vec<String>,
    /// When they were exchanged, in seconds since 1970-01-01 UTC.
    pub since: u64,
    /// When one of them was last sent.
    pub last_used: Option<u64>,
    /// Requests that still go on with them.
    pub requests: usize,
    /// Nothing goes on with them, and egress does not hold them any more: they can be revoked at the provider.
    pub safe_to_revoke: bool,
}

/// A call that tried a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// `model NAME` or `bot NAME`.
    pub route: String,
    /// The key works.
    pub good: bool,
    /// What was asked, and what the far end said.
    pub said: String,
}

/// A change of the keys that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// How the new key was tried.
    pub tried: Vec<Tried>,
    /// What was exchanged; look for its number in [`KeyList::retired`].
    pub retired: Retired,
}

/// A webhook secret that was exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// Where Telegram delivers to.
    pub url: String,
    /// Seconds for which the secret before is right at the most.
    pub previous_seconds: u64,
}
