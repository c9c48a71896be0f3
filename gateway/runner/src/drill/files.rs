//! Files that no grant opens, writing where a grant only reads, and executing what was written.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    process::Command,
    time::SystemTime,
};

use openclaw_confine::Barrier::Mounts;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{PROBE, probes::Line, scene::SECRET};

const GROUP: &str = "files";

/// What is tried.
pub const PROBES: &[Line] = &[
    (GROUP, "read a file outside the grants", &[], |at| secret(&at.secret.join("key.txt"))),
    (GROUP, "read it through ..", &[], |at| secret(&at.documents.join("../secret/key.txt"))),
    (GROUP, "read it through an absolute link", &[], |at| secret(&at.documents.join("absolute"))),
    (GROUP, "read it through a relative link", &[], |at| secret(&at.documents.join("relative"))),
    (GROUP, "read an environment through a link to /proc", &[], |at| read(&at.documents.join("proc"))),
    (GROUP, "list the folder around the grants", &[], |at| {
        list(at.secret.parent().unwrap_or(Path::new("/")))
    }),
    (GROUP, "list the root of the host", &[], |_| {
        let names = list(Path::new("/"))?;
        names
            .split(' ')
            .find(|name| ["var", "home", "boot", "nix"].contains(name))
            .map(str::to_owned)
            .ok_or_else(gone)
    }),
    (GROUP, "read /etc/passwd", &[], |_| read(Path::new("/etc/passwd"))),
    (GROUP, "read /etc/hosts", &[], |_| read(Path::new("/etc/hosts"))),
    (GROUP, "read /proc/self/status", &[], |_| read(Path::new("/proc/self/status"))),
    (GROUP, "read the kernel's command line", &[], |_| read(Path::new("/proc/cmdline"))),
    (GROUP, "list /sys", &[], |_| list(Path::new("/sys"))),
    (GROUP, "list /run", &[], |_| list(Path::new("/run"))),
    (GROUP, "list /var/lib", &[], |_| list(Path::new("/var/lib"))),
    (GROUP, "list /dev/shm", &[], |_| list(Path::new("/dev/shm"))),
    (GROUP, "open a terminal's master (/dev/ptmx)", &[], |_| open(Path::new("/dev/ptmx"))),
    (GROUP, "read beside the skill's folder", &[], |at| list(&at.skill.join("../secret"))),
    (GROUP, "write into a folder to read", &[], |at| write(&at.documents.join("new"))),
    (GROUP, "append to a file to read", &[], |at| {
        OpenOptions::new().append(true).open(at.documents.join("note.txt")).map(|_| "opened".into())
    }),
    (GROUP, "cut off a file to read", &[], |at| {
        rustix::fs::open(
            at.documents.join("cut"),
            rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::TRUNC,
            Mode::empty(),
        )?;
        Ok("cut off".into())
    }),
    (GROUP, "remove a file to read", &[], |at| done(fs::remove_file(at.documents.join("remove")))),
    (GROUP, "move a file to read", &[], |at| {
        done(fs::rename(at.documents.join("move"), at.out.join("moved")))
    }),
    (GROUP, "link a file to read into a folder to write", &[], |at| {
        done(fs::hard_link(at.documents.join("note.txt"), at.out.join("hard")))
    }),
    (GROUP, "make a folder in a folder to read", &[], |at| done(fs::create_dir(at.documents.join("folder")))),
    (GROUP, "make a link in a folder to read", &[], |at| {
        done(std::os::unix::fs::symlink("/etc/passwd", at.documents.join("link")))
    }),
    // Landlock has no right for it.
    (GROUP, "change the mode of a file to read", &[Mounts], |at| {
        done(fs::set_permissions(at.documents.join("note.txt"), fs::Permissions::from_mode(0o666)))
    }),
    (GROUP, "change the times of a file to read", &[Mounts], |at| {
        let file = fs::File::open(at.documents.join("note.txt"))?;
        done(file.set_times(fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)))
    }),
    (GROUP, "write beside the grants", &[], |at| write(&at.secret.join("new"))),
    (GROUP, "write into the skill's own folder", &[], |at| write(&at.skill.join("bin/new"))),
    (GROUP, "change the skill's own files", &[], |at| {
        OpenOptions::new().write(true).open(at.skill.join("SKILL.md")).map(|_| "opened".into())
    }),
    (GROUP, "make a pipe in a folder to write", &[], |at| {
        mknodat(CWD, at.out.join("pipe"), FileType::Fifo, Mode::RUSR, 0)?;
        Ok("made".into())
    }),
    (GROUP, "make a socket in a folder to write", &[], |at| {
        done(UnixListener::bind(at.out.join("made")).map(drop))
    }),
    (GROUP, "execute what was written", &[], |at| {
        execute(&at.skill.join("bin/probe"), &at.out.join("copied"))
    }),
    (GROUP, "execute what was written to /tmp", &[], |at| {
        let copy = Path::new("/tmp").join(format!("openclaw-drill-{}", std::process::id()));
        let result = execute(&at.skill.join("bin/probe"), &copy);
        let _not_there = fs::remove_file(copy);
        result
    }),
    (GROUP, "execute a shell of the host", &[], |_| {
        done(Command::new("/bin/sh").args(["-c", "exit 0"]).status().map(drop))
    }),
];

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn done(result: io::Result<()>) -> io::Result<String> {
    result.map(|()| "done".into())
}

fn secret(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path)? == SECRET {
        true => Ok("the secret".into()),
        false => Err(gone()),
    }
}

fn read(path: &Path) -> io::Result<String> {
    // Its length alone: what stands in there is nobody's business.
    fs::read(path).map(|bytes| format!("{} bytes", bytes.len()))
}

fn list(path: &Path) -> io::Result<String> {
    let names: io::Result<Vec<_>> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    names.map(|names| names.join(" "))
}

fn open(path: &Path) -> io::Result<String> {
    OpenOptions::new().read(true).write(true).open(path).map(|_| "opened".into())
}

fn write(path: &Path) -> io::Result<String> {
    fs::write(path, "written").map(|()| "written".into())
}

fn execute(from: &Path, copy: &Path) -> io::Result<String> {
    fs::copy(from, copy)?;
    fs::set_permissions(copy, fs::Permissions::from_mode(0o700))?;
    // It ends at once: it is told no task.
    let status = Command::new(copy)
        .arg(PROBE)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()?;
    Ok(format!("executed: {status}"))
}
