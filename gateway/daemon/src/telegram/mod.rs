//! Telegram's Bot API (10.3) as far as we use it: what comes in ([`update`], with its files [`attachment`]) and what we send
//! ([`method`]). Own types, so that a field that we do not know is never a field that we trust.

pub mod update;
pub mod attachment;
pub mod method;
