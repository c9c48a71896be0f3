//! Runs skills: takes granted calls from the gateway, starts one jail for each, watches it, and answers with a typed
//! outcome. Holds no key, opens no IP socket, decides nothing about what is allowed.
//!
//! In the order of a call: [`serve`] takes it, [`skills`] finds the skill and its folders, [`way`] gets its way out from
//! egress if its manifest names hosts, [`call`] has the [`zygote`] fork a jail ([`running`]), puts it into a [`cgroup`] and waits,
//! [`watch`] and [`disk`] measure it, [`verdict`] says what its end means. `skill-jail` (`src/jail/`) is the zygote and what becomes
//! the skill; [`spec`] is what a jail is told. [`drill`] attacks a jail and says whether it held.

pub mod settings;
pub mod serve;
pub mod skills;
pub mod call;
pub mod zygote;
pub mod running;
pub mod cgroup;
pub mod watch;
pub mod disk;
pub mod verdict;
pub mod spec;
pub mod way;
pub mod drill;
