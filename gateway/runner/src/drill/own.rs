//! What the skill itself has: rights, limits, descriptors, environment, the host's name.

use std::io;

use openclaw_confine::{
    Barrier::{Capabilities, Mounts, Rlimits},
    attempt,
};
use rustix::process::{Resource, getrlimit};

use super::{
    probes::Line,
    scene::{MARK, Places},
};

const GROUP: &str = "itself";
/// Files that a call of the drill may hold open.
const FILES: u64 = 64;

/// What is tried.
pub const PROBES: &[Line] = &[
    (GROUP, "hold a capability", &[Capabilities], |_| {
        let held = rustix::thread::capabilities(None)?;
        let all = held.permitted | held.effective | held.inheritable;
        found(!all.is_empty(), || format!("{:x}", all.bits()))
    }),
    (GROUP, "gain a privilege by executing", &[], |_| {
        found(!rustix::thread::no_new_privs()?, || "no_new_privs is off".into())
    }),
    (GROUP, "find the environment of whoever started it", &[], |_| {
        found(std::env::var_os(MARK).is_some(), || MARK.into())
    }),
    (GROUP, "find a descriptor that was left open", &[], |at: &Places| {
        found(attempt::is_open(at.stray), || format!("number {}", at.stray))
    }),
    (GROUP, "find the name of the machine", &[Mounts], |at| {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        found(name == at.host, || name.clone())
    }),
    (GROUP, "leave a core file", &[Rlimits], |_| {
        let most = getrlimit(Resource::Core).maximum;
        found(most != Some(0), || format!("{most:?}"))
    }),
    (GROUP, "hold more files open than allowed", &[Rlimits], |_| {
        let most = getrlimit(Resource::Nofile).maximum;
        found(most.is_none_or(|most| most > FILES), || format!("{most:?}"))
    }),
    (GROUP, "queue messages in the kernel", &[Rlimits], |_| {
        let most = getrlimit(Resource::Msgqueue).maximum;
        found(most != Some(0), || format!("{most:?}"))
    }),
];

fn found(there: bool, what: impl FnOnce() -> String) -> io::Result<String> {
    match there {
        true => Ok(what()),
        false => Err(io::Error::other("not there")),
    }
}
