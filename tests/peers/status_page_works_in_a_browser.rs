//! The status page in Chromium, driven by chromedriver: the operator logs in, sees the figures, has a drill held; and a page of
//! another origin, in the same browser, gets nothing done.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use openclaw_tests::{
    gateway::{Gateway, PATIENCE, Setup, free_port},
    page::{Page, token},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

/// A browser window, over the protocol of <https://www.w3.org/TR/webdriver2/>.
struct Browser {
    port: u16,
    session: String,
    _driver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn start() -> Self {
        let (port, profile) = (free_port(), tempfile::tempdir().expect("a folder"));
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts (Debian: apt-get install chromium chromium-driver)");
        let folder = format!("--user-data-dir={}", profile.path().display());
        // Without its own sandbox: root, or a container, gives it none, and it opens pages of this test alone.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &folder];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" }, "goog:chromeOptions": { "args": arguments } } } });
        let mut browser = Self { port, session: String::new(), _driver: driver, _profile: profile };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < deadline, "chromedriver does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let made = browser.call("POST", "", &wanted).await;
        browser.session = format!("/{}", made["sessionId"].as_str().expect("a session"));
        browser
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let exchange = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("chromedriver answers");
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
            tokio::spawn(connection);
            let body = if method == "POST" { Bytes::from(body.to_string()) } else { Bytes::new() };
            let request = Request::builder()
                .method(method)
                .uri(format!("/session{}{path}", self.session))
                .header("host", "localhost")
                .header("content-type", "application/json")
                .body(Full::new(body))
                .expect("a request");
            let answer = sender.send_request(request).await.expect("an answer");
            let status = answer.status();
            let body = answer.into_body().collect().await.expect("a body").to_bytes();
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert!(status.is_success(), "{method} {path}: {}", body["value"]);
            body["value"].clone()
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("chromedriver answers in time")
    }

    async fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url })).await;
    }

    async fn script(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    async fn element(&self, css: &str) -> String {
        let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": css })).await;
        found.as_object().and_then(|found| found.values().next()?.as_str()).expect("an element").to_owned()
    }

    async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.call("POST", &format!("/element/{element}/click"), &json!({})).await;
    }

    async fn types(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text })).await;
    }

    /// What was said on the console since the last time.
    async fn console(&self) -> String {
        self.call("POST", "/se/log", &json!({ "type": "browser" })).await.to_string()
    }

    /// What a page's policy refuses is told to the console: our own asks for nothing that it refuses.
    async fn asked_for_nothing_forbidden(&self) {
        let log = self.console().await;
        assert!(!log.contains("Content Security Policy"), "{log}");
    }

    /// Waits until a script gives `true`.
    async fn until(&self, what: &str, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.script(script).await != true {
            let text = self.script("return document.body.innerText").await;
            assert!(Instant::now() < deadline, "{what}: {text}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn the_operator_logs_in_sees_the_figures_and_has_a_drill_held() {
    let mut setup = Setup::new();
    let page = Page::switch_on(&mut setup);
    let gateway = Gateway::start(setup).await;
    let token = token(&gateway, &[]).await;
    let browser = Browser::start().await;
    browser.open(&page.origin()).await;
    browser.types("#token", "wrong").await;
    browser.click("#login button").await;
    browser.until("a wrong token", "return document.body.innerText.includes('That is not the token')").await;
    browser.types("#token", &token).await;
    browser.click("#login button").await;
    browser.until("logged in", "return !!document.getElementById('drilled')").await;
    assert_eq!(browser.script("return document.cookie").await, "", "no script sees the cookie");
    assert!(browser.script("return location.href").await.as_str().is_some_and(|url| !url.contains(&token)));
    let text = browser.script("return document.body.innerText").await;
    let text = text.as_str().expect("text");
    for part in ["messages waiting", "of $5.00", "Checklist", "No drill was held yet", "runner: complete"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // The mark at four fifths stands where it belongs, and on a phone nothing is wider than the screen.
    let mark = "return getComputedStyle(document.querySelector('.bar'), '::after').left.replace('px', '') / \
                document.querySelector('.bar').clientWidth";
    assert!(browser.script(mark).await.as_f64().is_some_and(|at| (0.79..0.81).contains(&at)));
    browser.call("POST", "/window/rect", &json!({ "width": 400, "height": 900 })).await;
    let wide = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.script(wide).await, true);
    browser.call("POST", "/window/rect", &json!({ "width": 1100, "height": 1600 })).await;

    browser.asked_for_nothing_forbidden().await;
    another_page(&browser, page, &gateway).await;
    browser.open(&page.origin()).await;
    let _of_that_page = browser.console().await;
    browser.click("#drill").await;
    browser.until("a drill runs", "return !!document.querySelector('[data-busy]')").await;
    let held = "return document.getElementById('drilled').innerText.includes('the jail held')";
    browser.until("the drill", held).await;
    browser.click("#probes summary").await;
    let rows = browser.script("return document.querySelectorAll('#probes tbody tr').length").await;
    assert!(rows.as_u64().is_some_and(|rows| rows >= 60), "{rows} probes");
    assert!(gateway.status().await.last_drill.is_some_and(|drill| drill.failed == 0));

    let picture = browser.call("GET", "/screenshot", &json!({})).await;
    let picture = BASE64_STANDARD.decode(picture.as_str().expect("a picture")).expect("base64");
    let file = std::env::temp_dir().join("openclaw-status-page.png");
    std::fs::write(&file, picture).expect("write");
    println!("a picture of the page: {}", file.display());

    browser.click("#logout").await;
    browser.until("logged out", "return !!document.getElementById('login')").await;
    browser.asked_for_nothing_forbidden().await;
    assert!(!gateway.log().contains(&token), "a token in the log");
}

/// A page of another origin, opened by somebody who is logged in: it asks for a drill, in every way that a page can (incident
/// 36), and reads the status (incident 33).
async fn another_page(browser: &Browser, page: Page, gateway: &Gateway) {
    let at = page.origin();
    let html = format!(
        "<form id=f method=post action={at}/drill target=hidden></form><iframe name=hidden></iframe><script>\
         const out = (text) => {{ document.title += text + ' '; }};\
         fetch('{at}/', {{ credentials: 'include' }}).then((a) => a.text()).then(() => out('read'), () => out('unread'));\
         fetch('{at}/drill', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }}).then(() => out('sent'), () => out('sent'));\
         fetch('{at}/drill', {{ method: 'POST', credentials: 'include', headers: {{ 'X-Page': 'own' }} }})\
         .then(() => out('allowed'), () => out('refused'));\
         f.submit();</script>"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let port = listener.local_addr().expect("listens").port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _asked = stream.read(&mut head).await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{html}",
                html.len()
            );
            let _gone = stream.write_all(answer.as_bytes()).await;
        }
    });
    // Another site for the browser, and then the same site with another port.
    for host in ["localhost", "127.0.0.1"] {
        browser.open(&format!("http://{host}:{port}/")).await;
        let all = "const t = document.title; return t.includes('unread') && t.includes('sent') && t.includes('refused')";
        browser.until(host, all).await;
    }
    serving.abort();
    assert!(!gateway.log().contains("a drill is held"), "{}", gateway.log());
}
