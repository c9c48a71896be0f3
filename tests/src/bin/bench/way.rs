//! What a skill's way out costs: the same small request to the same server over connections that stand already, turn and
//! turn about directly and through egress; and from inside a jail, where the proxy on its loopback comes on top.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use openclaw_tests::broker::{Far, Setup};
use openclaw_wire::{egress::Redeemed, frame, pass, way};
use serde::Serialize;
use serde_json::json;

use crate::middle;

/// Milliseconds of one exchange, p50.
#[derive(Debug, Serialize)]
pub struct Way {
    /// To the server itself.
    pub direct: f64,
    /// Through egress, over the socket that a jail inherits.
    pub brokered: f64,
    /// Through egress, by an HTTP client in a jail.
    pub jailed: f64,
}

/// Requests of one call: egress allows 512.
const ONE_CALL: usize = 500;

/// Measures so many of each.
pub fn measure(count: usize) -> anyhow::Result<Way> {
    let far = Far::plain(Far::says("an answer of a few bytes"));
    let hosts = "hosts = [{ host = \"far.internal\", port = 80 }]";
    let broker = Setup::new().private("far", &far).skill("bench", hosts).start();
    broker.approve("bench");
    let (mut direct, mut brokered, mut jailed) = (Vec::new(), Vec::new(), Vec::new());
    for part in 0..count.div_ceil(ONE_CALL) {
        let id = format!("bench-{part}");
        broker.open(&id, "bench", &broker.digest("bench"), &[]);
        let stream = broker.runner(&json!({ "call": id }));
        let Some(Redeemed::Open { .. }) = frame::read(&stream)? else { bail!("egress opened no way out") };
        let end = pass::receive(&stream)?;
        let near = way::open(&end)?;
        let straight = TcpStream::connect(("127.0.0.1", far.port()))?;
        straight.set_nodelay(true)?;
        let (mut near, mut straight) = (BufReader::new(near), BufReader::new(straight));
        for round in 0..ONE_CALL {
            let took = [exchange(&mut straight, "/")?, exchange(&mut near, "http://far.internal:80/")?];
            // The first opens egress's own connection.
            if round > 0 {
                direct.push(took[0]);
                brokered.push(took[1]);
            }
        }
        broker.close(&id);
        let many = json!({ "act": "many", "url": "http://far.internal:80/", "count": ONE_CALL });
        let (said, _) = broker.ok("bench", many);
        let times = said.as_array().context("times")?.iter().skip(1);
        jailed.extend(times.filter_map(|time| Some(time.as_f64()? / 1e3)));
    }
    Ok(Way { direct: middle(direct), brokered: middle(brokered), jailed: middle(jailed) })
}

/// Milliseconds of one request and its whole answer.
fn exchange<S: Read + Write>(stream: &mut BufReader<S>, target: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    stream
        .get_mut()
        .write_all(format!("GET {target} HTTP/1.1\r\nhost: far.internal:80\r\n\r\n").as_bytes())?;
    let (mut length, mut line) = (0, String::new());
    stream.read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200"), "{line}");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
