//! Open descriptors: what is open now stays with this process and is never inherited by accident.

use std::{fs, io};

use crate::Layer;

/// Marks every descriptor above 2 close-on-exec (close_range(2), `CLOSE_RANGE_CLOEXEC`).
pub(crate) fn close_on_exec() -> io::Result<()> {
    // SAFETY: plain numbers; the flag closes nothing now, so no owner of a descriptor notices.
    match unsafe { close_range(3, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// close_range(2) from `first` to the last, by its number: musl has no function for it. -1 and `errno` on failure.
///
/// # Safety
/// Unless the flags say to close later, nothing in the process may own a descriptor in that range.
pub(crate) unsafe fn close_range(first: libc::c_uint, flags: libc::c_uint) -> libc::c_int {
    // SAFETY: plain numbers; that nobody owns the descriptors is the caller's promise.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) as libc::c_int }
}

/// What is open, by kind. Asked before Landlock, while `/proc` can be listed.
pub(crate) fn layer(marked: &io::Result<()>) -> Layer {
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        // The descriptor of this very listing shows up as /proc/<pid>/fd.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        let kind = match target.split_once(':') {
            Some((kind, _)) if !target.starts_with('/') => kind,
            _ if target.starts_with("/dev/") => "device",
            _ if target.starts_with("/proc/") => continue,
            _ => "file",
        };
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    let list: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    Layer {
        name: "descriptors".into(),
        asked: "all close-on-exec".into(),
        enforced: match marked {
            Ok(()) if list.is_empty() => "all close-on-exec".into(),
            Ok(()) => format!("all close-on-exec: {}", list.join(", ")),
            Err(error) => format!("close_range: {error}"),
        },
        complete: marked.is_ok(),
    }
}
