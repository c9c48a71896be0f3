//! The appliance: its units under the systemd of its own image, its firewall in network namespaces, its tunnel's
//! configuration. Needs root and the tree that `tests/appliance/root` makes; `make appliance` brings both together.

mod facts;
mod firewall;
mod namespace;
mod ssh;
mod started;
mod tree;
mod tunnel;
mod units;
