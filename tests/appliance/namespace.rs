//! Network namespaces: a machine with the appliance's firewall, and the networks around it. Everything in them is reached
//! from threads of this test, which enter them, so nothing of it touches this machine's own network.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use openclaw_tests::gateway::dist;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::tree::run;

/// Long enough for a busy machine: what is refused is refused at once, only what is dropped waits for it.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The users of a machine, with numbers that no other user here has.
pub const USERS: [(&str, u32); 8] = [
    ("root", 0),
    ("_apt", 61_001),
    ("openclaw-gateway", 61_002),
    ("openclaw-egress", 61_003),
    ("openclaw-runner", 61_004),
    ("openclaw-tunnel", 61_005),
    ("systemd-resolve", 61_006),
    ("openclaw-front", 61_007),
];

/// The number of one of them.
pub fn uid(user: &str) -> u32 {
    USERS.iter().find(|(name, _)| *name == user).expect("one of the users").1
}

/// A network namespace, removed when dropped.
pub struct Namespace(String);

impl Namespace {
    /// A new one with its loopback up.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("openclaw-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let new = Self(name);
        new.ip("link set lo up");
        new
    }

    /// As ip-netns(8) knows it.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// `ip` in it.
    pub fn ip(&self, arguments: &str) {
        run(Command::new("ip").args(["-n", &self.0]).args(arguments.split(' ')));
    }

    /// A cable from here to there: an interface at each end with these addresses.
    pub fn cable(&self, near: (&str, &[&str]), far: &Namespace, there: (&str, &[&str])) {
        self.ip(&format!("link add {} type veth peer name {} netns {}", near.0, there.0, far.0));
        for (namespace, (interface, addresses)) in [(self, near), (far, there)] {
            for address in addresses {
                // Without the kernel's wait whether somebody else has the address.
                let at_once = if address.contains(':') { " nodad" } else { "" };
                namespace.ip(&format!("addr add {address} dev {interface}{at_once}"));
            }
            namespace.ip(&format!("link set {interface} up"));
        }
    }

    /// A kernel setting of its network.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let value = value.to_owned();
        self.within(0, move || fs::write(path, value).expect("set a kernel setting"));
    }

    /// Where programs find it that enter it by themselves.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// A program in it, not started yet.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// `nft` in it.
    pub fn nft(&self, arguments: &[&str]) -> String {
        run(Command::new("ip").args(["netns", "exec", &self.0, "nft"]).args(arguments))
    }

    /// Puts the appliance's rules for this configuration in force.
    pub fn firewall(&self, config: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let (state, passwd, rules) =
            (folder.path().join("openclaw.toml"), folder.path().join("passwd"), folder.path().join("rules"));
        fs::write(&state, config).expect("write");
        let lines = USERS.map(|(name, uid)| format!("{name}:x:{uid}:{uid}::/:/bin/false\n"));
        fs::write(&passwd, lines.concat()).expect("write");
        let program = dist().join("bin/openclaw");
        run(Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-ec",
                "mount --bind $0 /etc/passwd; exec $1 firewall print --state $2 --out $3",
            ])
            .args([&passwd, &program, folder.path(), &rules]));
        self.nft(&["--file", rules.to_str().expect("text")]);
        // A second time is a replacement, not an addition.
        self.nft(&["--file", rules.to_str().expect("text")]);
    }

    /// Runs it in this namespace, as this user.
    pub fn within<T: Send + 'static>(&self, user: u32, act: impl FnOnce() -> T + Send + 'static) -> T {
        let name = self.0.clone();
        // Namespace and rights belong to a thread; this one ends with them.
        thread::spawn(move || {
            let file = fs::File::open(format!("/run/netns/{name}")).expect("the namespace");
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
                .expect("enter the namespace");
            if user != 0 {
                let (group, user) = (rustix::fs::Gid::from_raw(user), rustix::fs::Uid::from_raw(user));
                rustix::thread::set_thread_res_gid(group, group, group).expect("set the group");
                rustix::thread::set_thread_res_uid(user, user, user).expect("set the user");
            }
            act()
        })
        .join()
        .expect("the thread ends well")
    }

    /// Something that greets everybody who connects to this address, as long as the test runs.
    pub fn listens(&self, address: &str) {
        let address: SocketAddr = address.parse().expect("an address");
        let listener = self.within(0, move || TcpListener::bind(address).expect("listen"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who came to see whether it can come has seen it.
                let _gone = (&stream).write_all(b"hello");
            }
        });
    }

    /// Something that answers datagrams at this address.
    pub fn answers(&self, address: &str) {
        let address: SocketAddr = address.parse().expect("an address");
        let socket = self.within(0, move || UdpSocket::bind(address).expect("bind"));
        thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _gone = socket.send_to(b"hello", from);
            }
        });
    }

    /// Whether somebody listens there.
    pub fn connects(&self, address: &str) -> bool {
        let address: SocketAddr = address.parse().expect("an address");
        self.within(0, move || TcpStream::connect_timeout(&address, PATIENCE).is_ok())
    }

    /// Whether this user gets an answer from there by TCP.
    pub fn reaches(&self, user: u32, address: &str) -> bool {
        let address: SocketAddr = address.parse().expect("an address");
        self.within(user, move || {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
            stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
            let mut greeting = [0; 5];
            stream.read_exact(&mut greeting).is_ok() && greeting == *b"hello"
        })
    }

    /// As `reaches`, by UDP.
    pub fn reaches_by_udp(&self, user: u32, address: &str) -> bool {
        let address: SocketAddr = address.parse().expect("an address");
        self.within(user, move || {
            let socket =
                UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).expect("bind");
            socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
            socket.send_to(b"?", address).is_ok() && socket.recv(&mut [0; 16]).is_ok()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}
