//! What the claims in `claims/` are tested with: stand-ins at the far ends (Telegram, a model server), third parties'
//! programs, and the harness that starts the real OpenClaw between them. Never part of the product.

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

pub mod page;
pub mod peers;
pub mod telegram;
pub mod model;
pub mod gateway;
pub mod disk;
pub mod http;
pub mod world;
pub mod broker;
pub mod vendors;
pub mod linked;
