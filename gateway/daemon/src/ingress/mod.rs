//! Ingress: from a request to a `Verified<Incoming>`, or a refusal. The order is fixed, each step before the next may
//! cost anything: peer and source address, throttle, secret header, size, body within its time, JSON.
//! It never answers with a body: Telegram would execute a `method` that it finds there.

mod digest;
mod source;
mod front;
mod throttle;
mod half_open;
mod scrub;
mod secrets;
mod webhook;
mod poll;

use std::future::Future;

use bytes::Bytes;
use openclaw_wire::id::BotName;

use crate::telegram::update::Update;

pub use digest::Digest;
pub use poll::{PollState, poll};
pub use secrets::{Secrets, Told};
pub use source::Source;
pub use webhook::{Gate, Listener, serve};

/// What passed every check of this module. Only this module makes one.
#[derive(Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Takes it out, to store it.
    pub fn into_inner(self) -> T {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn for_tests(inner: T) -> Self {
        Self(inner)
    }
}

/// An update, for which bot, and its bytes as they came.
#[derive(Debug)]
pub struct Incoming {
    /// The bot that it was sent to.
    pub bot: BotName,
    /// Parsed.
    pub update: Update,
    /// As it came.
    pub body: Bytes,
}

/// Why something verified was not stored; the sender is asked to try again.
#[derive(Debug, thiserror::Error)]
#[error("not stored: {0}")]
pub struct NotStored(pub String);

/// Where verified updates go. When `accept` returns `Ok`, they are on the disk.
pub trait Inbox: Send + Sync + 'static {
    /// Stores one batch: one update of a webhook, or what one poll brought.
    fn accept(&self, batch: Vec<Verified<Incoming>>) -> impl Future<Output = Result<(), NotStored>> + Send;
}
