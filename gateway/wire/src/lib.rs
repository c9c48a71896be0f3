//! The types that OpenClaw's processes exchange: facts, configuration, sockets, messages, the skill manifest.
//! Plain data, the one way to open each socket and the one to replace a file. Never async, never TLS, never SQL.

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
pub mod whole;
pub mod admin;
pub mod egress;
pub mod spend;
pub mod runner;
pub mod drill;
pub mod audit;
pub mod skill;
pub mod mcp;
pub mod ignored;
