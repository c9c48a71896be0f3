//! The gateway. The modules stand in the order in which a message walks through them; only `turn` knows the order,
//! and no stage imports another stage. `gateway/README.md` is the map.
#![forbid(unsafe_code)]

pub mod telegram;
pub mod store;
pub mod egress;
pub mod spend;

pub mod ingress;
pub mod inbox;
pub mod session;
pub mod files;
pub mod model;
pub mod policy;
pub mod skill;
pub mod outbox;
pub mod turn;

pub mod audit;
pub mod admin;
pub mod page;
pub mod serve;
pub mod command;
