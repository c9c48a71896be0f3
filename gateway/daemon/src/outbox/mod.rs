//! Outbox: what the assistant says becomes durable rows, and the rows become messages, in order per chat, at the pace
//! that Telegram allows. Never decides what is said, and never touches a key.
//!
//! [`markup`] reads a model's Markdown into [`rich`] text, [`enqueue`] splits it ([`split`]) and stores it ([`rows`]),
//! [`Sender`] sends it ([`pace`]); a skill's file is a row as well ([`file`]). [`live`] shows meanwhile that something happens.

pub mod rich;
pub mod markup;
pub mod split;
pub mod rows;
pub mod file;
pub mod pace;
pub mod sender;
mod deliver;
pub mod live;
pub mod shown;

pub use rows::{MIGRATION, Outgoing, enqueue};
pub use sender::{Event, Limits, Sender};
