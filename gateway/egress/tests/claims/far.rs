//! The far end: an HTTP/1.1 server on loopback that keeps every request as it came over the wire.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// A running far end.
pub struct Far {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<Open>,
}

/// How many connections are open now, and were at most.
#[derive(Default)]
struct Open {
    now_and_most: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Open {
    fn opened(&self) {
        let mut count = self.now_and_most.lock().expect("lock");
        *count = (count.0 + 1, count.1.max(count.0 + 1));
    }

    fn closed(&self) {
        self.now_and_most.lock().expect("lock").0 -= 1;
        self.changed.notify_all();
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Request line and headers, as they were.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().expect("a request line")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.clone().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Far {
    /// Answers each request by writing to the connection.
    pub fn start(answer: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer)
    }

    /// The same at this address; port 0 is any.
    pub fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let port = listener.local_addr().expect("address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (seen.clone(), Arc::new(answer));
        let open = Arc::new(Open::default());
        let counted = open.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, answer, open) = (kept.clone(), answer.clone(), counted.clone());
                open.opened();
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.expect("a connection"));
                    while let Some(request) = read(&mut reader) {
                        kept.lock().expect("lock").push(request.clone());
                        answer(&request, reader.get_mut());
                    }
                    open.closed();
                });
            }
        });
        Self { port, seen, open }
    }

    /// Answers everything with this status, these header lines (each with `\r\n`) and this body.
    pub fn fixed(status: &'static str, headers: &'static str, body: &'static str) -> Self {
        Self::start(move |_, to| reply(to, status, headers, body.as_bytes()))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.open.now_and_most.lock().expect("lock").1
    }

    /// Waits until the number of open connections is as wanted.
    pub fn wait_until_open(&self, wanted: impl Fn(usize) -> bool) {
        let count = self.open.now_and_most.lock().expect("lock");
        drop(self.open.changed.wait_while(count, |count| !wanted(count.0)).expect("lock"));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("lock").clone()
    }
}

/// Writes a whole answer.
pub fn reply(to: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    let _ = to.write_all(&[head.as_bytes(), body].concat());
}

/// Writes one chunk; an empty one is the end.
pub fn chunk(to: &mut TcpStream, data: &[u8]) {
    let _ = to.write_all(&[format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat());
}

fn read(from: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut seen = Seen { head, body: Vec::new() };
    if seen.header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            let mut data = vec![0; usize::from_str_radix(line.trim(), 16).ok()? + 2];
            from.read_exact(&mut data).ok()?;
            data.truncate(data.len() - 2);
            if data.is_empty() {
                return Some(seen);
            }
            seen.body.extend(data);
        }
    }
    let length = seen.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    seen.body.resize(length, 0);
    from.read_exact(&mut seen.body).ok()?;
    Some(seen)
}
