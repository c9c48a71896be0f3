//! The jail's root: a small tmpfs with the skill, the granted folders, the attachments, four devices, `/tmp`, and libraries for a program
//! that is linked against them. Never `/proc`, `/sys`, `/run`, `/etc` or a home.
//!
//! No `/proc`, not even with its own processes alone: a mount of it is refused inside most containers and hardened
//! units, it is the widest interface to the kernel there is, and the programs that skills are do without.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use openclaw_confine::mounts::{Without, restrict};
use openclaw_runner::spec::{AUTHORITY, CLIENT, NAMESPACES, SKILL, Spec};
use openclaw_wire::file::ATTACHED;
use rustix::{
    fs::{Mode, OFlags},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags},
};

use crate::{attached, copy, first::Trouble, libraries, made, runtime, tree};

/// Where the new root is mounted while it is built: a folder that is sure to exist, and that nobody needs after.
const BASE: &str = "/proc";

/// Devices, all without effect on anything (incident 81).
const DEVICES: [&str; 4] = ["null", "zero", "full", "urandom"];

/// What the skill will see, for Landlock.
pub struct Root {
    /// The verified program; `None` in a trial of the barriers.
    pub program: Option<OwnedFd>,
    /// Paths to read.
    pub read: Vec<PathBuf>,
    /// Paths to write.
    pub write: Vec<PathBuf>,
    /// Paths to execute from.
    pub execute: Vec<PathBuf>,
}

/// Begins the root: what is in every one.
pub fn prepare() -> anyhow::Result<()> {
    let base = Path::new(BASE);
    let quiet = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", quiet)
        .with_context(|| format!("make the mounts private; {NAMESPACES}"))?;
    tmpfs(base, MountFlags::NOEXEC, "size=1m,nr_inodes=512,mode=755")?;
    folder(base, "/files")?;
    folder(base, "/dev")?;
    for name in DEVICES {
        let inside = Path::new("/dev").join(name);
        let target = file(base, &inside)?;
        let without = Without { write: false, execute: true, devices: false };
        tree::mount(&inside, &target, without).with_context(|| format!("mount {}", inside.display()))?;
    }
    Ok(())
}

/// Builds the rest of the root and moves into it; the host's files are out of reach then.
pub fn build(spec: &Spec, attached: Vec<OwnedFd>) -> Result<Root, Trouble> {
    let base = Path::new(BASE);
    let mut root =
        Root { program: None, read: vec!["/files".into()], write: Vec::new(), execute: Vec::new() };
    if let Some(skill) = &spec.skill {
        let target = folder(base, SKILL)?;
        tmpfs(&target, MountFlags::empty(), "size=80m,nr_inodes=9000,mode=755")?;
        copy::verified(skill, &target)?;
        let path = target.join(&skill.program);
        let program = program(&path)
            .with_context(|| format!("open the skill's program {}", skill.program.display()))?;
        let mount = tree::open(&target)?;
        restrict(mount.as_ref(), Without { write: true, execute: false, devices: true })
            .context("make the skill's folder read-only")?;
        root.execute.push(SKILL.into());
        let client = skill.client.as_deref();
        root.program = Some(match &skill.runtime {
            None => {
                let programs: Vec<&Path> = std::iter::once(path.as_path()).chain(client).collect();
                root.execute.extend(libraries::mount(&programs, base, &[])?);
                program
            }
            Some(runtime) => {
                root.execute.extend(runtime::mount(runtime, client, base)?);
                self::program(&below(base, &runtime.program)).context("open the interpreter")?
            }
        });
        if let Some(client) = client {
            // It starts the server by its path: nothing in here can write to it.
            let target = file(base, Path::new(CLIENT))?;
            tree::system(client, &target).context("mount the client of MCP servers")?;
            root.execute.push(CLIENT.into());
            root.program = Some(self::program(&target).context("open the client of MCP servers")?);
        }
    }
    for grant in &spec.grants {
        let target = folder(base, &grant.inside)?;
        tree::grant(grant, &target)?;
        if grant.write {
            root.write.push(grant.inside.clone());
        }
    }
    if !spec.attached.is_empty() {
        attached::mount(&spec.attached, attached, base)?;
        root.read.push(ATTACHED.into());
    }
    if let Some(most) = spec.makes {
        made::mount(most, base, &mut root)?;
    }
    for name in DEVICES {
        let may = if name == "urandom" { &mut root.read } else { &mut root.write };
        may.push(Path::new("/dev").join(name));
    }
    let size = spec.limits.disk.min(spec.limits.memory / 2);
    tmpfs(&folder(base, "/tmp")?, MountFlags::NOEXEC, &format!("size={size},nr_inodes=4096,mode=700"))?;
    root.write.push("/tmp".into());
    root.read.push("/etc/ld.so.cache".into());
    if let Some(authority) = &spec.authority {
        let target = file(base, Path::new(AUTHORITY))?;
        fs::write(target, authority).context("write the certificate authority")?;
        root.read.push(AUTHORITY.into());
    }
    enter(base)?;
    Ok(root)
}

