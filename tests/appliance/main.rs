//! The appliance: its units under the systemd of its own image, its firewall in network namespaces, its tunnel's
//! configuration. Needs root and the tree that `tests/appliance/root` makes; `make appliance` brings both together.

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

mod facts;
mod firewall;
mod image;
mod inside;
mod namespace;
mod nix;
mod ssh;
mod started;
mod tree;
mod tunnel;
mod units;
mod vpn;
mod wireguard;
