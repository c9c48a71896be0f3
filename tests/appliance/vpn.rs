//! The operator's way in, with real WireGuard on both sides: a device comes in by what it was shown, over that interface alone,
//! and one that was removed is out at once.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use openclaw_tests::gateway::dist;
use openclaw_wire::{admin::Status, facts::FACTS};

use crate::{namespace::Namespace, tree::run, wireguard::Inside};

/// The machine's address at home.
const OWN: &str = "192.168.7.1";

/// The machine, and a device on the same network.
struct Site {
    machine: Namespace,
    inside: Inside,
    device: Namespace,
    peer: Inside,
    state: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let (machine, device) = (Namespace::new(), Namespace::new());
        machine.cable(("eth0", &["192.168.7.1/24"]), &device, ("out", &["192.168.7.2/24"]));
        let (inside, peer) = (Inside::new(&machine), Inside::new(&device));
        let state = tempfile::tempdir().expect("a folder");
        fs::create_dir(state.path().join("run")).expect("a folder");
        Self { machine, inside, device, peer, state }
    }

    /// `openclaw vpn` on the machine, as root.
    fn vpn(&self, words: &[&str]) -> String {
        let (code, said) = self.tries(words);
        assert_eq!(code, 0, "{words:?}: {said}");
        said
    }

    fn tries(&self, words: &[&str]) -> (i32, String) {
        let program = dist().join("bin").join(&FACTS.programs.gateway);
        let state = self.state.path().join("run");
        let state = state.to_str().expect("text");
        let all = [&[program.to_str().expect("text"), "vpn"], words, &["--state", state]].concat();
        self.inside.tries(&all, "")
    }

    /// A connection of the device over the VPN to somebody who repeats what it says.
    fn echo(&self) -> TcpStream {
        let address = SocketAddr::new(FACTS.vpn.address, FACTS.ssh.port);
        let listener = self.machine.within(0, move || TcpListener::bind(address).expect("listen"));
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("accept");
            let _ended = std::io::copy(&mut &stream, &mut &stream);
        });
        let stream = self.device.within(0, move || TcpStream::connect(address).expect("connects"));
        stream.set_read_timeout(Some(Duration::from_secs(3))).expect("a time limit");
        stream
    }

    /// Has the device read what it was shown, with wg-quick.
    fn take_up(&self, config: &str) {
        let file = self.state.path().join("wg-peer.conf");
        fs::write(&file, config).expect("write");
        run(Command::new("chmod").arg("600").arg(&file));
        self.peer.run(&["wg-quick", "up", file.to_str().expect("text")]);
        fs::remove_file(file).expect("remove");
    }
}

/// What a device is shown, without the QR code.
fn shown(said: &str) -> String {
    let whole = said.find("[Interface]").zip(said.find("PersistentKeepalive"));
    let (from, last) = whole.unwrap_or_else(|| panic!("no configuration in: {said}"));
    let to = said[last..].find('\n').map_or(said.len(), |end| last + end + 1);
    said[from..to].to_owned()
}

fn setting<'a>(config: &'a str, name: &str) -> &'a str {
    let line = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("no {name} in: {config}"))
}

/// Whether a byte comes back within three seconds.
fn echoes(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

/// Whether a text stands in any file below.
fn stands_in(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).expect("lists").flatten().any(|entry| match entry.path().is_dir() {
        true => stands_in(&entry.path(), text),
        false => String::from_utf8_lossy(&fs::read(entry.path()).expect("reads")).contains(text),
    })
}

