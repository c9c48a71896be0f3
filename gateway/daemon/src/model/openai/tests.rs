use openclaw_wire::config::Api;
use serde_json::{Value, json};

use super::{Dialect, Stream, request};
use crate::model::{
    fault::Kind,
    message::{Content, Part, Prompt, Source, Stop, ToolCall, ToolChoice, ToolResult, ToolSpec, Turn, Usage},
    pairs::{
        calls,
        tests::{assistant, call, results},
    },
    wire::tests::{read, route},
};

fn stream(chunks: &[Value]) -> String {
    let lines: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    lines + "data: [DONE]\n\n"
}

fn delta(delta: Value) -> Value {
    json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn fragment(fragment: Value) -> Value {
    delta(json!({"tool_calls": [fragment]}))
}

/// Wire id, name and arguments of each call.
fn called(chunks: &[Value]) -> Vec<(Option<String>, String, Value)> {
    let (_, answer) = read(Stream::default(), &stream(chunks));
    let (parts, stop, _) = answer.expect("an answer");
    assert_eq!(stop, Stop::ToolCalls);
    calls(&parts).map(|call| (call.wire_id.clone(), call.name.clone(), call.arguments.clone())).collect()
}

fn expect(id: &str, name: &str, arguments: Value) -> (Option<String>, String, Value) {
    (Some(id.to_owned()).filter(|id| !id.is_empty()), name.to_owned(), arguments)
}

#[test]
fn text_usage_and_reasoning() {
    let chunks = [
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": null, "reasoning_content": "hm"})),
        delta(json!({"content": "Hel"})),
        delta(json!({"content": "lo"})),
        finish("stop"),
        json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 8}}}),
    ];
    let (shown, answer) = read(Stream::default(), &stream(&chunks));
    assert_eq!(shown, ["(thinking)", "Hel", "lo"]);
    let (parts, stop, usage) = answer.expect("an answer");
    let thought = Part::Thinking { text: "hm".into(), opaque: Some("reasoning_content".into()) };
    assert_eq!((parts, stop), (vec![thought, Part::Text { text: "Hello".into() }], Stop::End));
    let expected =
        Usage { input: 30, cache_read: 60, cache_write: 10, output: 20, reasoning: 8, estimated: false };
    assert_eq!(usage, expected);
}

#[test]
fn parallel_calls_in_every_shape_that_servers_send() {
    let paris = || json!({"city": "Paris"});
    // OpenAI: numbered, arguments in fragments, interleaved.
    let official = [
        fragment(
            json!({"index": 0, "id": "call_a", "type": "function", "function": {"name": "w", "arguments": ""}}),
        ),
        fragment(json!({"index": 0, "function": {"arguments": "{\"city\":"}})),
        fragment(
            json!({"index": 1, "id": "call_b", "type": "function", "function": {"name": "c", "arguments": ""}}),
        ),
        fragment(json!({"index": 1, "function": {"arguments": "{}"}})),
        fragment(json!({"index": 0, "function": {"arguments": "\"Paris\"}"}})),
        finish("tool_calls"),
    ];
    assert_eq!(called(&official), [expect("call_a", "w", paris()), expect("call_b", "c", json!({}))]);
    // All numbered 0, each whole, with its own id; the reason says "stop".
    let all_zero = [
        fragment(
            json!({"index": 0, "id": "a", "function": {"name": "w", "arguments": "{\"city\":\"Paris\"}"}}),
        ),
        fragment(json!({"index": 0, "id": "b", "function": {"name": "w", "arguments": "{}"}})),
        finish("stop"),
    ];
    assert_eq!(called(&all_zero), [expect("a", "w", paris()), expect("b", "w", json!({}))]);
    // No number and no id; arguments as an object (Ollama's way).
    let bare = [
        delta(json!({"tool_calls": [
            {"function": {"name": "w", "arguments": paris()}}, {"function": {"name": "c", "arguments": {}}},
        ]})),
        finish("stop"),
    ];
    assert_eq!(called(&bare), [expect("", "w", paris()), expect("", "c", json!({}))]);
    // No number; ids repeated in each fragment.
    let repeated = [
        fragment(json!({"id": "a", "function": {"name": "w", "arguments": "{\"city\":"}})),
        fragment(json!({"id": "a", "function": {"arguments": "\"Paris\"}"}})),
        fragment(json!({"id": "b", "function": {"name": "c"}})),
        finish("tool_calls"),
    ];
    assert_eq!(called(&repeated), [expect("a", "w", paris()), expect("b", "c", json!({}))]);
    // Another id in each fragment of the same number.
    let fickle = [
        fragment(json!({"index": 0, "id": "x1", "function": {"name": "w", "arguments": "{\"city\":"}})),
        fragment(json!({"index": 0, "id": "x2", "function": {"name": null, "arguments": "\"Paris\"}"}})),
        finish("tool_calls"),
    ];
    assert_eq!(called(&fickle), [expect("x1", "w", paris())]);
    // No number and no id, in fragments.
    let nameless = [
        fragment(json!({"function": {"name": "w", "arguments": "{\"city\":"}})),
        fragment(json!({"function": {"arguments": "\"Paris\"}"}})),
        finish("tool_calls"),
    ];
    assert_eq!(called(&nameless), [expect("", "w", paris())]);
    // The retired form.
    let retired = [
        delta(json!({"function_call": {"name": "w", "arguments": "{\"city\":"}})),
        delta(json!({"function_call": {"arguments": "\"Paris\"}"}})),
        finish("function_call"),
    ];
    assert_eq!(called(&retired), [expect("", "w", paris())]);
}

