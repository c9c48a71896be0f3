//! Starts a program of ours: named descriptors from 3 on, an environment made from nothing, and it dies with its parent.
//! Never a shell, never a search path, never a descriptor that was not named.

use std::{
    ffi::{CString, OsString},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::{ffi::OsStringExt, process::ExitStatusExt},
    },
    path::PathBuf,
    process::ExitStatus,
};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use crate::inherited::FIRST;

/// A program to start.
#[derive(Debug)]
pub struct Start {
    program: Image,
    args: Vec<OsString>,
    fds: Vec<(String, OwnedFd)>,
    standard: [Option<OwnedFd>; 3],
    environment: Vec<(String, String)>,
    identity: Option<Identity>,
    death: Signal,
    session: bool,
}

#[derive(Debug)]
enum Image {
    Path(PathBuf),
    Opened(OwnedFd),
}

/// Whom the program runs as. Changing it needs root, and takes all supplementary groups away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Start {
    /// The program at this path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        let name = program.as_os_str().to_owned();
        Self::image(Image::Path(program), name)
    }

    /// The program that this descriptor was opened on; `name` is its `argv[0]`.
    pub fn opened(program: OwnedFd, name: impl Into<OsString>) -> Self {
        Self::image(Image::Opened(program), name.into())
    }

    fn image(program: Image, name: OsString) -> Self {
        Self {
            program,
            args: vec![name],
            fds: Vec::new(),
            standard: [None, None, None],
            environment: Vec::new(),
            identity: None,
            death: Signal::KILL,
            session: false,
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more descriptor; the first is number 3. The program finds it by name (`Inherited::take_fd`).
    pub fn fd(mut self, name: impl Into<String>, fd: OwnedFd) -> Self {
        self.fds.push((name.into(), fd));
        self
    }

    /// Standard input, output (1) or error (2); what is not given is shared with this process.
    pub fn standard(mut self, number: usize, fd: OwnedFd) -> Self {
        self.standard[number] = Some(fd);
        self
    }

    /// One variable of the environment, besides `LISTEN_FDS` and `LISTEN_FDNAMES`.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Another user and group.
    pub fn identity(mut self, identity: Option<Identity>) -> Self {
        self.identity = identity;
        self
    }

    /// In a session of its own (setsid(2)): it has no controlling terminal, and Ctrl-C there does not reach it.
    pub fn own_session(mut self) -> Self {
        self.session = true;
        self
    }

    /// The signal that it gets when the *thread* that started it ends (prctl(2), `PR_SET_PDEATHSIG`); `KILL` by
    /// default. So: start from a thread that outlives the program.
    pub fn when_parent_dies(mut self, signal: Signal) -> Self {
        self.death = signal;
        self
    }

    /// Starts it. An error of any step, `execve` included, comes back here.
    pub fn spawn(self) -> io::Result<Child> {
        let (path, image) = match &self.program {
            Image::Path(path) => (c_string(path.as_os_str().to_owned())?, None),
            Image::Opened(fd) => (CString::default(), Some(fd.as_raw_fd())),
        };
        let args = self.args.into_iter().map(c_string).collect::<io::Result<Vec<_>>>()?;
        let mut environment = self.environment;
        if !self.fds.is_empty() {
            if self.fds.iter().any(|(name, _)| name.is_empty() || name.contains(':')) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a descriptor's name is empty or has `:`",
                ));
            }
            let names: Vec<_> = self.fds.iter().map(|(name, _)| name.as_str()).collect();
            environment.push(("LISTEN_FDS".into(), names.len().to_string()));
            environment.push(("LISTEN_FDNAMES".into(), names.join(":")));
        }
        let environment = environment
            .into_iter()
            .map(|(name, value)| c_string(format!("{name}={value}").into()))
            .collect::<io::Result<Vec<_>>>()?;
        let mut fds: Vec<RawFd> = self.fds.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        let (failed, report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let child = InChild {
            path,
            image,
            args: pointers(&args),
            environment: pointers(&environment),
            standard: [0, 1, 2].map(|number: usize| self.standard[number].as_ref().map(|fd| fd.as_raw_fd())),
            identity: self.identity,
            death: self.death.as_raw(),
            session: self.session,
            parent: rustix::process::getpid().as_raw_nonzero().get(),
            report: report.as_raw_fd(),
        };
        // SAFETY: the child calls only `InChild::run`, which allocates nothing, takes no lock and ends in exec or
        // _exit, so it does not matter what other threads of this process held at the fork.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: as above; the pointers in `child` are to memory that the fork copied.
            0 => unsafe { child.run(&mut fds) },
            pid => {
                drop(report);
                let pid = Pid::from_raw(pid).expect("fork gives a positive number");
                let mut errno = [0; 4];
                if std::fs::File::from(failed).read_exact(&mut errno).is_ok() {
                    rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
                    return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)));
                }
                let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
                Ok(Child { pid, pidfd, status: None })
            }
        }
    }
}

/// What the child needs between fork and exec, all of it made before.
struct InChild {
    path: CString,
    image: Option<RawFd>,
    args: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    standard: [Option<RawFd>; 3],
    identity: Option<Identity>,
    death: libc::c_int,
    session: bool,
    parent: libc::pid_t,
    report: RawFd,
}

impl InChild {
    /// Never returns.
    ///
    /// # Safety
    /// Only in a freshly forked child.
    unsafe fn run(mut self, fds: &mut [RawFd]) -> ! {
        // SAFETY: see `steps`; write and _exit are async-signal-safe.
        unsafe {
            let errno = self.steps(fds).to_ne_bytes();
            libc::write(self.report, errno.as_ptr().cast(), errno.len());
            libc::_exit(127)
        }
    }

