//! Machines with WireGuard: Debian's wireguard-go instead of the kernel's, so that it works wherever there is /dev/net/tun, and
//! Debian's wg and wg-quick.

use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::namespace::Namespace;

/// Processes that share a network namespace and a view of `/run/wireguard`, where wireguard-go has its socket.
pub struct Inside(Child);

impl Inside {
    /// In this network namespace.
    pub fn new(network: &Namespace) -> Self {
        let stay = "mkdir -p /run/wireguard; mount -t tmpfs tmpfs /run/wireguard; echo; exec sleep infinity";
        let mut holder = Command::new("ip")
            .args(["netns", "exec", network.name(), "unshare", "-m", "sh", "-ec", stay])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip starts");
        let mut line = [0];
        let said =
            std::io::Read::read(holder.stdout.as_mut().expect("piped"), &mut line).expect("it says so");
        assert_eq!(said, 1, "a view of its own");
        Self(holder)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.0.id().to_string(), "-m", "-n", program]);
        command
    }

    /// Runs a command in there, with this input; its code, and all that it said.
    pub fn tries(&self, words: &[&str], input: &str) -> (i32, String) {
        let mut child = self
            .command(words[0])
            .args(&words[1..])
            .env("WG_QUICK_USERSPACE_IMPLEMENTATION", "wireguard-go")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nsenter starts");
        let _ended = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let said = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (said.status.code().unwrap_or(-1), text(&said.stdout) + &text(&said.stderr))
    }

    /// Starts one that stays; its standard error goes to this file.
    pub fn start(&self, words: &[&str], log: &Path) -> Child {
        let log = File::create(log).expect("a log");
        let mut command = self.command(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("nsenter starts")
    }

    /// As `tries`, for one that must succeed.
    pub fn run(&self, words: &[&str]) -> String {
        let (code, said) = self.tries(words, "");
        assert_eq!(code, 0, "{words:?}: {said}");
        said
    }

    /// An interface of this name.
    pub fn wireguard(&self, name: &str) {
        // It goes to the background when the interface is there, and ends with it.
        let started = self
            .command("wireguard-go")
            .arg(name)
            .env("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("wireguard-go starts (Debian: apt-get install wireguard-go)");
        assert!(started.success(), "wireguard-go {name}: is there a /dev/net/tun?");
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.tries(&["wg", "show", name], "").0 != 0 {
            assert!(Instant::now() < deadline, "wireguard-go does not answer");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Interfaces first: wireguard-go ends with its own.
        for name in ["wg-openclaw", "tailscale0", "wg-peer"] {
            let _there = self.tries(&["ip", "link", "delete", "dev", name], "");
        }
        let _gone = (self.0.kill(), self.0.wait());
    }
}