#[test]
#[ignore = "needs root: it makes network namespaces"]
fn a_device_comes_in_by_what_it_was_shown_and_is_out_at_once_when_removed() {
    let site = Site::new();
    let page = format!("{}:{}", FACTS.vpn.address, FACTS.admin.port);
    let said = site.vpn(&["init"]);
    assert!(
        said.contains("192.168.7.1") && said.contains("--endpoint"),
        "a private address is no guess: {said}"
    );
    let (code, said) = site.tries(&["add-peer", "phone"]);
    assert!(code == 1 && said.contains("openclaw vpn init --endpoint"), "{said}");
    site.vpn(&["init", "--endpoint", OWN]);
    site.inside.wireguard(&FACTS.vpn.interface);
    site.vpn(&["up"]);
    site.machine.firewall("");
    site.machine.listens(&page);
    assert!(!site.device.reaches(0, &page), "before it is a peer");

    let said = site.vpn(&["add-peer", "phone"]);
    let phone = shown(&said);
    assert!(said.contains('▀') && said.contains("may come from now on"), "{said}");
    assert!(!stands_in(site.state.path(), setting(&phone, "PrivateKey")), "what was shown is kept nowhere");
    site.take_up(&phone);
    assert!(site.device.reaches(0, &page), "over the VPN");
    let list: serde_json::Value = serde_json::from_str(&site.vpn(&["list", "--json"])).expect("JSON");
    assert_eq!(list["peers"][0]["name"], "phone");
    assert!(list["peers"][0]["last_handshake"].as_u64().is_some_and(|at| at > 0), "{list}");

    // A second device, which made its key itself, on the same cable.
    let own = site.peer.run(&["wg", "genkey"]);
    let public = site.peer.tries(&["wg", "pubkey"], &own).1;
    let laptop = shown(&site.vpn(&["add-peer", "laptop", "--public-key", public.trim()]));
    assert!(laptop.contains("# PrivateKey"), "{laptop}");
    assert_eq!(setting(&laptop, "Address"), "10.77.0.3/32");

    // A connection that stands when its peer is removed.
    let mut stands = site.echo();
    assert!(echoes(&mut stands), "before");
    let (code, said) = {
        // Whoever is not root can't shut anybody out of an interface that runs, and is told so.
        let state = site.state.path().join("mine");
        fs::create_dir(&state).expect("a folder");
        run(Command::new("cp").arg("-r").arg(site.state.path().join("run/vpn")).arg(&state));
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(&state));
        run(Command::new("chmod").arg("711").arg(site.state.path()));
        let program = dist().join("bin").join(&FACTS.programs.gateway);
        let (program, state) = (program.to_str().expect("text"), state.to_str().expect("text"));
        let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", program];
        site.inside.tries(&[&user[..], &["vpn", "remove-peer", "phone", "--state", state]].concat(), "")
    };
    assert!(code == 1 && said.contains("the interface that runs still has it"), "{code}: {said}");
    assert!(site.device.reaches(0, &page) && echoes(&mut stands), "and it has");

    assert!(site.vpn(&["remove-peer", "phone"]).contains("phone is out"));
    assert!(!site.device.reaches(0, &page), "a new connection");
    assert!(!echoes(&mut stands), "one that stood");
    let peers = site.inside.run(&["wg", "show", &FACTS.vpn.interface, "peers"]);
    assert_eq!(peers.trim(), public.trim(), "only the laptop is left");
    site.vpn(&["up"]);
    assert!(!site.device.reaches(0, &page), "and it does not come back");

    // The laptop comes in meanwhile.
    site.peer.run(&["ip", "link", "delete", "dev", "wg-peer"]);
    let with_key = laptop.replace("# PrivateKey", &format!("PrivateKey = {}\n#", own.trim()));
    site.take_up(&with_key);
    assert!(site.device.reaches(0, &page), "the other device");
    site.vpn(&["down"]);
    assert!(!site.device.reaches(0, &page), "without the interface nobody");
}

/// The programs, in the machine's namespace; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = (self.0.kill(), self.0.wait());
    }
}

