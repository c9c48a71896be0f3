//! The types that OpenClaw's processes exchange: facts, configuration, sockets, messages, the skill manifest.
//! Plain data and the one way to open each socket. Never async, never TLS, never SQL.

pub mod facts;
pub mod id;
pub mod secret;
pub mod money;
pub mod config;
pub mod door;
pub mod pass;
pub mod way;
pub mod frame;
pub mod front;
pub mod file;
pub mod admin;
pub mod egress;
pub mod spend;
pub mod runner;
pub mod drill;
pub mod audit;
pub mod skill;
pub mod mcp;
pub mod ignored;
