//! Nothing leaves whose cost has no bound, and what an answer reports is what it costs, in both protocols.

use openclaw_wire::{egress::RefusalKind, money::Usd, spend::CHAT};
use serde_json::{Value, json};

use crate::{
    far::Far,
    passes_no_cap::{PRICE, body, report},
    program::Setup,
};

#[test]
fn a_model_without_a_price_is_refused_with_the_lines_that_mend_it() {
    // The same model at a private address costs nothing; nothing was asked about money.
    let far = Far::fixed(
        "200 OK",
        "content-type: application/json\r\n",
        r#"{"usage":{"input_tokens":3,"output_tokens":4}}"#,
    );
    let egress = Setup::model(&far.url()).start();
    assert_eq!(egress.ask("{}").status, 200);
    let free = report(&egress).today;
    assert_eq!(
        (free.total.calls, free.total.input, free.total.output, free.total.cost),
        (1, 3, 4, Usd::ZERO)
    );

    let model = "[[model]]\nname = \"m\"\napi = \"openai\"\nmodel = \"new-model\"\nurl = \"https://api.openai.com/v1\"\nprivate = true\n";
    let egress = Setup::new().config(model).start();
    assert!(
        egress.status().models[0].problem.as_deref().is_some_and(|problem| problem.contains("new-model"))
    );
    let refusal = egress.call("POST", "/r/model/m/chat/completions", "{}").refused(RefusalKind::NotPriced);
    let lines = "[[price]]\nmodel = \"new-model\"\nhost = \"api.openai.com\"\ninput = ";
    assert!(refusal.mend.contains(lines), "{}", refusal.mend);
}

#[test]
fn a_request_whose_cost_has_no_bound_stays_here() {
    let far = Far::fixed(
        "200 OK",
        "content-type: application/json\r\n",
        r#"{"usage":{"input_tokens":3,"output_tokens":4}}"#,
    );
    let egress = Setup::model(&far.url()).config(PRICE).start();
    assert_eq!(egress.ask(&String::from_utf8(body()).expect("text")).status, 200);
    let mut other: Value = serde_json::from_slice(&body()).expect("json");
    other["model"] = "claude-fable-5-2".into();
    egress.ask(&other.to_string()).refused(RefusalKind::NotAllowed);
    for (field, value) in [("speed", json!("fast")), ("tools", json!([{"type": "web_search_20250305"}]))] {
        let mut dear: Value = serde_json::from_slice(&body()).expect("json");
        dear[field] = value;
        egress.ask(&dear.to_string()).refused(RefusalKind::BadRequest);
    }
    let odd = [(CHAT, "a\"b")];
    egress.open().call("POST", "/r/model/m/v1/messages", &odd, &body()).refused(RefusalKind::BadRequest);
    assert_eq!(far.seen().len(), 1);
    assert_eq!(report(&egress).today.total.cost, Usd::nano(3 * 100 + 4 * 4_000));
}

#[test]
fn openai_s_protocol_is_settled_by_its_usage() {
    let events = concat!(
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":20,\"prompt_tokens_details\":{\"cached_tokens\":60}}}\n\n",
        "data: [DONE]\n\n"
    );
    let far = Far::fixed("200 OK", "content-type: text/event-stream\r\n", events);
    let model = format!(
        "[[model]]\nname = \"m\"\napi = \"openai\"\nmodel = \"x\"\nurl = \"{}/v1\"\nprivate = true\nmax_output = 77\n{PRICE}cache_read = 0.01\n",
        far.url()
    );
    let egress = Setup::new().config(&model).start();
    let ask = json!({"model": "x", "messages": [], "stream": true}).to_string();
    let answer = egress.call("POST", "/r/model/m/chat/completions", &ask);
    assert_eq!((answer.status, answer.text()), (200, events), "it arrives as it was sent");
    let seen: Value = serde_json::from_slice(&far.seen()[0].body).expect("json");
    assert_eq!(seen["max_tokens"], 77, "an answer without a bound has the route's");
    let used = report(&egress).today.total;
    assert_eq!(used.cost, Usd::nano(40 * 100 + 60 * 10 + 20 * 4_000));
    assert_eq!((used.input, used.cached, used.output), (100, 60, 20));
}

#[test]
fn when_the_gateway_leaves_what_is_not_known_counts_with_its_most() {
    let begin = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10}}}\n\n";
    let (gone, wait) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let far = Far::start(move |_, to| {
        use std::io::{Read, Write};
        let _ = to.write_all(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n",
        );
        crate::far::chunk(to, begin.as_bytes());
        let _ = to.read_to_end(&mut Vec::new());
        let _ = gone.lock().expect("lock").send(());
    });
    let egress = Setup::model(&far.url()).config(PRICE).start();
    let mut connection = egress.open();
    connection.request("POST", "/r/model/m/v1/messages", &[], &body());
    connection.head();
    connection.chunk();
    drop(connection);
    wait.recv().expect("the provider was left");
    let used = report(&egress).today.total;
    assert_eq!((used.calls, used.cut, used.cost), (1, 1, Usd::nano(10 * 100 + 500 * 4_000)));
}

#[test]
fn the_key_that_is_used_pays_and_one_at_its_limit_is_passed_over() {
    let far = Far::start(|seen, to| match seen.header("x-api-key") {
        Some(key) if key.contains("busy") => crate::far::reply(to, "429 Too Many Requests", "", b"{}"),
        _ => {
            let body = br#"{"usage":{"input_tokens":3,"output_tokens":4}}"#;
            crate::far::reply(to, "200 OK", "content-type: application/json\r\n", body);
        }
    });
    let cap = "[[cap]]\nkey = \"EMPTY\"\nday = 0\n";
    let model = format!(
        "[[model]]\nname = \"m\"\napi = \"anthropic\"\nmodel = \"x\"\nurl = \"{}\"\nprivate = true\nkey = \"EMPTY\"\nspare_keys = [\"BUSY\", \"GOOD\"]\n{PRICE}{cap}",
        far.url()
    );
    let keys = "EMPTY=test-key-not-real-empty\nBUSY=test-key-not-real-busy\nGOOD=test-key-not-real-good\n";
    let egress = Setup::new().config(&model).keys(keys).start();
    let ask = String::from_utf8(body()).expect("text");
    assert_eq!(egress.ask(&ask).status, 200);
    assert_eq!(far.seen().len(), 2, "nothing went out with the key at its limit");
    let report = report(&egress);
    let of = |key: &str| report.today.lines.iter().find(|line| line.key == key).map(|line| line.used);
    assert_eq!(of("EMPTY"), None);
    assert_eq!(of("BUSY").map(|used| (used.failed, used.cost)), Some((1, Usd::ZERO)));
    assert_eq!(of("GOOD").map(|used| (used.failed, used.cost)), Some((0, Usd::nano(3 * 100 + 4 * 4_000))));
}
