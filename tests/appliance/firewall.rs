//! The firewall in network namespaces, with the real `nft`: what is refused is shown to work without the rules first.

use std::{
    fs,
    io::Write,
    os::unix::{
        fs::{PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

use openclaw_confine::spawn::Start;
use openclaw_tests::gateway::dist;
use openclaw_wire::{facts::FACTS, frame, front::Opened};

use crate::namespace::{Namespace, uid};

/// A public server, as far as addresses tell; it is in a namespace of this test.
const PUBLIC: &str = "8.8.4.4";
const PUBLIC6: &str = "2606:4700::1111";
/// A neighbour of the machine at home.
const HOME: &str = "192.168.7.2";
/// In the ranges that Telegram publishes.
const TELEGRAM: &str = "149.154.167.50";
/// The machine's addresses.
const OWN: &str = "192.168.7.1";

/// The machine and what is around it: the internet and the home network behind one interface, the VPN behind another.
struct Site {
    machine: Namespace,
    outside: Namespace,
    vpn: Namespace,
}

impl Site {
    fn new() -> Self {
        let (machine, outside, vpn) = (Namespace::new(), Namespace::new(), Namespace::new());
        machine.cable(
            ("eth0", &["192.168.7.1/24", "fd00:7::1/64"]),
            &outside,
            (
                "out",
                &["192.168.7.2/24", "8.8.4.4/32", "149.154.167.50/32", "fd00:7::2/64", "2606:4700::1111/128"],
            ),
        );
        machine.ip("route add default via 192.168.7.2");
        machine.ip("-6 route add default via fd00:7::2");
        let address = format!("{}/24", FACTS.vpn.address);
        machine.cable((&FACTS.vpn.interface, &[&address]), &vpn, ("wg", &["10.77.0.2/24"]));
        Self { machine, outside, vpn }
    }
}

#[test]
#[ignore = "needs root: it makes network namespaces"]
fn each_user_reaches_what_it_must_and_nothing_else() {
    let site = Site::new();
    for address in [
        format!("{PUBLIC}:443"),
        format!("{PUBLIC}:80"),
        format!("{PUBLIC}:7844"),
        format!("{PUBLIC}:8443"),
        format!("{PUBLIC}:22"),
        format!("[{PUBLIC6}]:443"),
        format!("[{PUBLIC6}]:25"),
        format!("{HOME}:443"),
        format!("{HOME}:11434"),
        "[fd00:7::2]:443".to_owned(),
    ] {
        site.outside.listens(&address);
    }
    site.outside.answers(&format!("{PUBLIC}:53"));
    site.machine.answers("127.0.0.53:53");
    for address in ["127.0.0.53:53", "127.0.0.1:8787", "127.0.0.1:20241", "192.168.7.1:443"] {
        site.machine.listens(address);
    }

    let reachable = |user: &str, address: &str| match address.strip_prefix("udp ") {
        Some(address) => site.machine.reaches_by_udp(uid(user), address),
        None => site.machine.reaches(uid(user), address),
    };
    let everything = [
        "8.8.4.4:443",
        "8.8.4.4:80",
        "8.8.4.4:7844",
        "8.8.4.4:8443",
        "8.8.4.4:22",
        "[2606:4700::1111]:443",
        "[2606:4700::1111]:25",
        "192.168.7.2:443",
        "192.168.7.2:11434",
        "[fd00:7::2]:443",
        "udp 8.8.4.4:53",
        "udp 127.0.0.53:53",
        "127.0.0.53:53",
        "127.0.0.1:8787",
        "127.0.0.1:20241",
        "192.168.7.1:443",
    ];
    // Nothing of it is refused by anything else.
    for user in ["openclaw-gateway", "openclaw-egress", "openclaw-tunnel"] {
        for address in everything {
            assert!(reachable(user, address), "{user} reaches {address} without the rules");
        }
    }

    site.machine.firewall("");
    let dns = ["udp 127.0.0.53:53", "127.0.0.53:53"];
    let own = ["127.0.0.1:8787", "127.0.0.1:20241", "192.168.7.1:443"];
    let tls = ["8.8.4.4:443", "[2606:4700::1111]:443"];
    for (user, allowed) in [
        ("openclaw-gateway", [].as_slice()),
        ("openclaw-runner", &[]),
        ("openclaw-egress", &[tls.as_slice(), &dns].concat()),
        ("openclaw-tunnel", &[tls.as_slice(), &["8.8.4.4:7844"], &dns].concat()),
        ("systemd-resolve", &[["udp 8.8.4.4:53"].as_slice(), &dns, &own].concat()),
        (
            "_apt",
            &[tls.as_slice(), &["8.8.4.4:80", "192.168.7.2:443", "[fd00:7::2]:443"], &dns, &own].concat(),
        ),
    ] {
        for address in everything {
            assert_eq!(reachable(user, address), allowed.contains(&address), "{user} → {address}");
        }
    }

    // What the operator declares opens, to egress alone; what was taken back closes.
    let declared = "[[model]]\nname = \"home\"\napi = \"openai\"\nmodel = \"m\"\nprivate = true\n\
                    url = \"http://192.168.7.2:11434/v1\"\n\
                    [[model]]\nname = \"far\"\napi = \"openai\"\nmodel = \"m\"\nurl = \"https://models.example.com:8443/v1\"\n";
    site.machine.firewall(declared);
    for (user, address, expected) in [
        ("openclaw-egress", "192.168.7.2:11434", true),
        ("openclaw-egress", "192.168.7.2:443", false),
        ("openclaw-egress", "8.8.4.4:8443", true),
        ("openclaw-tunnel", "192.168.7.2:11434", false),
        ("openclaw-gateway", "192.168.7.2:11434", false),
    ] {
        assert_eq!(reachable(user, address), expected, "{user} → {address}, declared");
    }
    site.machine.firewall("");
    assert!(!reachable("openclaw-egress", "192.168.7.2:11434"), "taken back");
    // A configuration that can't be read opens nothing and closes nothing.
    site.machine.firewall("[[model]]\nurl = 1");
    assert!(
        reachable("openclaw-egress", "8.8.4.4:443") && !reachable("openclaw-egress", "192.168.7.2:11434")
    );
}

#[test]
#[ignore = "needs root: it makes network namespaces"]
fn nothing_answers_but_over_the_vpn() {
    let site = Site::new();
    let (ssh, page) = (FACTS.ssh.port, FACTS.admin.port);
    let (vpn, wireguard) = (FACTS.vpn.address, FACTS.vpn.port);
    for port in [ssh, page, 80, 443, 3128, 8787, 20241] {
        site.machine.listens(&format!("0.0.0.0:{port}"));
    }
    site.machine.answers(&format!("0.0.0.0:{wireguard}"));
    site.machine.answers("0.0.0.0:5353");
    // Somebody on the same network has a route to the VPN's address by way of the machine's other one.
    site.outside.ip(&format!("route add {vpn}/32 via {OWN}"));
    site.vpn.ip(&format!("route add {OWN}/32 via {vpn}"));
    // As a kernel is that knows nothing of the appliance: any address on any interface.
    for name in ["all", "eth0"] {
        site.machine.sysctl(&format!("net.ipv4.conf.{name}.rp_filter"), "0");
    }

    let weak = format!("{vpn}:{page}");
    assert!(
        site.outside.reaches(0, &weak),
        "the weak host: it answers for the VPN's address on the home network"
    );
    assert!(site.outside.reaches(0, &format!("{OWN}:{ssh}")));
    assert!(site.vpn.reaches(0, &format!("{OWN}:{page}")));
    assert!(site.outside.reaches_by_udp(0, &format!("{OWN}:5353")));

    site.machine.firewall("");
    for port in [ssh, page] {
        assert!(site.vpn.reaches(0, &format!("{vpn}:{port}")), "over the VPN: {port}");
        assert!(!site.outside.reaches(0, &format!("{vpn}:{port}")), "the weak host: {port}");
        assert!(!site.vpn.reaches(0, &format!("{OWN}:{port}")), "another address over the VPN: {port}");
    }
    for port in [ssh, page, 80, 443, 3128, 8787, 20241] {
        assert!(!site.outside.reaches(0, &format!("{OWN}:{port}")), "from the home network: {port}");
    }
    for port in [80, 443, 3128, 8787, 20241] {
        assert!(!site.vpn.reaches(0, &format!("{vpn}:{port}")), "over the VPN: {port}");
    }
    assert!(site.outside.reaches_by_udp(0, &format!("{OWN}:{wireguard}")), "the VPN itself");
    assert!(!site.outside.reaches_by_udp(0, &format!("{OWN}:5353")));
    // The operator's commands and the system's own daemons talk to each other.
    assert!(site.machine.reaches(0, &format!("127.0.0.1:{page}")));
}

#[test]
#[ignore = "needs root: it makes network namespaces"]
fn in_direct_mode_telegram_comes_in_and_nobody_else() {
    let site = Site::new();
    let (port, challenge) = (FACTS.direct.port, FACTS.direct.challenge);
    for port in [port, challenge] {
        site.machine.listens(&format!("0.0.0.0:{port}"));
    }
    let from = |address: &str, port: u16| {
        site.outside.ip(&format!("route replace {OWN}/32 dev out src {address}"));
        site.outside.reaches(0, &format!("{OWN}:{port}"))
    };
    assert!(from(TELEGRAM, port) && from(PUBLIC, port), "without the rules");
    site.machine.firewall("[webhook]\nfrom = \"tunnel\"");
    assert!(!from(TELEGRAM, port), "with a tunnel nobody comes here");
    site.machine.firewall("[webhook]\nfrom = \"direct\"");
    assert!(!from(TELEGRAM, port), "without a front there is nobody to come to");
    site.machine.firewall(DIRECT);
    assert!(from(TELEGRAM, port), "Telegram");
    assert!(!from(PUBLIC, port) && !from(HOME, port), "anybody else");
    assert!(!from(PUBLIC, challenge), "no challenge is open");
    let helper = Helper::new(&site.machine);
    let front = uid("openclaw-front");
    // Not for whoever could open the socket besides, and not for what it does not know.
    for (user, asked) in [(0, HTTP), (front, "{\"challenge\":\"dns\"}"), (front, "{\"port\":22}")] {
        let answer = helper.asked(user, asked, 60);
        assert_eq!(answer, None, "user {user} asks {asked}");
        assert!(!from(PUBLIC, challenge) && !from(PUBLIC, port), "user {user} asks {asked}");
    }
    assert_eq!(helper.asked(front, HTTP, 60), Some(Opened::For(60)));
    assert!(from(PUBLIC, challenge) && !from(PUBLIC, port), "the challenge's port, and no other");
    // Once more: the time begins anew, here a short one, and then the kernel closes it by itself.
    assert_eq!(helper.asked(front, HTTP, 2), Some(Opened::For(2)));
    assert!(!site.machine.nft(&["list", "set", "inet", "openclaw", "challenge"]).contains("timeout 1m"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while from(PUBLIC, challenge) {
        assert!(Instant::now() < deadline, "it stays open");
    }
    assert_eq!(helper.asked(front, TLS, 60), Some(Opened::For(60)));
    assert!(from(PUBLIC, port) && !from(PUBLIC, challenge), "the other way of answering");
    site.machine.nft(&["delete", "table", "inet", "openclaw"]);
    let Some(Opened::Not(why)) = helper.asked(front, HTTP, 60) else { panic!("there is no firewall") };
    assert!(why.contains("openclaw-firewall.service"), "{why}");
}

const DIRECT: &str = "[webhook]\nlisten = \"unix:/run/openclaw/front/webhook.sock\"\nfrom = \"direct\"\n\
                      peer = \"openclaw-front\"\npublic_url = \"https://bot.example.com\"\n";
const HTTP: &str = "{\"challenge\":\"http\"}";
const TLS: &str = "{\"challenge\":\"tls\"}";

/// openclaw-host's socket, and systemd's part: a process for each connection, in the machine's network.
struct Helper<'a> {
    machine: &'a Namespace,
    listener: UnixListener,
    folder: tempfile::TempDir,
}

impl<'a> Helper<'a> {
    fn new(machine: &'a Namespace) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let path = folder.path().join("host.sock");
        let listener = UnixListener::bind(&path).expect("bind");
        let front = uid("openclaw-front");
        chown(&path, Some(front), Some(front)).expect("chown");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        Self { machine, listener, folder }
    }

    /// What a user is answered; `None` when it is not listened to.
    fn asked(&self, user: u32, question: &str, seconds: u64) -> Option<Opened> {
        let path = self.folder.path().join("host.sock");
        let question = question.to_owned();
        let mut near = self.machine.within(user, move || {
            let mut stream = UnixStream::connect(path).expect("it may open the socket");
            let length = u32::try_from(question.len()).expect("short").to_be_bytes();
            stream.write_all(&[&length, question.as_bytes()].concat()).expect("asked");
            stream
        });
        let (connection, _) = self.listener.accept().expect("accept");
        let program = dist().join("bin").join(&FACTS.programs.host).display().to_string();
        let seconds = seconds.to_string();
        // It dies with the thread that starts it.
        self.machine.within(0, move || {
            let _code = Start::new(program)
                .arg("--nft")
                .arg("/usr/sbin/nft")
                .arg("--seconds")
                .arg(seconds)
                .fd("connection", connection.into())
                .spawn()
                .expect("it starts")
                .wait()
                .expect("it ends");
        });
        frame::read(&mut near).ok().flatten()
    }
}

/// The gateway may send nothing, but who was let in is answered by it.
#[test]
#[ignore = "needs root: it makes network namespaces"]
fn who_was_let_in_is_answered_by_users_who_may_send_nothing() {
    let site = Site::new();
    let address = format!("{}:{}", FACTS.vpn.address, FACTS.admin.port);
    let listener = {
        let address = address.clone();
        site.machine
            .within(uid("openclaw-gateway"), move || std::net::TcpListener::bind(address).expect("listen"))
    };
    site.machine.firewall("");
    let answering = {
        let listener = listener.try_clone().expect("a descriptor");
        site.machine.within(0, move || {
            std::thread::spawn(move || {
                use std::io::Write;
                let (mut stream, _) = listener.accept().expect("accept");
                stream.write_all(b"hello").expect("write");
            })
        })
    };
    assert!(site.vpn.reaches(0, &address));
    answering.join().expect("it answered");
    assert!(!site.machine.reaches(uid("openclaw-gateway"), &address), "and itself it reaches nothing");
}
