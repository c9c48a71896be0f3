//! The far end of a way out: an HTTP/1.1 server on loopback, with TLS by a certificate authority of its own or without,
//! that keeps every request as it came.

use std::{
    io::{self, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// A running far end.
pub struct Far {
    port: u16,
    tls: bool,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Request line and headers.
    pub head: String,
    /// What followed.
    pub body: Vec<u8>,
}

impl Seen {
    /// The request line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What it answers with: status and reason, header lines (each with `\r\n`), body.
pub type Answer = (String, String, Vec<u8>);

impl Far {
    /// Plain http.
    pub fn plain(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(None, answer)
    }

    /// TLS for these names; the authority's certificate is written to `ca`.
    pub fn tls(names: &[&str], ca: &Path, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&authority_key).expect("an authority");
        std::fs::write(ca, pem(root.der())).expect("write the authority");
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = CertificateParams::new(names).expect("names");
        let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![leaf.der().clone(), root.der().clone()], key)
                .expect("a certificate with its key");
        Self::start(Some(Arc::new(config)), answer)
    }

    fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let far = Self { port, tls: tls.is_some(), seen: Arc::default(), connections: Arc::default() };
        let (seen, connections, answer) = (far.seen.clone(), far.connections.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer, tls) = (seen.clone(), answer.clone(), tls.clone());
                thread::spawn(move || {
                    let _ended = stream.set_nodelay(true);
                    let _ended = match tls {
                        None => serve(stream, &seen, &*answer),
                        Some(config) => ServerConnection::new(config)
                            .map_err(io::Error::other)
                            .and_then(|server| serve(StreamOwned::new(server, stream), &seen, &*answer)),
                    };
                });
            }
        });
        far
    }

    /// Always this body.
    pub fn says(text: &'static str) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
        move |_| ("200 OK".into(), String::new(), text.into())
    }

    /// Its address for the configuration.
    pub fn url(&self) -> String {
        // A certificate is for a name.
        if self.tls {
            format!("https://localhost:{}", self.port)
        } else {
            format!("http://127.0.0.1:{}", self.port)
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("lock").clone()
    }

    /// Connections so far, with or without a request.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: impl Read + Write,
    seen: &Mutex<Vec<Seen>>,
    answer: &dyn Fn(&Seen) -> Answer,
) -> io::Result<()> {
    loop {
        let head = head(&mut stream)?;
        let mut request = Seen { head, body: Vec::new() };
        if request.header("transfer-encoding").is_some() {
            loop {
                let length =
                    usize::from_str_radix(line(&mut stream)?.trim(), 16).map_err(io::Error::other)?;
                let mut data = vec![0; length + 2];
                stream.read_exact(&mut data)?;
                if length == 0 {
                    break;
                }
                request.body.extend_from_slice(&data[..length]);
            }
        } else if let Some(length) = request.header("content-length").and_then(|text| text.parse().ok()) {
            request.body.resize(length, 0);
            stream.read_exact(&mut request.body)?;
        }
        let (status, headers, body) = answer(&request);
        seen.lock().expect("lock").push(request.clone());
        let mut bytes =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
        if !request.line().starts_with("HEAD ") {
            bytes.extend(body);
        }
        stream.write_all(&bytes)?;
        stream.flush()?;
    }
}

/// One line, with its end.
pub fn line(stream: &mut impl Read) -> io::Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// The head of a request or an answer, with the empty line; not a byte more is read.
pub fn head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &line(stream)?;
    }
    Ok(head)
}

/// A certificate as a file holds it.
pub fn pem(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

/// Where a test keeps the authority of its far end.
pub fn authority(folder: &Path) -> PathBuf {
    folder.join("far-ca.pem")
}
