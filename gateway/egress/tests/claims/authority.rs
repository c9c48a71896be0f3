//! A certificate authority of the tests, and TLS servers on loopback with certificates of every kind. They count the
//! requests that they get: where a handshake breaks off, there is none.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    GeneralSubtree, IsCa, KeyIdMethod, KeyPair, NameConstraints, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::Acceptor,
};
use tokio_rustls::TlsAcceptor;

/// The authority, and its certificate in a file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A running server.
pub struct Server {
    pub port: u16,
    /// Request lines and headers of everything that came through.
    seen: Arc<Mutex<Vec<String>>>,
    requests: Arc<AtomicUsize>,
}

impl Authority {
    /// One that may sign for every name.
    pub fn new() -> Self {
        Self::limited(None)
    }

    /// One that may not sign for this name.
    pub fn not_for(name: &str) -> Self {
        let excluded_subtrees = vec![GeneralSubtree::DnsName(name.to_owned())];
        Self::limited(Some(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees }))
    }

    fn limited(name_constraints: Option<NameConstraints>) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // A list of revoked certificates goes with the name of its authority.
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.name_constraints = name_constraints;
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Self { issuer, folder };
        std::fs::write(authority.file(), pem(authority.issuer.der())).expect("the file");
        authority
    }

    /// What `extra_roots` names.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("roots.pem")
    }

    /// The line of configuration that trusts it.
    pub fn trusted(&self) -> String {
        format!("[network]\nextra_roots = \"{}\"\n", self.file().display())
    }

    /// Writes the list of what this authority has revoked, by serial number, good until the end of that year; gives the line
    /// of configuration, for section `[network]`.
    pub fn revokes(&self, numbers: &[u64], until: i32) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 12, 31),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("a list");
        let file = self.folder.path().join("revoked.pem");
        let text = STANDARD.encode(list.der());
        std::fs::write(&file, format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n"))
            .expect("the file");
        format!("revoked = \"{}\"\n", file.display())
    }

    /// A server whose certificate is for these names and as `change` makes it.
    pub fn server(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Server {
        self.server_with(names, change, &[])
    }

    /// The same, with protocols for ALPN.
    pub fn server_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
        protocols: &[&str],
    ) -> Server {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        serve(certificate, &key, protocols)
    }
}

/// A server that speaks HTTP/2 and counts connections and requests.
pub struct Modern {
    pub port: u16,
    counts: Arc<[AtomicUsize; 2]>,
}

impl Authority {
    /// One for `localhost`, that answers "first" at once, and all others when so many are there.
    pub fn modern(&self, together: usize) -> Modern {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        let acceptor = TlsAcceptor::from(config(certificate, &key, &["h2"]));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let port = listener.local_addr().expect("address").port();
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = counts.clone();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("registers");
                let all_there = Arc::new(tokio::sync::Barrier::new(together));
                loop {
                    let (tcp, _) = listener.accept().await.expect("tcp");
                    counted[0].fetch_add(1, Ordering::Relaxed);
                    let (acceptor, counted, all_there) =
                        (acceptor.clone(), counted.clone(), all_there.clone());
                    tokio::spawn(async move {
                        let tls = acceptor.accept(tcp).await.expect("a handshake");
                        let service = service_fn(move |request: Request<Incoming>| {
                            let (counted, all_there) = (counted.clone(), all_there.clone());
                            async move {
                                assert_eq!(request.version(), http::Version::HTTP_2);
                                counted[1].fetch_add(1, Ordering::Relaxed);
                                let whole = request.into_body().collect().await?.to_bytes();
                                if whole != "first" {
                                    all_there.wait().await;
                                }
                                Ok::<_, hyper::Error>(Response::new(Full::new(whole)))
                            }
                        });
                        let server = http2::Builder::new(TokioExecutor::new());
                        let _ended = server.serve_connection(TokioIo::new(tls), service).await;
                    });
                }
            });
        });
        Modern { port, counts }
    }
}

impl Modern {
    /// Connections and requests.
    pub fn counts(&self) -> [usize; 2] {
        [0, 1].map(|at: usize| self.counts[at].load(Ordering::Relaxed))
    }
}

/// A server with a certificate that it signed itself.
pub fn self_signed(name: &str) -> Server {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    serve(made.cert.der().clone(), &made.signing_key, &[])
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair, protocols: &[&str]) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a server");
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn serve(certificate: CertificateDer<'static>, key: &KeyPair, protocols: &[&str]) -> Server {
    let config = config(certificate, key, protocols);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("address").port();
    let (requests, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counter, kept) = (requests.clone(), seen.clone());
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let (config, counter, kept) = (config.clone(), counter.clone(), kept.clone());
            thread::spawn(move || {
                let Ok(tls) = ServerConnection::new(config) else { return };
                let mut stream = BufReader::new(StreamOwned::new(tls, tcp.expect("tcp")));
                let mut head = String::new();
                // Fails where the client breaks the handshake off.
                while !head.ends_with("\r\n\r\n") {
                    if !stream.read_line(&mut head).is_ok_and(|length| length > 0) {
                        return;
                    }
                }
                counter.fetch_add(1, Ordering::Relaxed);
                kept.lock().expect("lock").push(head);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _ = stream.get_mut().write_all(answer);
            });
        }
    });
    Server { port, seen, requests }
}

/// A server that speaks TLS 1.1 at most: it answers a ClientHello with a ServerHello of that version (RFC 4346, 7.4.1.3).
pub fn old() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("address").port();
    let (requests, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let kept = seen.clone();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.expect("tcp");
            let mut acceptor = Acceptor::default();
            while acceptor.read_tls(&mut tcp).is_ok_and(|length| length > 0) {
                if !matches!(acceptor.accept(), Ok(None)) {
                    break;
                }
            }
            let mut hello = vec![0x02, 0, 0, 38, 3, 2];
            hello.extend([7; 32]); // random
            hello.extend([0, 0xc0, 0x13, 0]); // no session, ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression
            let mut record = vec![0x16, 3, 2, 0, hello.len() as u8];
            record.extend(hello);
            let _ = tcp.write_all(&record);
            let mut alert = [0; 7];
            if tcp.read_exact(&mut alert).is_ok() {
                kept.lock().expect("lock").push(format!("{alert:?}"));
            }
        }
    });
    Server { port, seen, requests }
}

impl Server {
    /// How many requests came through.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// What came through.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("lock").clone()
    }
}
