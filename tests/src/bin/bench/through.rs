//! What egress adds to a request for a model: the same request to the same server, turn and turn about directly and
//! through egress, with the key, the masks and the ledger at work, over connections that stand already on both sides.

use std::time::Instant;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use openclaw_tests::broker::{Broker, Setup};
use serde::Serialize;
use serde_json::json;
use tokio::net::UnixStream;

use crate::{
    middle,
    program::cpu,
    upstream::{Client, Upstream, Wanted},
};

/// Bytes of text in a request: a conversation of some messages.
const PROMPT: usize = 4_000;

/// What was measured over one protocol.
#[derive(Debug, Serialize)]
pub struct Through {
    /// Of the server.
    pub protocol: &'static str,
    /// Milliseconds of a request and its answer in one piece, p50.
    pub whole: Pair,
    /// Milliseconds of CPU time that egress takes for one.
    pub cpu: f64,
    /// Milliseconds of a streamed answer with an event in each millisecond, p50.
    pub paced: Pair,
    /// The same as fast as the server can.
    pub fast: Pair,
}

/// The same without and with egress.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pair {
    /// To the server itself.
    pub direct: f64,
    /// Through egress.
    pub through: f64,
}

/// Measures so many requests and so many streams of each kind.
pub fn measure(requests: usize, streams: usize) -> anyhow::Result<Vec<Through>> {
    let setup = Setup::new();
    let roots = setup.path("upstream-ca.pem");
    let (clear, tls) = (Upstream::clear()?, Upstream::tls(&roots)?);
    let model = |name: &str, url: String| {
        format!(
            "[[model]]\nname = \"{name}\"\napi = \"anthropic\"\nmodel = \"m\"\nkey = \"MODEL\"\nurl = \"{url}\"\nprivate = true\n"
        )
    };
    let broker = setup
        .config(&format!("[network]\nextra_roots = \"{}\"\n", roots.display()))
        .config(&model("clear", format!("http://127.0.0.1:{}", clear.port)))
        .config(&model("tls", format!("https://localhost:{}", tls.port)))
        .config("[[price]]\nmodel = \"m\"\ninput = 0.000001\noutput = 0.000001\n")
        .key("MODEL", "test-model-key-not-real")
        .start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut all = Vec::new();
        for (name, protocol, upstream) in [("clear", "HTTP/1.1", &clear), ("tls", "HTTP/2 and TLS", &tls)] {
            all.push(one(&broker, name, protocol, upstream, requests, streams).await?);
        }
        Ok(all)
    })
}

async fn one(
    broker: &Broker,
    name: &str,
    protocol: &'static str,
    upstream: &Upstream,
    requests: usize,
    streams: usize,
) -> anyhow::Result<Through> {
    let body: Bytes = json!({
        "model": "m", "max_tokens": 1024, "stream": true,
        "messages": [{"role": "user", "content": "x".repeat(PROMPT)}]
    })
    .to_string()
    .into();
    let door = broker.door();
    door.set_nonblocking(true)?;
    let door = TokioIo::new(UnixStream::from_std(door)?);
    let mut both = [upstream.connect().await?, Client::one(door, &format!("/r/model/{name}")).await?];
    let whole = pair(&mut both, Wanted::Whole, &body, requests).await?;
    let before = cpu(broker.egress())?;
    for _ in 0..requests {
        both[1].ask(Wanted::Whole, &body).await?;
    }
    let cpu = (cpu(broker.egress())? - before).as_secs_f64() * 1e3 / requests as f64;
    let paced = pair(&mut both, Wanted::Paced, &body, streams).await?;
    let fast = pair(&mut both, Wanted::Fast, &body, 10 * streams).await?;
    Ok(Through { protocol, whole, cpu, paced, fast })
}

/// So many of each, each first in turn. The first of each opens what has to be opened, and does not count.
async fn pair(both: &mut [Client; 2], wanted: Wanted, body: &Bytes, count: usize) -> anyhow::Result<Pair> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=count {
        let mut lengths = [0; 2];
        for at in [round % 2, 1 - round % 2] {
            let begun = Instant::now();
            lengths[at] = both[at].ask(wanted, body).await?;
            if round > 0 {
                times[at].push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
        anyhow::ensure!(lengths[0] == lengths[1], "{wanted:?}: {lengths:?} bytes came");
    }
    let [direct, through] = times.map(middle);
    Ok(Pair { direct, through })
}
