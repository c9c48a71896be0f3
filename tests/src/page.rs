//! The operator's status page: a setup that has one, and a client that sends what a test says, from the address that it says.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{io::AsyncWriteExt, net::TcpSocket};

use crate::{
    gateway::{Gateway, Setup, free_port},
    http::{self, Answer},
};

/// Where the page of a test is.
#[derive(Debug, Clone, Copy)]
pub struct Page(pub u16);

impl Page {
    /// Switches it on, on a free port of loopback.
    pub fn switch_on(setup: &mut Setup) -> Self {
        let port = free_port();
        setup.section("admin", &format!("listen = \"127.0.0.1:{port}\""));
        Self(port)
    }

    /// Its origin.
    pub fn origin(self) -> String {
        format!("http://127.0.0.1:{}", self.0)
    }

    /// A request with these headers besides `Host`, and this body.
    pub async fn ask(self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.ask_from(Ipv4Addr::LOCALHOST, method, path, headers, body).await
    }

    /// The same from another address of loopback.
    pub async fn ask_from(
        self,
        from: Ipv4Addr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((from, 0))).expect("an address of loopback");
        let to = SocketAddr::from(([127, 0, 0, 1], self.0));
        let mut stream = socket.connect(to).await.expect("the page accepts connections");
        let host = match headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            true => String::new(),
            false => format!("Host: 127.0.0.1:{}\r\n", self.0),
        };
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let text = format!("{method} {path} HTTP/1.1\r\n{host}{lines}Content-Length: {length}\r\n\r\n{body}");
        // It may answer and close before everything is sent.
        let _early = stream.write_all(text.as_bytes()).await;
        http::read(&mut stream).await
    }

    /// What the page's own script sends.
    pub async fn post(self, path: &str, cookie: &str, body: &str) -> Answer {
        let origin = self.origin();
        let headers = [("X-Page", "own"), ("Origin", origin.as_str()), ("Cookie", cookie)];
        self.ask("POST", path, &headers, body).await
    }

    /// Logs in; the cookie, as a browser sends it back.
    pub async fn log_in(self, token: &str) -> Option<String> {
        let answer = self.post("/login", "", token).await;
        if answer.status != 204 {
            return None;
        }
        let set = header(&answer, "set-cookie")?;
        Some(set.split(';').next()?.to_owned())
    }

    /// The page of whoever has this cookie.
    pub async fn look(self, cookie: &str) -> Answer {
        self.ask("GET", "/", &[("Cookie", cookie)], "").await
    }
}

/// A header of an answer.
pub fn header(answer: &Answer, name: &str) -> Option<String> {
    answer.head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// `openclaw admin token`.
pub async fn token(gateway: &Gateway, more: &[&str]) -> String {
    let said = gateway.ask(&[&["admin", "token", "--json"], more].concat()).await;
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    said["token"].as_str().expect("a token").to_owned()
}
