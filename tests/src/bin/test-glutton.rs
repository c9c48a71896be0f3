//! The jail suite's probe as a skill's program: for a jail in a virtual machine.

#![allow(unsafe_code, clippy::unwrap_used, clippy::disallowed_methods)] // as in the suite

#[path = "../../../gateway/runner/tests/jail/probe.rs"]
mod probe;

fn main() {
    probe::main()
}
