//! What egress promises, shown on the real program: started with inherited descriptors, locked down, with stand-ins
//! on loopback in the place of the far ends.

mod far;
mod program;

mod adds_the_key;
mod allows_only_its_table;
mod refuses_private_addresses;
mod refuses_unknown_certificates;
mod streams;
mod masks_echoed_keys;
mod bounds;
mod keeps_its_keys_private;
mod shows_no_key_when_things_fail;
mod serves_the_operator;
mod stops_gracefully;
mod passes_no_cap;
mod prices_what_it_sends;
