//! TLS trusts the compiled-in roots alone, even where the operator vouches for the address.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use openclaw_wire::egress::RefusalKind;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use crate::program::Setup;

/// A TLS server for `localhost` with a certificate that it signed itself, and the number of requests it got.
fn server() -> (u16, CertificateDer<'static>, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a server");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("address").port();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).expect("a connection");
            let mut stream = BufReader::new(StreamOwned::new(tls, tcp.expect("tcp")));
            let mut line = String::new();
            // Fails where the client breaks the handshake off.
            if stream.read_line(&mut line).is_ok_and(|length| length > 0) {
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            }
        }
    });
    (port, certificate, requests)
}

#[test]
fn a_self_signed_server_gets_no_request() {
    let (port, certificate, requests) = server();

    // Whoever trusts the certificate gets through: the server is sound.
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a root");
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("name");
    let tls = ClientConnection::new(config.into(), name).expect("client");
    let mut client = StreamOwned::new(tls, TcpStream::connect(("127.0.0.1", port)).expect("connect"));
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("a request");
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).expect("an answer");
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    assert_eq!(requests.load(Ordering::Relaxed), 1);

    let egress = Setup::model(&format!("https://localhost:{port}")).start();
    let refusal = egress.ask("{}").refused(RefusalKind::Unreachable);
    assert!(refusal.message.contains("certificate"), "{}", refusal.message);
    assert_eq!(requests.load(Ordering::Relaxed), 1, "no byte of a request was sent");
}