    /// Returns the errno of the step that failed.
    ///
    /// # Safety
    /// Only in a freshly forked child. Uses async-signal-safe calls alone (signal-safety(7)), the raw system calls for
    /// the ids among them: glibc's functions would take locks.
    unsafe fn steps(&mut self, fds: &mut [RawFd]) -> libc::c_int {
        let low = FIRST + fds.len() as RawFd;
        macro_rules! step {
            ($call:expr) => {
                match $call {
                    -1 => return errno(),
                    value => value,
                }
            };
        }
        // SAFETY: plain numbers, and pointers into `self`, which lives until exec; see above.
        unsafe {
            // Rust ignores SIGPIPE, and what is ignored or blocked stays so over exec.
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            step!(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()));
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            if self.session {
                step!(libc::setsid());
            }
            if let Some(Identity { uid, gid }) = self.identity {
                step!(libc::syscall(libc::SYS_setgroups, 1_usize, &gid));
                step!(libc::syscall(libc::SYS_setresgid, gid, gid, gid));
                step!(libc::syscall(libc::SYS_setresuid, uid, uid, uid));
            }
            // After the ids: changing them clears it.
            step!(libc::prctl(libc::PR_SET_PDEATHSIG, self.death as libc::c_ulong, 0, 0, 0));
            if libc::getppid() != self.parent {
                return libc::ESRCH;
            }
            // First everything out of the way of the final numbers, then to them.
            let away = |fd: RawFd| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, low);
            self.report = step!(away(self.report));
            if let Some(image) = &mut self.image {
                *image = step!(away(*image));
            }
            for fd in fds.iter_mut() {
                *fd = step!(away(*fd));
            }
            for fd in self.standard.iter_mut().flatten() {
                *fd = step!(away(*fd));
            }
            for (number, fd) in (FIRST..).zip(fds.iter()) {
                step!(libc::dup2(*fd, number));
            }
            for (number, fd) in (0..).zip(self.standard) {
                if let Some(fd) = fd {
                    step!(libc::dup2(fd, number));
                }
            }
            // Not closed here: the report pipe must live until exec.
            step!(crate::descriptors::close_range(low as libc::c_uint, libc::CLOSE_RANGE_CLOEXEC));
            match self.image {
                None => libc::execve(self.path.as_ptr(), self.args.as_ptr(), self.environment.as_ptr()),
                Some(fd) => libc::syscall(
                    libc::SYS_execveat,
                    fd,
                    self.path.as_ptr(),
                    self.args.as_ptr(),
                    self.environment.as_ptr(),
                    libc::AT_EMPTY_PATH,
                ) as libc::c_int,
            };
            errno()
        }
    }
}

fn errno() -> libc::c_int {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() }
}

fn c_string(text: OsString) -> io::Result<CString> {
    CString::new(text.into_vec())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an argument has a NUL byte"))
}

/// A NULL-terminated array for exec. The strings must outlive it.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// A started program. Dropping it neither kills nor reaps.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    status: Option<ExitStatus>,
}

impl Child {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get() as u32
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.reap(WaitOptions::empty()) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Its status if it has ended.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::NOHANG)
    }

    fn reap(&mut self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            let ended = rustix::process::waitpid(Some(self.pid), options)?;
            self.status = ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        }
        Ok(self.status)
    }

    /// Sends a signal; to one that has ended that is nothing.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// The pidfd: readable once the program has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::fd::OwnedFd};

    use rustix::pipe::pipe;

    use super::Start;

    /// What a shell prints, started by us with descriptors given and others open.
    fn output(script: &str, fds: Vec<(&str, OwnedFd)>) -> String {
        let (read, write) = pipe().expect("pipe");
        let mut start = Start::new("/bin/sh").arg("-c").arg(script).standard(1, write);
        for (name, fd) in fds {
            start = start.fd(name, fd);
        }
        let mut child = start.spawn().expect("spawns");
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).expect("reads");
        assert!(child.wait().expect("waits").success(), "{text}");
        text
    }

    #[test]
    fn the_environment_is_empty_but_for_the_names() {
        let (one, two) = pipe().expect("pipe");
        let text = output("exec /usr/bin/env", vec![("a", one), ("b", two)]);
        let mut lines: Vec<_> =
            text.lines().filter(|l| !l.starts_with("PWD=") && !l.starts_with("_=")).collect();
        lines.sort();
        assert_eq!(lines, ["LISTEN_FDNAMES=a:b", "LISTEN_FDS=2"]);
    }

    #[test]
    fn only_the_named_descriptors_are_open_and_in_order() {
        // Not close-on-exec: without the barrier this one would be inherited.
        let (stray, _other) = pipe().expect("pipe");
        assert!(!rustix::io::fcntl_getfd(&stray).expect("flags").contains(rustix::io::FdFlags::CLOEXEC));
        let (first, second) =
            (File::open("/dev/null").expect("null"), File::open("/dev/zero").expect("zero"));
        let script = "readlink /proc/$$/fd/3 /proc/$$/fd/4; \
                      for n in $(seq 5 200); do [ -e /proc/$$/fd/$n ] && echo $n; done; true";
        let text = output(script, vec![("zero", second.into()), ("null", first.into())]);
        assert_eq!(text, "/dev/zero\n/dev/null\n");
    }

    #[test]
    fn a_failed_exec_is_an_error_here() {
        let error = Start::new("/nonexistent").spawn().expect_err("no such program");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn an_opened_program_runs() {
        let program = File::open("/bin/true").expect("/bin/true");
        let mut child = Start::opened(program.into(), "true").spawn().expect("spawns");
        assert!(child.wait().expect("waits").success());
    }
}
