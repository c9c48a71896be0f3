//! The vendors' own SDKs, pointed at egress as their base URL, work unchanged: whole answers, streams, tools, errors. What
//! they say of keys is dropped, and the real key is added.

use std::{os::unix::net::UnixListener, process::Stdio};

use openclaw_confine::spawn::{Child, Start};
use openclaw_tests::{
    gateway::dist,
    model::{Act, Model, Step},
    peers,
};
use openclaw_wire::{
    door::{self, Door},
    facts::FACTS,
};
use serde_json::json;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    process::Command,
};

const KEY: &str = "the-real-key-not-real";

/// Egress alone, and a port that leads to its door.
struct Egress {
    child: Child,
    port: u16,
    _state: tempfile::TempDir,
}

impl Egress {
    async fn start(model: &Model) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let folder = state.path().join(&FACTS.state.egress);
        std::fs::create_dir(&folder).expect("a folder");
        let table = |name: &str, api: &str, path: &str| {
            format!(
                "[[model]]\nname = \"{name}\"\napi = \"{api}\"\nmodel = \"m\"\nkey = \"K\"\nurl = \"{}{path}\"\nprivate = true\n",
                model.url()
            )
        };
        let config = state.path().join("openclaw.toml");
        std::fs::write(&config, table("a", "anthropic", "") + &table("o", "openai", "/v1")).expect("written");
        let (ours, theirs) = door::pair().expect("a pair");
        let (pipe, mut keys) = std::io::pipe().expect("a pipe");
        std::io::Write::write_all(&mut keys, format!("K={KEY}\n").as_bytes()).expect("keys");
        drop(keys);
        let operator = UnixListener::bind(folder.join("operator.sock")).expect("a socket");
        let child = Start::new(dist().join("bin").join(&FACTS.programs.egress))
            .arg("--config")
            .arg(&config)
            .arg("--state")
            .arg(state.path())
            .fd("gateway", theirs)
            .fd("operator", operator.into())
            .fd("keys", pipe.into())
            .spawn()
            .expect("egress starts");
        let door = Door::Pair(ours);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let stream = door.open().expect("egress accepts");
                stream.set_nonblocking(true).expect("set");
                let mut egress = UnixStream::from_std(stream).expect("a stream");
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut egress).await });
            }
        });
        Self { child, port, _state: state }
    }

    fn url(&self, model: &str) -> String {
        format!("http://127.0.0.1:{}/r/model/{model}", self.port)
    }
}

impl Drop for Egress {
    fn drop(&mut self) {
        let _ = self.child.signal(rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

async fn speaks(mut sdk: Command) {
    let model = Model::start().await;
    model.keys(&[KEY]);
    model.on("#call", [Step::call("look", json!({"at": "ünder"}))]);
    model.on("#busy", [Step::say("never").after([Act::Status(529, "overloaded_error", Some(7))])]);
    let egress = Egress::start(&model).await;
    let run = sdk.args([egress.url("a"), egress.url("o")]).stdin(Stdio::null()).output();
    let done = run.await.expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&done.stdout).expect("the driver prints JSON");
    assert_eq!(
        seen,
        json!({
            "anthropic_stream": [{"at": "ünder"}], "anthropic_stop": "tool_use", "anthropic_whole": "You said: plain",
            "anthropic_error": [529, "7"], "openai_stream": [{"at": "ünder"}, "tool_calls", true],
            "openai_whole": "You said: plain"
        })
    );
    for request in model.requests() {
        assert_eq!(request.key, KEY, "the SDK's own key was dropped");
        let identifying = |name: &String| name.starts_with("x-stainless") || name == "cookie";
        assert!(!request.headers.keys().any(identifying), "{:?}", request.headers);
        assert_eq!(request.headers["user-agent"], "openclaw");
    }
}

#[tokio::test]
async fn those_for_python() {
    let mut python = Command::new(peers::path("venv/bin/python"));
    python.arg(peers::driver("sdk_stream.py"));
    speaks(python).await;
}

#[tokio::test]
async fn those_for_javascript() {
    let modules = peers::path("node_modules/@anthropic-ai/sdk");
    let modules = modules.ancestors().nth(3).expect("the folder of node_modules");
    let mut node = Command::new("node");
    node.arg(peers::driver("sdk_stream.mjs")).arg(modules);
    speaks(node).await;
}
