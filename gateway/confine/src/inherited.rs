//! The descriptors that systemd or the supervisor handed over, by name (`sd_listen_fds(3)`).
//! Whatever was not handed over is closed at once; never changes the environment.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::io::FdFlags;

/// First descriptor that is handed over (`SD_LISTEN_FDS_START`).
pub const FIRST: RawFd = 3;

/// More than any of our processes is given; a larger number is a mistake, not a wish.
const MOST: usize = 64;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Descriptors that were handed to this process and not yet taken. What is left closes when this is dropped.
#[derive(Debug)]
pub struct Inherited(Vec<(String, OwnedFd)>);

impl Inherited {
    /// Takes what `LISTEN_FDS` and `LISTEN_FDNAMES` announce, marks it close-on-exec, and closes every other
    /// descriptor above 2.
    ///
    /// Must be the first thing in `main`: it closes descriptors that it does not know. A second call is an error.
    pub fn take() -> io::Result<Self> {
        if TAKEN.swap(true, Ordering::Relaxed) {
            return Err(io::Error::other("the inherited descriptors were already taken"));
        }
        let text = |name: &str| std::env::var(name).ok();
        let names = announced(
            text("LISTEN_FDS").as_deref(),
            text("LISTEN_FDNAMES").as_deref(),
            text("LISTEN_PID").as_deref(),
            std::process::id(),
        )
        .map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))?;
        // SAFETY: nothing in this process has opened a descriptor yet (first thing in main), so nobody owns those.
        unsafe { close_from(FIRST + names.len() as RawFd)? };
        let mut fds = Vec::with_capacity(names.len());
        for (number, name) in (FIRST..).zip(names) {
            // SAFETY: the number was announced to us by the process that started us, and TAKEN allows one owner.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            if let Err(error) = rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC) {
                // Not open: dropping it would close a number that is not ours.
                let number = std::os::fd::IntoRawFd::into_raw_fd(fd);
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("LISTEN_FDS announces descriptor {number} ({name}), which is not open: {error}"),
                ));
            }
            fds.push((name, fd));
        }
        Ok(Self(fds))
    }

    /// The descriptor of that name, once.
    pub fn take_fd(&mut self, name: &str) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(at).1)
    }

    /// What nobody took, for a log line. All of it closes with this value.
    pub fn left(&self) -> Vec<String> {
        self.0.iter().map(|(name, fd)| format!("{name} ({})", fd.as_raw_fd())).collect()
    }
}

/// The names of the announced descriptors, in order. Another process's announcement is none.
fn announced(
    fds: Option<&str>,
    names: Option<&str>,
    pid: Option<&str>,
    own: u32,
) -> Result<Vec<String>, String> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return Ok(Vec::new());
    }
    let Some(count) = fds else { return Ok(Vec::new()) };
    let count: usize = count
        .parse()
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or_else(|| format!("LISTEN_FDS={count:?} is not a number up to {MOST}"))?;
    let mut all: Vec<String> = match names {
        Some(names) if !names.is_empty() => names.split(':').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    if all.len() > count {
        return Err(format!("LISTEN_FDNAMES has {} names for {count} descriptors", all.len()));
    }
    all.resize(count, "unknown".to_owned());
    Ok(all)
}

/// Closes every descriptor from `first` on.
///
/// # Safety
/// Nothing in the process may own a descriptor in that range.
unsafe fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: plain numbers; that nobody owns the descriptors is the caller's promise.
    match unsafe { crate::descriptors::close_range(first as libc::c_uint, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::announced;

    #[test]
    fn announcements_are_read_strictly() {
        let names = |fds, names, pid| announced(fds, names, pid, 7);
        assert_eq!(names(Some("2"), Some("a:b"), None).expect("good"), ["a", "b"]);
        assert_eq!(names(Some("2"), Some("a"), Some("7")).expect("good"), ["a", "unknown"]);
        assert!(names(Some("2"), Some("a:b"), Some("8")).expect("another process's").is_empty());
        assert!(names(None, Some("a"), None).expect("none").is_empty());
        for (fds, list) in [("x", "a"), ("-1", "a"), ("65", "a"), ("1", "a:b"), ("", "")] {
            assert!(names(Some(fds), Some(list), None).is_err(), "{fds} {list}");
        }
    }
}
