//! The files of a conversation: what people attach and what skills make. A file is streamed to disk under a name that is
//! ours ([`shelf`]), is durable before its row ([`rows`]), and its row before anybody hears of it; nothing here looks into
//! one. [`fetch`] takes a file from Telegram, [`made`] what comes out of a jail. What is on disk without a row, or in a row
//! without its file, goes at the next start ([`shelf::Shelf::sweep`]).

pub mod naming;
pub mod rows;
pub mod shelf;
pub mod fetch;
pub mod made;

pub use rows::{File, MIGRATION};
pub use shelf::Shelf;
