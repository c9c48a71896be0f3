//! The near end of a way out: listens on the jail's own loopback and carries bytes to egress, which speaks HTTP proxy. One
//! thread of the first process; understands nothing of what it carries, and decides nothing.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
};

use anyhow::Context as _;
use openclaw_confine::namespaces;
use openclaw_runner::{running::passing, spec::AUTHORITY};
use openclaw_wire::{facts::FACTS, way};
use rustix::event::{PollFd, PollFlags, poll};

/// Connections at the same time; egress allows as many. More wait in the listener's queue.
const MOST: usize = 32;
/// Bytes on their way in each direction of a connection: they count as the skill's memory.
const BUFFER: usize = 16 << 10;
/// The thread keeps its buffers in the heap.
const STACK: usize = 64 << 10;

/// A listening way out.
pub struct Near {
    listener: TcpListener,
    way: OwnedFd,
}

/// What ordinary software reads to find a proxy and the authority behind it.
pub fn environment() -> impl Iterator<Item = Vec<u8>> {
    let proxy = format!("http://{}", FACTS.jail.proxy);
    let proxies =
        ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name, proxy.clone()));
    // OpenSSL and most others; curl; Python's requests; Node; git.
    let files =
        ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"]
            .map(|name| (name, AUTHORITY.to_owned()));
    // Node asks for the proxy only when it is told to.
    let node = [("NODE_USE_ENV_PROXY", "1".to_owned())];
    let all = proxies.into_iter().chain(files).chain(node);
    all.map(|(name, value)| format!("{name}={value}").into_bytes())
}

/// Switches the loopback on and listens there; before the lock down.
pub fn listen(way: OwnedFd) -> anyhow::Result<Near> {
    namespaces::loopback_up().context("switch the jail's loopback on")?;
    let listener = TcpListener::bind(FACTS.jail.proxy).context("listen on the jail's loopback")?;
    listener.set_nonblocking(true)?;
    Ok(Near { listener, way })
}

/// Carries from now on, until the first process ends.
pub fn start(near: Near) -> anyhow::Result<()> {
    let carry = move || near.carry();
    thread::Builder::new()
        .name("way".into())
        .stack_size(STACK)
        .spawn(carry)
        .context("start the thread of the way out")?;
    Ok(())
}

impl Near {
    fn carry(self) {
        let mut open: Vec<Connection> = Vec::new();
        loop {
            // Only what is waited for: an end that was seen already would wake this thread again and again.
            let mut fds = Vec::with_capacity(1 + 2 * open.len());
            if open.len() < MOST {
                fds.push(PollFd::new(&self.listener, PollFlags::IN));
            }
            for connection in &open {
                let [skill, egress] = connection.waits();
                let both = [PollFd::new(&connection.skill, skill), PollFd::new(&connection.egress, egress)];
                fds.extend(
                    both.into_iter()
                        .zip([skill, egress])
                        .filter_map(|(fd, flags)| (!flags.is_empty()).then_some(fd)),
                );
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                // Nothing else can be done here, and the skill sees its connections close.
                Err(_) => return,
            }
            drop(fds);
            // Each is looked at: there are few, and one that has nothing costs a call or two.
            open.retain_mut(|connection| connection.advance().is_ok_and(|goes_on| goes_on));
            if open.len() < MOST
                && let Ok(connection) = self.accept()
            {
                open.push(connection);
            }
        }
    }

    fn accept(&self) -> io::Result<Connection> {
        let (skill, _) = self.listener.accept()?;
        let egress = way::open(self.way.as_fd())?;
        skill.set_nodelay(true)?;
        skill.set_nonblocking(true)?;
        egress.set_nonblocking(true)?;
        let out = Flow { drains: true, ..Flow::default() };
        Ok(Connection { skill, egress, out, back: Flow::default() })
    }
}

struct Connection {
    skill: TcpStream,
    egress: UnixStream,
    out: Flow,
    back: Flow,
}

impl Connection {
    /// What to wait for, at the skill's side and at egress's.
    fn waits(&self) -> [PollFlags; 2] {
        let flags = |reads: &Flow, writes: &Flow| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, reads.reads());
            flags.set(PollFlags::OUT, writes.writes());
            flags
        };
        [flags(&self.out, &self.back), flags(&self.back, &self.out)]
    }

    /// Moves what can be moved; `false` when both directions have ended.
    fn advance(&mut self) -> io::Result<bool> {
        if self.out.advance(&mut &self.skill, &mut &self.egress)? {
            // Egress may have closed it before.
            let _gone = self.egress.shutdown(Shutdown::Write);
        }
        if self.back.advance(&mut &self.egress, &mut &self.skill)? {
            self.skill.shutdown(Shutdown::Write)?;
        }
        Ok(!(self.out.ended && self.back.ended))
    }
}

/// One direction.
#[derive(Default)]
struct Flow {
    buffer: Vec<u8>,
    written: usize,
    last: bool,
    ended: bool,
    /// When nobody takes it any more it is read and thrown away: an answer that came early must reach who still sends.
    drains: bool,
    lost: bool,
}

impl Flow {
    fn reads(&self) -> bool {
        !self.last && self.buffer.is_empty()
    }

    fn writes(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// `true` once, when everything has been written and nothing more comes.
    fn advance(&mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
        loop {
            if self.reads() {
                self.buffer.resize(BUFFER, 0);
                let read = from.read(&mut self.buffer);
                self.buffer.truncate(*read.as_ref().unwrap_or(&0));
                match read {
                    Ok(length) => self.last = length == 0,
                    Err(error) if passing(&error) => return Ok(false),
                    // Egress closed before it had read everything; what it said before is whole.
                    Err(error) if !self.drains && gone(&error) => self.last = true,
                    Err(error) => return Err(error),
                }
            }
            if self.lost {
                self.buffer.clear();
            } else if self.writes() {
                match to.write(&self.buffer[self.written..]) {
                    Ok(length) => self.written += length,
                    Err(error) if passing(&error) => return Ok(false),
                    Err(error) if self.drains && gone(&error) => {
                        self.lost = true;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                if self.written < self.buffer.len() {
                    continue;
                }
                self.buffer.clear();
                self.written = 0;
            }
            if self.last {
                return Ok(!std::mem::replace(&mut self.ended, true));
            }
        }
    }
}

/// The other end of a unix socket has closed it; "reset" when it left something unread.
fn gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpListener, TcpStream},
        os::unix::net::UnixStream,
        thread,
    };

    use super::{Connection, Flow};

    /// Egress answers and closes while the skill still sends.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test is the skill")]
    fn an_early_answer_reaches_who_still_sends() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        for _ in 0..300 {
            let mut sender = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
            let (skill, _) = listener.accept().expect("accept");
            let (egress, mut far) = UnixStream::pair().expect("a pair");
            skill.set_nonblocking(true).expect("set");
            egress.set_nonblocking(true).expect("set");
            let out = Flow { drains: true, ..Flow::default() };
            let mut connection = Connection { skill, egress, out, back: Flow::default() };
            let forwarder = thread::spawn(move || while connection.advance().expect("goes on") {});
            let answers = thread::spawn(move || {
                far.read_exact(&mut [0; 10]).expect("the head");
                far.write_all(b"no").expect("answer");
            });
            sender.write_all(&[b'x'; 700_000]).expect("the body is taken to its end");
            sender.shutdown(Shutdown::Write).expect("the end");
            let mut answer = String::new();
            sender.read_to_string(&mut answer).expect("the answer");
            assert_eq!(answer, "no");
            answers.join().expect("ended");
            forwarder.join().expect("ended");
        }
    }
}
