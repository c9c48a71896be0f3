//! The Bot API's types: what the gateway calls and what it is told. Bot API 10.3.

pub mod method;