/// No root of its own: the host's, of which the other barriers leave the same. For the drill alone.
pub fn none(spec: &Spec) -> Result<Root, Trouble> {
    let host = |write| {
        let grants = spec.grants.iter().filter(move |grant| grant.write == write);
        grants.map(|grant| grant.host.clone()).collect::<Vec<_>>()
    };
    let mut root = Root {
        program: None,
        read: [
            host(false),
            DEVICES.map(|name| Path::new("/dev").join(name)).into(),
            vec!["/etc/ld.so.cache".into()],
        ]
        .concat(),
        write: host(true),
        execute: libraries::FOLDERS.map(PathBuf::from).into(),
    };
    if let Some(skill) = &spec.skill {
        root.program = Some(program(&skill.folder.join(&skill.program)).context("open the program")?);
        root.execute.push(skill.folder.clone());
    }
    rustix::process::chdir("/").context("enter the root")?;
    Ok(root)
}

/// A program by descriptor: what is executed is what was opened here.
fn program(path: &Path) -> anyhow::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes the built tree the root, lets go of the host's, and takes the name of the machine away.
fn enter(base: &Path) -> anyhow::Result<()> {
    let flags =
        MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount_remount(base, flags, c"").context("make the root read-only")?;
    rustix::process::chdir(base).context("enter the new root")?;
    // The old root lands on top of the new one and is then detached (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(c".", c".").context("change the root")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).context("detach the host's root")?;
    rustix::process::chdir("/tmp").context("enter /tmp")?;
    rustix::system::sethostname(b"jail").context("name the jail")?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    Ok(())
}

/// A file system in memory.
pub fn tmpfs(target: &Path, more: MountFlags, options: &str) -> anyhow::Result<()> {
    let options = std::ffi::CString::new(options).expect("made of digits and letters");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | more;
    rustix::mount::mount(c"tmpfs", target, c"tmpfs", flags, options.as_c_str())
        .with_context(|| format!("mount a tmpfs for {}", inside(target)))
}

/// A path of the jail that exists while the root is being built.
pub fn folder(base: &Path, inside: impl AsRef<Path>) -> anyhow::Result<PathBuf> {
    let target = below(base, inside.as_ref());
    fs::create_dir_all(&target).with_context(|| format!("make {}", inside.as_ref().display()))?;
    Ok(target)
}

/// An empty file to mount on.
pub fn file(base: &Path, inside: &Path) -> anyhow::Result<PathBuf> {
    let target = below(base, inside);
    if let Some(parent) = inside.parent() {
        folder(base, parent)?;
    }
    fs::write(&target, "").with_context(|| format!("make {}", inside.display()))?;
    Ok(target)
}

/// An absolute path of the jail, below the root that is being built.
pub fn below(base: &Path, inside: &Path) -> PathBuf {
    base.join(inside.strip_prefix("/").unwrap_or(inside))
}

fn inside(target: &Path) -> String {
    format!("/{}", target.strip_prefix(BASE).unwrap_or(target).display())
}