impl Site {
    /// `openclaw run` with the page on the VPN.
    fn run(&self) -> Running {
        let (state, log) = (self.state.path().join("run"), self.state.path().join("log"));
        fs::write(state.join("openclaw.toml"), "[admin]\nlisten = \"vpn\"\n").expect("write");
        run(Command::new("chmod").arg("711").arg(self.state.path()));
        run(Command::new("chmod").args(["-R", "go="]).arg(&state));
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(&state));
        let program = dist().join("bin").join(&FACTS.programs.gateway);
        let (program, state) = (program.to_str().expect("text"), state.to_str().expect("text"));
        let words = [program, "run", "--user", "65534", "--home", state, "--state", state];
        Running(self.inside.start(&words, &log))
    }

    /// Its status, when it answers.
    fn status(&self) -> Option<Status> {
        let program = dist().join("bin").join(&FACTS.programs.gateway);
        let state = self.state.path().join("run");
        let words = [program.to_str()?, "status", "--json", "--state", state.to_str()?];
        serde_json::from_str(&self.inside.tries(&words, "").1).ok()
    }

    /// Waits until the page listens like this.
    fn listens(&self, expected: &[&str]) -> Status {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let status = self.status();
            if let Some(status) = &status {
                let mut listens = status.page.listens.clone();
                listens.sort();
                if listens == expected {
                    return status.clone();
                }
            }
            let log = || fs::read_to_string(self.state.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{:?}, not {expected:?}:\n{}", status.map(|s| s.page), log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What the page answers to somebody there; `None` when nobody answers.
fn page(from: &Namespace, address: &str) -> Option<u16> {
    let address: SocketAddr = address.parse().expect("an address");
    from.within(0, move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    })
}

/// The gateway runs before there is a VPN, and answers on it alone: not on another interface that is asked for the VPN's
/// address (the weak host), with the firewall and without. SSH, which binds to every address, is the firewall's part
/// (incident 50).
#[test]
#[ignore = "needs root: it makes network namespaces"]
fn the_page_answers_over_the_vpn_and_nowhere_else() {
    let site = Site::new();
    let (vpn, port, ssh) = (FACTS.vpn.address, FACTS.admin.port, FACTS.ssh.port);
    let (at, wireguard) =
        (format!("{vpn}:{port}"), format!("http://{vpn}:{port}/ on {}", FACTS.vpn.interface));
    let _programs = site.run();
    let before = site.listens(&[]);

    site.vpn(&["init", "--endpoint", OWN]);
    let phone = shown(&site.vpn(&["add-peer", "phone"]));
    site.inside.wireguard(&FACTS.vpn.interface);
    site.vpn(&["up"]);
    let after = site.listens(&[&wireguard]);
    assert_eq!(before.started, after.started, "the gateway was not started again");

    // As a kernel is that knows nothing of the appliance, and a device on the same network with a route to the VPN's address.
    for name in ["all", "eth0"] {
        site.machine.sysctl(&format!("net.ipv4.conf.{name}.rp_filter"), "0");
    }
    let plain = format!("{vpn}:1{ssh}");
    site.machine.listens(&plain);
    site.machine.listens(&format!("0.0.0.0:{ssh}"));
    site.device.ip(&format!("route add {vpn}/32 via {OWN}"));
    assert!(
        site.device.reaches(0, &plain),
        "the weak host: bound to the VPN's address alone, it answers for everybody"
    );
    assert_eq!(page(&site.device, &at), None, "the page, without a firewall");
    assert!(site.device.reaches(0, &format!("{vpn}:{ssh}")), "SSH, without a firewall");
    site.machine.firewall("");
    assert!(!site.device.reaches(0, &plain), "with the firewall");
    assert_eq!(page(&site.device, &at), None);
    for address in [vpn.to_string(), OWN.to_owned()] {
        assert!(!site.device.reaches(0, &format!("{address}:{ssh}")), "SSH at {address}");
        assert_eq!(page(&site.device, &format!("{address}:{port}")), None);
    }
    site.device.ip(&format!("route del {vpn}/32 via {OWN}"));

    site.take_up(&phone);
    assert_eq!(page(&site.device, &at), Some(401), "over the VPN");
    assert!(site.device.reaches(0, &format!("{vpn}:{ssh}")), "SSH over the VPN");

    // The interface goes and comes again: it is another one of the same name.
    site.vpn(&["down"]);
    assert_eq!(page(&site.device, &at), None);
    site.listens(&[]);
    site.inside.wireguard(&FACTS.vpn.interface);
    site.vpn(&["up"]);
    site.listens(&[&wireguard]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while page(&site.device, &at) != Some(401) {
        assert!(Instant::now() < deadline, "the page is back on the new interface");
    }
    site.vpn(&["remove-peer", "phone"]);
    assert_eq!(page(&site.device, &at), None, "removed");
}

/// Where Tailscale is, the page takes its interface, and answers there for its address alone.
#[test]
#[ignore = "needs root: it makes network namespaces"]
fn the_page_takes_tailscales_interface() {
    let site = Site::new();
    let port = FACTS.admin.port;
    let _programs = site.run();
    site.listens(&[]);
    let tailnet = Namespace::new();
    site.machine.cable(
        (&FACTS.vpn.tailscale, &["100.101.102.103/10"]),
        &tailnet,
        ("ts", &["100.101.102.104/10"]),
    );
    site.listens(&[&format!("port {port} of this machine's address on {}", FACTS.vpn.tailscale)]);
    assert_eq!(page(&tailnet, &format!("100.101.102.103:{port}")), Some(401));
    tailnet.ip(&format!("route add {OWN}/32 via 100.101.102.103"));
    assert_eq!(
        page(&tailnet, &format!("{OWN}:{port}")),
        None,
        "another address of the machine, over Tailscale"
    );
    assert_eq!(page(&site.device, &format!("{OWN}:{port}")), None, "the home network");
    site.machine.firewall("");
    assert_eq!(page(&tailnet, &format!("100.101.102.103:{port}")), Some(401), "with the firewall");
}

#[test]
#[ignore = "needs root: it changes the owner of files"]
fn the_file_belongs_to_whoever_made_it_and_to_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = dist().join("bin").join(&FACTS.programs.gateway);
    let facts = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        let facts = fs::metadata(path).expect("there");
        (facts.uid(), facts.mode() & 0o777)
    };
    for (owner, name) in [(0, "root"), (65_534, "user")] {
        let state = folder.path().join(name);
        fs::create_dir_all(&state).expect("a folder");
        let file = state.join(&FACTS.state.vpn);
        run(Command::new("chown").arg(format!("{owner}:{owner}")).arg(&state));
        run(Command::new("chmod").arg("755").arg(folder.path()));
        let as_owner = |words: &[&str]| {
            let id = owner.to_string();
            run(Command::new("setpriv")
                .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
                .arg(&program)
                .args(words)
                .arg("--state")
                .arg(&state))
        };
        as_owner(&["vpn", "init", "--endpoint", "vpn.example.com"]);
        assert_eq!(facts(&file), (owner, 0o600), "{name}");
        // Root changes it, and it stays its owner's.
        run(Command::new(&program).args(["vpn", "add-peer", "phone", "--state"]).arg(&state));
        assert_eq!(facts(&file), (owner, 0o600), "{name}, changed by root");
        assert!(as_owner(&["vpn", "list"]).contains("phone"));
    }
}
