//! `via`: a route goes through the operator's proxy, which learns the name and nothing else; the server does not see this
//! machine, and the name is looked up by the proxy alone.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use openclaw_wire::egress::RefusalKind;

use crate::{
    authority::{Authority, Server},
    program::{KEY, Setup},
};

/// A name that no resolver knows.
const NAME: &str = "provider.invalid";

/// A proxy that leads everything to one port and keeps what it saw.
struct Exit {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Exit {
    fn start(to: u16, greet: impl Fn(&mut TcpStream) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("address").port();
        let exit = Self { port, asked: Arc::default(), bytes: Arc::default() };
        let (asked, bytes) = (exit.asked.clone(), exit.bytes.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.expect("tcp");
                let Some(name) = greet(&mut client) else { continue };
                asked.lock().expect("lock").push(name);
                let server = TcpStream::connect(("127.0.0.1", to)).expect("the server");
                let both = [
                    (client.try_clone().expect("clone"), server.try_clone().expect("clone")),
                    (server, client),
                ];
                for (mut from, mut to) in both {
                    let bytes = bytes.clone();
                    thread::spawn(move || {
                        let mut buffer = [0; 16384];
                        while let Ok(length @ 1..) = from.read(&mut buffer) {
                            bytes.lock().expect("lock").extend_from_slice(&buffer[..length]);
                            if to.write_all(&buffer[..length]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        exit
    }
}

/// RFC 1928, without authentication.
fn socks(client: &mut TcpStream) -> Option<String> {
    let mut head = [0; 2];
    client.read_exact(&mut head).ok()?;
    let mut methods = vec![0; head[1].into()];
    client.read_exact(&mut methods).ok()?;
    client.write_all(&[5, 0]).ok()?;
    let mut request = [0; 5];
    client.read_exact(&mut request).ok()?;
    assert_eq!(request[..4], [5, 1, 0, 3], "CONNECT to a name, not to an address");
    let mut name = vec![0; usize::from(request[4]) + 2];
    client.read_exact(&mut name).ok()?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    let (name, port) = name.split_at(name.len() - 2);
    Some(format!("{}:{}", String::from_utf8_lossy(name), u16::from_be_bytes([port[0], port[1]])))
}

/// RFC 9110, 9.3.6.
fn connect(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    Some(String::from_utf8_lossy(&head).into_owned())
}

const ASK: &str = r#"{"model":"x","max_tokens":1,"messages":[{"role":"user","content":"hidden"}]}"#;

fn setup(authority: &Authority, exit: &Exit, scheme: &str, host: &str) -> Setup {
    Setup::new().keys(&format!("MODEL_KEY={KEY}\n")).config(&authority.trusted()).config(&format!(
        "[[price]]\nmodel = \"x\"\ninput = 0\noutput = 0\n\
         [[model]]\nname = \"m\"\napi = \"anthropic\"\nmodel = \"x\"\nkey = \"MODEL_KEY\"\nurl = \"{host}\"\nvia = \"{scheme}://127.0.0.1:{}\"\n",
        exit.port
    ))
}

fn server(authority: &Authority) -> Server {
    authority.server(&[NAME], |_| {})
}

#[test]
fn a_socks_proxy_learns_the_name_and_no_more() {
    let authority = Authority::new();
    let server = server(&authority);
    let exit = Exit::start(server.port, socks);
    let egress = setup(&authority, &exit, "socks5", &format!("https://{NAME}:4433")).start();
    let answer = egress.ask(ASK);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(*exit.asked.lock().expect("lock"), [format!("{NAME}:4433")]);
    assert!(server.seen()[0].contains(KEY));
    let bytes = exit.bytes.lock().expect("lock").clone();
    let seen = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!bytes.is_empty() && !seen.contains(KEY) && !seen.contains("hidden"));
    assert_eq!(egress.status().models[0].via, Some(format!("socks5://127.0.0.1:{}", exit.port)));
}

#[test]
fn a_connect_proxy_learns_the_name_and_no_more() {
    let authority = Authority::new();
    let server = server(&authority);
    let exit = Exit::start(server.port, connect);
    let egress = setup(&authority, &exit, "http", &format!("https://{NAME}")).start();
    assert_eq!(egress.ask(ASK).status, 200);
    let asked = exit.asked.lock().expect("lock")[0].clone();
    assert!(asked.starts_with(&format!("CONNECT {NAME}:443 HTTP/1.1\r\n")), "{asked}");
    let told: Vec<String> = asked
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase()))
        .filter(|name| name != "host" && name != "user-agent")
        .collect();
    assert_eq!(told, [""; 0], "nothing but host and the fixed user agent: {asked}");
    assert!(!asked.contains(KEY) && !asked.contains("x-api-key"));
}

#[test]
fn no_exit_sees_a_plain_request_and_none_leads_to_a_private_address() {
    let authority = Authority::new();
    let exit = Exit::start(server(&authority).port, socks);
    for (host, part) in [("http://192.168.1.1", "not https"), ("https://192.168.1.1", "private address")] {
        let text = setup(&authority, &exit, "socks5", host);
        if host.starts_with("http:") {
            let (_, said) = text.start_refused();
            assert!(said.contains("must be an https address"), "{said}");
        } else {
            let refusal = text.start().ask("{}").refused(RefusalKind::PrivateAddress);
            assert!(refusal.message.contains(part), "{refusal:?}");
        }
    }
    let plain = setup(&authority, &exit, "socks5", "http://127.0.0.1:1").config("private = true\n");
    let refusal = plain.start().ask("{}").refused(RefusalKind::NotAllowed);
    assert!(refusal.message.contains("an exit would see the key"), "{refusal:?}");
    assert!(exit.asked.lock().expect("lock").is_empty());
}

#[test]
fn a_proxy_that_is_down_is_no_way_around_it() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"], |_| {});
    let exit = Exit { port: 9, asked: Arc::default(), bytes: Arc::default() };
    let host = format!("https://localhost:{}", server.port);
    let egress = setup(&authority, &exit, "socks5", &host).config("private = true\n").start();
    egress.ask(ASK).refused(RefusalKind::Unreachable);
    assert_eq!(server.requests(), 0, "it is not reached directly instead");
}