#[test]
fn streams_that_fail_or_end_oddly() {
    let text = || delta(json!({"content": "a"}));
    let no_done = |chunks: &[Value]| stream(chunks).replace("data: [DONE]\n\n", "");
    for (stream, end) in [
        (stream(&[text(), finish("stop")]), Ok(Stop::End)),
        (stream(&[text(), finish("length")]), Ok(Stop::MaxTokens)),
        (stream(&[text(), finish("eos")]), Ok(Stop::End)),
        (no_done(&[text(), finish("stop")]), Ok(Stop::End)),
        (stream(&[text()]), Ok(Stop::End)),
        (no_done(&[text()]), Err(Kind::Truncated)),
        (stream(&[text(), finish("content_filter")]), Err(Kind::Refused)),
        (stream(&[text(), finish("error")]), Err(Kind::Server)),
        (stream(&[delta(json!({"refusal": "I can't"})), finish("stop")]), Ok(Stop::Refusal)),
        (stream(&[finish("stop")]), Err(Kind::Empty)),
        (
            stream(&[text(), json!({"error": {"message": "m", "code": "rate_limit_exceeded"}})]),
            Err(Kind::Busy),
        ),
        (stream(&[text(), json!({"error": "m"})]), Err(Kind::Server)),
        (
            stream(&[text(), json!({"error": {"message": "m", "type": "insufficient_quota"}})]),
            Err(Kind::Quota),
        ),
        (
            stream(&[delta(json!({"content": [{"type": "text", "text": "a"}]})), finish("stop")]),
            Ok(Stop::End),
        ),
        (
            stream(&[
                json!({"choices": [{"index": 1, "delta": {"content": "other"}}]}),
                text(),
                finish("stop"),
            ]),
            Ok(Stop::End),
        ),
        ("data: {\"choices\": [\n\n".into(), Err(Kind::Malformed)),
        ("event: x\n\n".into(), Err(Kind::Truncated)),
    ] {
        let (_, answer) = read(Stream::default(), &stream);
        assert_eq!(answer.map(|(_, stop, _)| stop), end, "{stream}");
    }
}

#[test]
fn answers_that_do_not_stream() {
    let message = json!({"role": "assistant", "content": "a", "tool_calls":
        [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}]});
    let whole = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2}});
    let (shown, answer) = read(Stream::default(), &format!("whole:{whole}"));
    let (parts, stop, usage) = answer.expect("an answer");
    assert_eq!(
        (shown, stop, parts.len(), usage.total()),
        (vec!["a".to_owned(), "(w)".into()], Stop::ToolCalls, 2, 7)
    );
    for (body, kind) in [
        (json!({"error": {"message": "m", "type": "server_error"}}), Kind::Server),
        (json!({"detail": "Not Found"}), Kind::Server),
        (json!({"object": "error", "message": "m", "code": 429}), Kind::Busy),
        (json!({"hello": 1}), Kind::Malformed),
        (json!({"choices": []}), Kind::Empty),
    ] {
        assert_eq!(read(Stream::default(), &format!("whole:{body}")).1, Err(kind), "{body}");
    }
}

fn prompt(turns: Vec<Turn>) -> Prompt {
    let tool = ToolSpec { name: "f".into(), description: "d".into(), schema: json!({"type": "object"}) };
    Prompt { system: "sys".into(), turns, tools: vec![tool], max_output: 500, tool_choice: ToolChoice::Auto }
}

fn body(turns: Vec<Turn>, host: &str) -> Value {
    let route = route(Api::Openai, host);
    request(&prompt(turns), &route, Dialect::of(&route)).expect("a request")
}

