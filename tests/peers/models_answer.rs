//! Model servers that nobody here wrote: a mock of the vendors' APIs, one that breaks streams on purpose, and a real
//! small language model.

use std::process::Stdio;

use openclaw_tests::{
    gateway::{Gateway, Setup, TOKEN, free_port},
    http, peers,
    telegram::{Account, Person, Telegram},
    world::OWNER,
};
use openclaw_wire::config::Updates;
use tokio::process::{Child, Command};

struct Peer {
    _child: Child,
    port: u16,
}

impl Peer {
    async fn start(mut command: Command, port: u16) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("the peer starts");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the peer ended: {status}");
            }
            assert!(std::time::Instant::now() < deadline, "the peer does not listen");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Self { _child: child, port }
    }
}

async fn talk_to(api: &str, url: &str) -> (Telegram, Gateway, Account, Person) {
    let telegram = Telegram::start().await;
    let mut setup = Setup::new();
    setup.model_at(api, url, Some("peer-key-not-real"));
    let bot = setup.bot(&telegram, "main", TOKEN, Updates::Poll);
    setup.section("access", &format!("owners = [{OWNER}]"));
    setup.file("documents/notes.txt", b"the cellar key is under the blue pot");
    let gateway = Gateway::start(setup).await;
    let anna = bot.person(OWNER, "Anna");
    (telegram, gateway, bot, anna)
}

/// `@copilotkit/aimock` over both protocols, with a tool call.
#[tokio::test]
async fn a_mock_of_the_vendors_over_both_protocols() {
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(peers::path("node_modules/@copilotkit/aimock/dist/cli.js"));
    command.args(["-p", &port.to_string(), "-f"]).arg(peers::driver("aimock.json"));
    let peer = Peer::start(command, port).await;
    for (api, path) in [("anthropic", ""), ("openai", "/v1")] {
        let (_telegram, gateway, _bot, anna) =
            talk_to(api, &format!("http://127.0.0.1:{}{path}", peer.port)).await;
        anna.says("what is the capital of France?");
        assert_eq!(anna.hears().await.text, "Paris, says the mock.", "{api}: {}", gateway.log());
        anna.says("please look into my documents");
        assert_eq!(anna.hears().await.text, "I have looked, says the mock.", "{api}");
    }
}

/// `llmock` cuts, stalls and garbles streams and answers 429; it judges the client itself.
#[tokio::test]
async fn a_mock_that_breaks_streams() {
    let port = free_port();
    let mut command = Command::new(peers::path("venv/bin/llmock"));
    command.args([
        "serve",
        "--port",
        &port.to_string(),
        "--error-rate",
        "429=0.3",
        "--stream-fault",
        "disconnect=0.2",
    ]);
    let peer = Peer::start(command, port).await;
    let (_telegram, gateway, _bot, anna) =
        talk_to("openai", &format!("http://127.0.0.1:{}/v1", peer.port)).await;
    for n in 0..10 {
        anna.says(&format!("question {n}"));
        let answer = anna.hears().await;
        assert!(!answer.text.is_empty(), "{}", gateway.log());
    }
    let mut report = Command::new(peers::path("venv/bin/llmock"));
    report.args(["report", "--url", &format!("http://127.0.0.1:{}", peer.port)]);
    let verdict = report.output().await.expect("llmock starts");
    assert!(verdict.status.success(), "its verdict on us: {}", String::from_utf8_lossy(&verdict.stdout));
}

/// SmolLM2 in llama.cpp's own server answers a real question, over both protocols that it speaks.
#[tokio::test]
async fn a_real_local_model_answers() {
    let port = free_port();
    let mut command = Command::new(peers::path("venv/bin/python"));
    command.arg(peers::driver("llm_server.py")).arg(port.to_string());
    let peer = Peer::start(command, port).await;
    // It listens before its model is loaded.
    while http::exchange(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for (api, path) in [("openai", "/v1"), ("anthropic", "")] {
        let (_telegram, gateway, _bot, anna) =
            talk_to(api, &format!("http://127.0.0.1:{}{path}", peer.port)).await;
        anna.says("What is the capital of France? Answer with one word.");
        let answer = anna.hears().await;
        assert!(answer.text.contains("Paris"), "{api}: {}\n{}", answer.text, gateway.log());
    }
}
