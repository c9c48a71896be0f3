//! Runs skills: takes granted calls from the gateway, starts one jail for each, watches it, and answers with a typed
//! outcome. Holds no key, opens no IP socket, decides nothing about what is allowed.
//!
//! In the order of a call: [`serve`] takes it, [`skills`] finds the skill and its folders, [`call`] starts the jail and
//! waits, [`watch`] measures it. `skill-jail` (`src/jail/`) is what becomes the skill.

pub mod settings;
pub mod serve;
pub mod skills;
pub mod call;
pub mod watch;
pub mod spec;
pub mod pass;
