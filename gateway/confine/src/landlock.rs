//! Landlock: which files, which TCP ports, and no signal or abstract socket to anybody outside.
//! Says what the running kernel can and did enforce, and then tries the forbidden thing itself.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::{io::Errno, process::Pid};

use crate::{Layer, Profile, Role, probe};

/// What we handle. Version 7 adds only how denials are logged; 8 and later were never tried.
const HANDLED: ABI = ABI::V7;

/// First version with the right to device ioctls, with TCP rules, and with scopes (landlock(7)).
const FILES: i32 = 5;
const TCP: i32 = 4;
const SCOPES: i32 = 6;

/// The version that the kernel offers; 0 when Landlock is off or not built in.
pub fn version() -> i32 {
    const CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes no pointer and returns a number (landlock_create_ruleset(2)).
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// The rights behind `Profile::read`, `write` and `execute`.
fn rights(profile: &Profile) -> [(&Vec<PathBuf>, BitFlags<AccessFs>); 3] {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    // Not MakeChar, MakeBlock, MakeFifo, MakeSock, MakeSym, IoctlDev: nobody needs them.
    let write = read
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    [(&profile.read, read), (&profile.write, write), (&profile.execute, read | AccessFs::Execute)]
}

/// Applies the ruleset to this thread and its later children, and reports three layers.
pub(crate) fn apply(profile: &Profile) -> Vec<Layer> {
    let abi = version();
    // The runner's children must mount, and a filesystem ruleset forbids every mount.
    let files = profile.role != Role::Runner;
    let outside = probe::AbstractSocket::bind();
    let result = restrict(profile, files);
    let mut layers = Vec::new();
    let said = |least: i32, what: &str| match &result {
        Err(error) => (format!("nothing: {error}"), false),
        Ok(_) if abi == 0 => ("nothing: the kernel has no Landlock, or it is off (lsm=)".into(), false),
        Ok(RulesetStatus::NotEnforced) => ("nothing".into(), false),
        Ok(_) if abi < least => {
            (format!("{what}, in part: Landlock version {abi}, {least} is needed"), false)
        }
        Ok(_) => (format!("{what}, Landlock version {abi}"), true),
    };
    if files {
        let asked = format!(
            "read {}, write {}, execute {}",
            list(&profile.read),
            list(&profile.write),
            list(&profile.execute)
        );
        layers.push(probed("landlock-fs", asked, said(FILES, "as asked"), || root_is_closed(profile)));
    }
    let connect = match &profile.connect {
        None => "any".to_owned(),
        Some(ports) => format!("{ports:?}"),
    };
    let asked = format!("bind {:?}, connect {connect}", profile.bind);
    layers.push(probed("landlock-tcp", asked, said(TCP, "as asked"), || ports_are_closed(profile)));
    let asked = "no signal, no abstract unix socket to the outside".to_owned();
    layers.push(probed("landlock-scope", asked, said(SCOPES, "as asked"), || scopes_are_closed(&outside)));
    layers
}

fn restrict(profile: &Profile, files: bool) -> Result<RulesetStatus, String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let mut handled = Ruleset::default();
    if files {
        handled = handled.handle_access(AccessFs::from_all(HANDLED)).map_err(text)?;
    }
    handled = handled.handle_access(AccessNet::BindTcp).map_err(text)?;
    if profile.connect.is_some() {
        handled = handled.handle_access(AccessNet::ConnectTcp).map_err(text)?;
    }
    let mut ruleset = handled.scope(Scope::from_all(HANDLED)).map_err(text)?.create().map_err(text)?;
    if files {
        for (paths, rights) in rights(profile) {
            for path in paths {
                // A path that is not there cannot be opened either; one that cannot be opened stays closed.
                let Ok(fd) = PathFd::new(path) else { continue };
                let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(HANDLED) };
                ruleset = ruleset.add_rule(PathBeneath::new(fd, rights)).map_err(text)?;
            }
        }
    }
    for port in &profile.bind {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::BindTcp)).map_err(text)?;
    }
    for port in profile.connect.iter().flatten() {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp)).map_err(text)?;
    }
    Ok(ruleset.restrict_self().map_err(text)?.ruleset)
}

fn list(paths: &[PathBuf]) -> String {
    match paths {
        [] => "nothing".into(),
        _ => paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "),
    }
}

/// One layer: what the kernel said, and what a try of the forbidden act showed.
fn probed(
    name: &str,
    asked: String,
    (enforced, said): (String, bool),
    probe: impl FnOnce() -> Result<(), String>,
) -> Layer {
    let (enforced, complete) = match (said, probe()) {
        (true, Ok(())) => (format!("{enforced}, tried"), true),
        (true, Err(open)) => (format!("{enforced}, but {open}"), false),
        (false, _) => (enforced, false),
    };
    Layer { name: name.into(), asked, enforced, complete }
}

/// `/` is in nobody's profile, so listing it must be refused.
fn root_is_closed(profile: &Profile) -> Result<(), String> {
    if [&profile.read, &profile.write, &profile.execute]
        .iter()
        .any(|set| set.iter().any(|p| p == Path::new("/")))
    {
        return Err("the whole filesystem was asked for".into());
    }
    match std::fs::read_dir("/") {
        Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => Ok(()),
        Err(error) => Err(format!("listing / failed with {error}, not with EACCES")),
        Ok(_) => Err("/ can still be listed".into()),
    }
}

/// Port 0 ("any port") is in no profile; port 9 (discard) on loopback is in no table of ours.
fn ports_are_closed(profile: &Profile) -> Result<(), String> {
    let closed = |what: &str, result: io::Result<()>| match result {
        Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => Ok(()),
        // No IP socket at all (systemd's RestrictAddressFamilies, or a jail's outer filter): more than was asked.
        Err(error)
            if [Errno::AFNOSUPPORT, Errno::PERM]
                .iter()
                .any(|e| error.raw_os_error() == Some(e.raw_os_error())) =>
        {
            Ok(())
        }
        Err(error) => Err(format!("{what} failed with {error}, not with EACCES")),
        Ok(()) => Err(format!("{what} still works")),
    };
    closed("binding a TCP port", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop))?;
    if profile.connect.as_ref().is_some_and(|ports| !ports.contains(&9)) {
        let discard = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9).into();
        #[expect(clippy::disallowed_methods, reason = "it shows that the kernel refuses")]
        let tried = TcpStream::connect_timeout(&discard, Duration::from_secs(1)).map(drop);
        closed("connecting to a TCP port", tried)?;
    }
    Ok(())
}

/// The parent is outside, and so is a socket that was made before.
fn scopes_are_closed(outside: &probe::AbstractSocket) -> Result<(), String> {
    match rustix::process::getppid().map(|parent: Pid| rustix::process::test_kill_process(parent)) {
        // None: the parent is not even visible (a jail's first process).
        None | Some(Err(Errno::PERM)) => {}
        Some(Err(error)) => {
            return Err(format!("a signal to the parent failed with {error}, not with EPERM"));
        }
        Some(Ok(())) => return Err("the parent can still be signalled".into()),
    }
    outside.refuses()
}