#[test]
fn a_request_in_full() {
    let failed =
        ToolResult { call_id: "2".into(), content: vec![Content::text("no such file")], is_error: true };
    let Turn::ToolResults { mut results } = results(&["1"]) else { panic!("results") };
    results.push(failed);
    let words = Part::Text { text: "I look.".into() };
    let turns =
        vec![Turn::user("hi"), assistant(vec![words, call("1"), call("2")]), Turn::ToolResults { results }];
    assert_eq!(
        body(turns, "127.0.0.1:8080"),
        json!({
            "model": "model-1",
            "max_tokens": 500,
            "stream": true,
            "stream_options": {"include_usage": true},
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
            "tool_choice": "auto",
            "messages": [
                {"role": "system", "content": "sys"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "I look.", "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ]},
                {"role": "tool", "tool_call_id": "1", "content": "result of 1"},
                {"role": "tool", "tool_call_id": "2", "content": "Error: no such file"},
            ],
        })
    );
}

#[test]
fn the_limit_has_the_name_that_the_server_knows() {
    let field = |host: &str| {
        let body = body(vec![Turn::user("hi")], host);
        (body.get("max_tokens").is_some(), body.get("max_completion_tokens").is_some())
    };
    assert_eq!(field("api.openai.com"), (false, true));
    assert_eq!(field("mine.openai.azure.com:443"), (false, true));
    assert_eq!(field("api.notopenai.com"), (true, false));
    assert_eq!(field("localhost:11434"), (true, false));
    let old = Dialect::of(&route(Api::Openai, "localhost"));
    let new = old.without("max_tokens").expect("the other form");
    assert_eq!(new, Dialect { completion: true, usage: true });
    let bare = new.without("stream_options").expect("without");
    assert_eq!((bare.usage, bare.without("stream_options"), bare.without("messages")), (false, None, None));
}

#[test]
fn media_go_where_this_protocol_has_a_place_for_them() {
    let image = || Content::Image { mime: "image/png".into(), bytes: vec![1, 2] };
    let pdf = Content::Document { mime: "application/pdf".into(), name: "a.pdf".into(), bytes: vec![3] };
    let csv = Content::Document { mime: "text/csv".into(), name: "a.csv".into(), bytes: b"1,2".to_vec() };
    let shown =
        ToolResult { call_id: "1".into(), content: vec![Content::text("see"), image()], is_error: false };
    let turns = vec![
        Turn::User { content: vec![Content::text("look"), image(), pdf, csv] },
        assistant(vec![call("1")]),
        Turn::ToolResults { results: vec![shown] },
    ];
    let messages = body(turns, "x")["messages"].clone();
    let url = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AQI="}});
    let expected = json!([
        {"type": "text", "text": "look"},
        url,
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,Aw=="}},
        {"type": "text", "text": "a.csv:\n1,2"},
    ]);
    assert_eq!(messages[1]["content"], expected);
    assert_eq!(messages[3]["content"], "see\n\n(a file follows in the next message)");
    assert_eq!(messages[4]["content"], json!([{"type": "text", "text": "Output of the tool call 1:"}, url]));
}

#[test]
fn reasoning_and_extra_fields_go_back_to_their_source_in_an_open_loop() {
    let turn = || Turn::Assistant {
        source: Some(Source {
            route: "main".parse().expect("name"),
            api: Api::Openai,
            model: "model-1".into(),
        }),
        parts: vec![
            Part::Thinking { text: "hm".into(), opaque: Some("reasoning_content".into()) },
            Part::ToolCall(ToolCall {
                id: "ours".into(),
                wire_id: Some("call_1".into()),
                name: "f".into(),
                arguments: json!({"a": 1}),
                invalid: None,
                extra: Some(json!({"extra_content": {"google": {"thought_signature": "s"}}})),
            }),
        ],
    };
    let open = body(vec![Turn::user("hi"), turn(), results(&["ours"])], "x")["messages"].clone();
    assert_eq!(open[2]["reasoning_content"], "hm");
    assert_eq!(open[2]["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "s");
    assert_eq!(
        (&open[2]["tool_calls"][0]["id"], &open[3]["tool_call_id"]),
        (&json!("call_1"), &json!("call_1"))
    );
    assert_eq!(open[2]["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
    let closed =
        body(vec![Turn::user("hi"), turn(), results(&["ours"]), Turn::user("more")], "x")["messages"].clone();
    assert!(closed[2].get("reasoning_content").is_none());
    let mut other = route(Api::Openai, "x");
    other.model = "model-2".into();
    let moved =
        request(&prompt(vec![Turn::user("hi"), turn(), results(&["ours"])]), &other, Dialect::of(&other));
    let moved = moved.expect("a request")["messages"].clone();
    assert_eq!(
        (&moved[2]["tool_calls"][0]["id"], &moved[3]["tool_call_id"]),
        (&json!("ours"), &json!("ours"))
    );
    assert!(
        moved[2].get("reasoning_content").is_none()
            && moved[2]["tool_calls"][0].get("extra_content").is_none()
    );
}

#[test]
fn no_request_can_name_a_tool_that_the_provider_runs() {
    for api in [Api::Openai, Api::Anthropic] {
        let route = route(api, "x");
        let asked = prompt(vec![Turn::user("search the web")]);
        let body = match api {
            Api::Anthropic => crate::model::anthropic::request(&asked, &route),
            _ => request(&asked, &route, Dialect::of(&route)),
        };
        for tool in body.expect("a request")["tools"].as_array().expect("tools") {
            assert!(["function", ""].contains(&tool["type"].as_str().unwrap_or_default()), "{tool}");
        }
    }
}
