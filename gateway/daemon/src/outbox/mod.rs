//! Outbox: what the assistant says becomes durable rows, and the rows become messages, in order per chat, at the pace
//! that Telegram allows. Never decides what is said, and never touches a key.

pub mod rich;
pub mod markup;
pub mod split;
pub mod rows;
pub mod pace;
pub mod sender;
mod deliver;
