//! Session: who is speaking, whether they may, what they asked for, and what the conversation was so far.
//! Decisions here are functions of numeric ids alone; names and titles are not even parsed.

pub mod access;
pub mod command;
pub mod pairing;
pub mod moved;
pub mod history;

pub use access::{Access, Admission, BotIdentity, Refusal};
pub use command::Command;
