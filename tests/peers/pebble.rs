//! Let's Encrypt's own test server, pebble, in a network that belongs to one test: with Telegram's addresses in it, and the
//! ports of TLS and challenges free. All that the test starts is in that network as well.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use openclaw_tests::{
    gateway::dist,
    http::{Answer, Post, read},
    telegram::TELEGRAM_SOURCE,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The name that certificates are for.
pub const DOMAIN: &str = "bot.example.com";
/// Somebody who is not Telegram.
pub const STRANGER: &str = "203.0.113.9";
/// Where everything listens.
const OWN: &str = "127.0.0.1";
const DIRECTORY: u16 = 14_000;
const MANAGEMENT: u16 = 15_000;
const NAMES: u16 = 8_053;
/// A busy machine's.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test in a network of its own.
pub fn alone<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) {
    // Built where there is more of a network.
    dist();
    let network = format!("openclaw-acme-{name}-{}", std::process::id());
    let running = thread::spawn(move || {
        ip(&format!("netns add {network}"));
        let entered = fs::File::open(format!("/run/netns/{network}")).expect("the namespace");
        move_into_link_name_space(entered.as_fd(), Some(LinkNameSpaceType::Network)).expect("enter it");
        // It lives on as long as somebody is in it.
        ip(&format!("netns del {network}"));
        ip("link set lo up");
        for address in [TELEGRAM_SOURCE, STRANGER] {
            ip(&format!("addr add {address}/32 dev lo"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test());
    });
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip starts");
    assert!(status.success(), "ip {arguments}");
}

/// A socket as systemd would hand it over.
pub fn listener(port: u16) -> OwnedFd {
    TcpListener::bind(("::", port)).expect("the port is free in here").into()
}

/// Running.
pub struct Pebble {
    children: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Pebble {
    /// Certificates are good for so many seconds, and all names lead to this address.
    pub async fn start(seconds: u64, leads_to: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Egress reads in it.
        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), open_to_all).expect("mode");
        let path = |name: &str| folder.path().join(name).display().to_string();
        // The authority of the directory's own TLS, which the operator would trust by extra_roots.
        let mut params = CertificateParams::new([]).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("signed");
        let issuer = Issuer::new(params, key);
        let own = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new([OWN.to_owned()]).expect("an address");
        let leaf = leaf.signed_by(&own, &issuer).expect("signed");
        let config = json!({ "pebble": {
            "listenAddress": format!("{OWN}:{DIRECTORY}"),
            "managementListenAddress": format!("{OWN}:{MANAGEMENT}"),
            "certificate": path("leaf.pem"),
            "privateKey": path("leaf.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "certificateValidityPeriod": seconds,
        }});
        for (name, text) in [
            ("root.pem", root.pem()),
            ("leaf.pem", leaf.pem()),
            ("leaf.key", own.serialize_pem()),
            ("config.json", config.to_string()),
        ] {
            fs::write(folder.path().join(name), text).expect("write");
        }
        let open = |file: &str| fs::File::create(folder.path().join(file)).expect("a file");
        let start = |program: &str, arguments: &[&str]| {
            let log = open(&format!("{program}.log"));
            Command::new(program)
                .args(arguments)
                .env("PEBBLE_VA_NOSLEEP", "1")
                // Some nonces are refused, as real ones are now and then: that is asked once more, twice at the most.
                .env("PEBBLE_WFE_NONCEREJECT", "10")
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a file"))
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| panic!("start {program}: {error}; apt-get install pebble"))
        };
        let names = format!("{OWN}:{NAMES}");
        let children = vec![
            start(
                "pebble-challtestsrv",
                &[
                    "-dns01",
                    &names,
                    "-http01",
                    "",
                    "-https01",
                    "",
                    "-tlsalpn01",
                    "",
                    "-management",
                    "127.0.0.1:8055",
                    "-defaultIPv4",
                    leads_to,
                    "-defaultIPv6",
                    "",
                ],
            ),
            start("pebble", &["-strict", "-config", &path("config.json"), "-dnsserver", &names]),
        ];
        let pebble = Self { children, folder };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((OWN, MANAGEMENT)).await.is_err() {
            assert!(Instant::now() < deadline, "pebble does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pebble
    }

    /// What trusts its directory.
    pub fn trusted(&self) -> std::path::PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Its directory.
    pub fn directory() -> String {
        format!("https://{OWN}:{DIRECTORY}/dir")
    }

    /// What trusts the certificates that it signs, as PEM.
    pub async fn root(&self) -> String {
        let own = fs::read(self.trusted()).expect("its root");
        let mut stream = connect(OWN, (OWN, MANAGEMENT), OWN, &own).await.expect("pebble's management");
        let asked = format!("GET /roots/0 HTTP/1.1\r\nHost: {OWN}\r\nConnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.expect("asked");
        let mut text = String::new();
        let _cut = stream.read_to_string(&mut text).await;
        let at = text.find("-----BEGIN").unwrap_or_else(|| panic!("no certificate: {text}"));
        text.split_off(at)
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("pebble.log")).unwrap_or_default()
    }

    /// A folder for the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _gone = child.kill();
            let _gone = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- pebble ---\n{}\n---", self.log());
        }
    }
}

/// TLS from one address to another, which must have a certificate for this name.
pub async fn connect(
    from: &str,
    to: (&str, u16),
    name: &str,
    roots: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots) {
        store.add(root.expect("PEM")).expect("a root");
    }
    let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(store)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse().expect("an address"))?;
    let to: SocketAddr = format!("{}:{}", to.0, to.1).parse().expect("an address");
    let stream = socket.connect(to).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(tls)).connect(name, stream).await
}

/// To openclaw-front, as soon as it has a certificate.
pub async fn front(from: &str, roots: &[u8]) -> TlsStream<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match connect(from, (TELEGRAM_SOURCE, 443), DOMAIN, roots).await {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "no TLS with openclaw-front: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The certificate that is shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().expect("a chain");
    chain[0].clone().into_owned()
}

/// Delivers over an open connection.
pub async fn deliver(stream: &mut TlsStream<TcpStream>, post: &Post) -> Answer {
    let mut bytes = post.head(post.body.len() as u64).into_bytes();
    bytes.extend(&post.body);
    stream.write_all(&bytes).await.expect("sent");
    read(stream).await
}
