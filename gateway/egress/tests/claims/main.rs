//! What egress promises, shown on the real program: started with inherited descriptors, locked down, with stand-ins
//! on loopback in the place of the far ends.

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

mod authority;
mod far;
mod program;

mod adds_the_key;
mod allows_only_its_table;
mod refuses_private_addresses;
mod trusts_only_sound_certificates;
mod goes_by_the_exit;
mod streams;
mod masks_echoed_keys;
mod bounds;
mod survives_bad_networks;
mod keeps_its_keys_private;
mod exchanges_keys;
mod renews_credentials;
mod shows_no_key_when_things_fail;
mod serves_the_operator;
mod knows_its_peers;
mod stops_gracefully;
mod passes_no_cap;
mod stands_ten_thousand_at_once;
mod prices_what_it_sends;
