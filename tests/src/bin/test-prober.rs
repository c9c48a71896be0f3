//! The program of the skills with which the way out is tried: does what the call says, and tells how it went.

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    process::Command,
    sync::Arc,
    time::Duration,
};

use openclaw_tests::broker::{head, line};
use openclaw_wire::runner::{Answer, Task};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use url::Url;

/// A bound for a test that would else hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer that are told.
const TOLD: u64 = 256 << 10;

fn main() {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).expect("a task");
    let task: Task = serde_json::from_str(&text).expect("a task");
    let said = match task.arguments["each"].as_array() {
        Some(each) => each.iter().map(act).collect(),
        None => act(&task.arguments),
    };
    let answer = serde_json::to_string(&Answer::Text(said.to_string())).expect("plain data");
    println!("{answer}");
}

fn act(arguments: &Value) -> Value {
    let word = |name: &str| arguments[name].as_str().unwrap_or_default();
    match word("act") {
        "fetch" => told(fetch(arguments)),
        "fetch on and on" => told(fetch_on(arguments)),
        "proxy" => told(proxy(word("bytes").as_bytes())),
        "connect" => {
            told(TcpStream::connect_timeout(&address(word("to")), PATIENCE).map(|_| json!("connected")))
        }
        "resolve" => told((word("name"), 443).to_socket_addrs().map(|found| json!(found.count()))),
        "environment" => json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>()),
        "read" => told(fs::read_to_string(word("path")).map(Value::from)),
        "run" => told(run(arguments)),
        "many" => told(many(arguments)),
        other => json!({ "error": format!("the prober knows no {other:?}") }),
    }
}

/// Fetches until that fails.
fn fetch_on(arguments: &Value) -> io::Result<Value> {
    for count in 0.. {
        if fetch(arguments).is_err() {
            return Ok(json!(count));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    unreachable!("it counts for ever")
}

fn told(result: io::Result<Value>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "errno": error.raw_os_error(), "error": error.to_string() }),
    }
}

fn address(text: &str) -> std::net::SocketAddr {
    text.parse().expect("an address")
}

/// A connection to the proxy that the environment names.
fn to_proxy() -> io::Result<TcpStream> {
    let named =
        std::env::var("http_proxy").map_err(|_| io::Error::other("no http_proxy in the environment"))?;
    let place = named.strip_prefix("http://").ok_or_else(|| io::Error::other("http_proxy is odd"))?;
    let stream = TcpStream::connect(place)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Bytes as they are, and what comes back until the proxy closes.
fn proxy(bytes: &[u8]) -> io::Result<Value> {
    let mut stream = to_proxy()?;
    stream.write_all(bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(TOLD).read_to_end(&mut answer)?;
    Ok(json!(String::from_utf8_lossy(&answer)))
}

/// One request through the proxy, as a library would make it. The path is sent as it stands in `url`.
fn fetch(arguments: &Value) -> io::Result<Value> {
    let text = arguments["url"].as_str().unwrap_or_default();
    let url = Url::parse(text).map_err(io::Error::other)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(0);
    // What the parser made of the path would not be what the skill meant.
    let after = text.splitn(4, '/').nth(3).unwrap_or_default();
    let mut stream = to_proxy()?;
    if url.scheme() == "http" {
        return exchange(
            &mut stream,
            &format!("http://{host}:{port}/{after}"),
            &format!("{host}:{port}"),
            arguments,
        );
    }
    let connect = arguments["connect"].as_str().map_or_else(|| format!("{host}:{port}"), str::to_owned);
    stream.write_all(format!("CONNECT {connect} HTTP/1.1\r\nhost: {connect}\r\n\r\n").as_bytes())?;
    let head = head(&mut stream)?;
    if !head.starts_with("HTTP/1.1 200") {
        let mut rest = String::new();
        let length = content_length(&head);
        (&mut stream).take(length).read_to_string(&mut rest)?;
        return Ok(json!({ "connect": status(&head), "body": rest }));
    }
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(std::env::var("SSL_CERT_FILE").map_err(io::Error::other)?)
            .map_err(io::Error::other)?
    {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = arguments["name"].as_str().map_or_else(|| host.clone(), str::to_owned);
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(client, stream);
    let inner = arguments["host"].as_str().map_or_else(|| format!("{host}:{port}"), str::to_owned);
    exchange(&mut tls, &format!("/{after}"), &inner, arguments)
}

fn exchange(
    stream: &mut (impl Read + Write),
    target: &str,
    host: &str,
    arguments: &Value,
) -> io::Result<Value> {
    let method = arguments["method"].as_str().unwrap_or("GET");
    let body = arguments["body"].as_str().unwrap_or_default();
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in arguments["headers"].as_object().into_iter().flatten() {
        text += &format!("{name}: {}\r\n", value.as_str().unwrap_or_default());
    }
    let pieces: Vec<&str> = match arguments["pieces"].as_array() {
        // Chunk by chunk, so that a reader sees borders where the test wants them.
        Some(pieces) => pieces.iter().filter_map(Value::as_str).collect(),
        None => Vec::new(),
    };
    if pieces.is_empty() {
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes())?;
    } else {
        stream.write_all(format!("{text}transfer-encoding: chunked\r\n\r\n").as_bytes())?;
        for piece in pieces {
            stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
            stream.flush()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        stream.write_all(b"0\r\n\r\n")?;
    }
    stream.flush()?;
    let head = head(stream)?;
    let mut body = Vec::new();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        loop {
            let length = u64::from_str_radix(line(stream)?.trim(), 16).map_err(io::Error::other)?;
            stream.take(length).read_to_end(&mut body)?;
            line(stream)?;
            if length == 0 {
                break;
            }
        }
    } else if method != "HEAD" {
        let length = content_length(&head);
        stream.take(length).read_to_end(&mut body)?;
    }
    Ok(json!({ "status": status(&head), "head": head, "body": String::from_utf8_lossy(&body) }))
}

/// The same request again and again over one connection; the time of each in microseconds.
fn many(arguments: &Value) -> io::Result<Value> {
    let target = arguments["url"].as_str().unwrap_or_default();
    let url = Url::parse(target).map_err(io::Error::other)?;
    let host = format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(0));
    let mut stream = Buffered(io::BufReader::new(to_proxy()?));
    let mut times = Vec::new();
    for _ in 0..arguments["count"].as_u64().unwrap_or(1) {
        let begun = std::time::Instant::now();
        exchange(&mut stream, target, &host, arguments)?;
        times.push(begun.elapsed().as_micros() as u64);
    }
    Ok(json!(times))
}

/// So that the client itself costs few system calls.
struct Buffered(io::BufReader<TcpStream>);

impl Read for Buffered {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Buffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn content_length(head: &str) -> u64 {
    let head = head.to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Another program of the skill's folder or of its runtime.
fn run(arguments: &Value) -> io::Result<Value> {
    let words: Vec<&str> =
        arguments["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (program, rest) = words.split_first().ok_or_else(|| io::Error::other("no program"))?;
    let mut command = Command::new(program);
    command.args(rest);
    for (name, value) in arguments["env"].as_object().into_iter().flatten() {
        command.env(name, value.as_str().unwrap_or_default());
    }
    let output = command.output()?;
    Ok(json!({
        "status": output.status.code(),
        "out": String::from_utf8_lossy(&output.stdout),
        "err": String::from_utf8_lossy(&output.stderr),
    }))
}
