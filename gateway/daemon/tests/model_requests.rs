//! Every shape of request that the model stage sends, gathered from real exchanges and left in the target folder as
//! `model-requests.json`, where `tests/peers/sdk_types.py` lets the providers' own SDKs judge them.

mod stand_in;

use std::sync::{Arc, Mutex};

use openclaw::{
    egress::Egress,
    model::{
        Models,
        message::{Content, Invalid, Part, Prompt, Source, ToolCall, ToolChoice, ToolResult, ToolSpec, Turn},
    },
};
use openclaw_wire::config::Api;
use serde_json::{Value, json};
use stand_in::StandIn;
use tokio_util::sync::CancellationToken;

fn call(id: &str, wire_id: Option<&str>, name: &str, arguments: Value) -> ToolCall {
    ToolCall {
        id: id.into(),
        wire_id: wire_id.map(Into::into),
        name: name.into(),
        arguments,
        invalid: None,
        extra: None,
    }
}

fn result(call_id: &str, content: Vec<Content>, is_error: bool) -> ToolResult {
    ToolResult { call_id: call_id.into(), content, is_error }
}

fn prompts(api: Api) -> Vec<Prompt> {
    let source = Source { route: "main".parse().expect("a name"), api, model: "m-1".into() };
    let tools = vec![
        ToolSpec {
            name: "read_document".into(),
            description: "Reads a document".into(),
            schema: json!({
                "type": "object",
                "properties": {"path": {"type": "string"}, "pages": {"type": "array", "items": {"type": "integer"}}},
                "required": ["path"],
                "additionalProperties": false,
            }),
        },
        ToolSpec { name: "list".into(), description: "Lists".into(), schema: json!({"type": "object"}) },
    ];
    let image = Content::Image { mime: "image/png".into(), bytes: vec![137, 80, 78, 71] };
    let pdf =
        Content::Document { mime: "application/pdf".into(), name: "a.pdf".into(), bytes: b"%PDF".to_vec() };
    let csv = Content::Document { mime: "text/csv".into(), name: "a.csv".into(), bytes: b"1,2".to_vec() };
    let odd = Content::Image { mime: "image/tiff".into(), bytes: vec![1] };
    let cut = ToolCall {
        invalid: Some(Invalid { reason: "cut".into(), raw: "{\"path\": \"a".into() }),
        ..call("ccccccccc", None, "no such tool!", json!({}))
    };
    let opaque = match api {
        Api::Anthropic => Part::Opaque { value: json!({"type": "redacted_thinking", "data": "x"}) },
        _ => Part::Thinking { text: "hm".into(), opaque: None },
    };
    let signature = (api == Api::Anthropic).then(|| "c2lnbmF0dXJl".to_owned());
    let assistant = |parts| Turn::Assistant { source: Some(source.clone()), parts };
    let text = |text: &str| Part::Text { text: text.into() };
    let long = vec![
        Turn::User { content: vec![Content::text("see"), image.clone(), pdf.clone(), csv, odd] },
        assistant(vec![
            Part::Thinking { text: "hm".into(), opaque: signature },
            opaque,
            text("I look."),
            Part::ToolCall(call(
                "aaaaaaaaa",
                Some("toolu_1"),
                "read_document",
                json!({"path": "a", "pages": [1, 2]}),
            )),
            Part::ToolCall(call("bbbbbbbbb", None, "list", json!({}))),
            Part::ToolCall(cut),
        ]),
        Turn::ToolResults {
            results: vec![
                result("aaaaaaaaa", vec![Content::text("page 1"), image, pdf], false),
                result("bbbbbbbbb", vec![], false),
                result("ccccccccc", vec![Content::text("The arguments are not valid JSON.")], true),
            ],
        },
        Turn::user("and then?"),
        assistant(vec![Part::Refusal { text: "I won't.".into() }]),
        Turn::user("why?"),
    ];
    let open =
        vec![Turn::user("go"), assistant(vec![Part::ToolCall(call("ddddddddd", None, "list", json!({})))])];
    let base = Prompt { system: "Be brief.".into(), tools, max_output: 500, ..Prompt::default() };
    vec![
        Prompt { turns: vec![Turn::user("hello")], ..base.clone() },
        Prompt { turns: vec![Turn::user("hello")], tools: vec![], system: String::new(), ..base.clone() },
        Prompt { turns: long.clone(), ..base.clone() },
        Prompt { turns: long[..3].to_vec(), tool_choice: ToolChoice::None, ..base.clone() },
        Prompt { turns: long[..3].to_vec(), tools: vec![], ..base.clone() },
        Prompt { turns: open, tool_choice: ToolChoice::Required, ..base },
    ]
}

async fn bodies(api: Api, name: &str) -> Vec<Value> {
    let route =
        json!([{"name": "main", "api": name, "model": "m-1", "max_output": 400, "host": "api.example"}]);
    let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = seen.clone();
    let (_far, door) = StandIn::start(route, move |_, request| {
        kept.lock().expect("bodies").push(request.body.clone());
        stand_in::answer(400, "", &json!({"error": {"type": "invalid_request_error"}}))
    });
    let models = Models::new(Egress::new(door));
    let prompts = prompts(api);
    for prompt in &prompts {
        models.ask(prompt, None, &CancellationToken::new(), &mut |_| ()).await.expect_err("refused");
    }
    let bodies = std::mem::take(&mut *seen.lock().expect("bodies"));
    assert_eq!(bodies.len(), prompts.len());
    bodies
}

/// Incident 121: only tools of ours, with a schema of ours, whatever the conversation holds.
#[tokio::test]
async fn every_request_is_gathered_and_none_holds_a_tool_that_the_provider_runs() {
    let anthropic = bodies(Api::Anthropic, "anthropic").await;
    let openai = bodies(Api::Openai, "openai").await;
    for body in anthropic.iter().chain(&openai) {
        let mut names = Vec::new();
        for tool in body["tools"].as_array().into_iter().flatten() {
            let function = if tool["function"].is_object() { &tool["function"] } else { tool };
            assert!(function["input_schema"].is_object() || function["parameters"].is_object(), "{tool}");
            assert!(tool["type"].is_null() || tool["type"] == "function", "{tool}");
            names.push(function["name"].as_str().expect("a name").to_owned());
        }
        assert!(names.iter().all(|name| ["read_document", "list", "no_such_tool_"].contains(&name.as_str())));
        let keys: Vec<&String> = body.as_object().expect("an object").keys().collect();
        for key in keys {
            let known = [
                "model",
                "max_tokens",
                "messages",
                "stream",
                "system",
                "tools",
                "tool_choice",
                "stream_options",
            ];
            assert!(known.contains(&key.as_str()), "{key}");
        }
    }
    let all = json!({"anthropic": anthropic, "openai": openai}).to_string();
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/model-requests.json"), all).expect("written");
}
