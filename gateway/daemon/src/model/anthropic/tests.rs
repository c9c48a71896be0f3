use openclaw_wire::config::Api;
use serde_json::{Value, json};

use super::{Stream, request};
use crate::model::{
    fault::Kind,
    message::{
        Content, Invalid, Part, Prompt, Source, Stop, ToolCall, ToolChoice, ToolResult, ToolSpec, Turn, Usage,
    },
    pairs::tests::{assistant, call, results},
    wire::tests::{read, route},
};

fn stream(events: &[Value]) -> String {
    let line = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("x"));
    events.iter().map(line).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "role": "assistant", "content": [],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 2, "output_tokens": 1}}})
}

fn block(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn end(reason: &str) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 42,
            "output_tokens_details": {"thinking_tokens": 7}}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_stream_with_thinking_text_and_parallel_calls() {
    let [last, stop] = end("tool_use");
    let events = [
        start(),
        json!({"type": "ping"}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
        json!({"type": "content_block_stop", "index": 0}),
        block(1, json!({"type": "redacted_thinking", "data": "xyz"})),
        block(2, json!({"type": "text", "text": ""})),
        delta(2, json!({"type": "text_delta", "text": "I look"})),
        delta(2, json!({"type": "text_delta", "text": " it up."})),
        block(3, json!({"type": "tool_use", "id": "toolu_a", "name": "weather", "input": {}})),
        block(4, json!({"type": "tool_use", "id": "toolu_b", "name": "clock", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"city\": \"Par"})),
        delta(4, json!({"type": "input_json_delta", "partial_json": "{}"})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "is\"}"})),
        json!({"type": "something_new", "index": 9}),
        last,
        stop,
    ];
    let (shown, answer) = read(Stream::default(), &stream(&events));
    assert_eq!(shown, ["(thinking)", "I look", " it up.", "(weather)", "(clock)"]);
    let (parts, stop, usage) = answer.expect("an answer");
    assert_eq!(stop, Stop::ToolCalls);
    let expected =
        Usage { input: 10, cache_read: 5, cache_write: 2, output: 42, reasoning: 7, estimated: false };
    assert_eq!(usage, expected);
    assert_eq!(parts[0], Part::Thinking { text: "hm".into(), opaque: Some("c2ln".into()) });
    assert_eq!(parts[1], Part::Opaque { value: json!({"type": "redacted_thinking", "data": "xyz"}) });
    assert_eq!(parts[2], Part::Text { text: "I look it up.".into() });
    let calls: Vec<_> = crate::model::pairs::calls(&parts)
        .map(|call| (call.wire_id.as_deref(), call.name.as_str(), call.arguments.clone()))
        .collect();
    let expected =
        [(Some("toolu_a"), "weather", json!({"city": "Paris"})), (Some("toolu_b"), "clock", json!({}))];
    assert_eq!(calls, expected);
}

#[test]
fn streams_that_fail() {
    let text = [
        start(),
        block(0, json!({"type": "text", "text": ""})),
        delta(0, json!({"type": "text_delta", "text": "a"})),
    ];
    let with = |more: &[Value]| stream(&[&text[..], more].concat());
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}});
    let api = json!({"type": "error", "error": {"type": "api_error", "message": "m"}});
    for (stream, kind) in [
        (with(&[]), Kind::Truncated),
        (with(&end("end_turn")[..1]), Kind::Truncated),
        (with(&[overloaded]), Kind::Busy),
        (with(&[api]), Kind::Server),
        (with(&end("refusal")), Kind::Refused),
        (stream(&[&[start()][..], &end("end_turn")].concat()), Kind::Empty),
        (stream(&[&[start()][..], &end("model_context_window_exceeded")].concat()), Kind::ContextTooLong),
        ("data: {not json\n\n".into(), Kind::Malformed),
        ("<html>no</html>".into(), Kind::Truncated),
    ] {
        assert_eq!(read(Stream::default(), &stream).1, Err(kind), "{stream}");
    }
}

#[test]
fn ends_and_odd_servers() {
    let text = |reason: &str| {
        let blocks = [start(), block(0, json!({"type": "text", "text": "a"}))];
        read(Stream::default(), &stream(&[&blocks[..], &end(reason)].concat())).1.expect("answer").1
    };
    assert_eq!(text("end_turn"), Stop::End);
    assert_eq!(text("stop_sequence"), Stop::End);
    assert_eq!(text("max_tokens"), Stop::MaxTokens);
    assert_eq!(text("model_context_window_exceeded"), Stop::MaxTokens);

    // Arguments at once in the start of the block; deltas without a start; no usage.
    let whole_input = [
        json!({"type": "message_start", "message": {}}),
        delta(0, json!({"type": "text_delta", "text": "t"})),
        block(1, json!({"type": "tool_use", "name": "f", "input": {"a": 1}})),
        block(2, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{}"})),
    ];
    let (_, answer) = read(Stream::default(), &stream(&[&whole_input[..], &end("end_turn")].concat()));
    let (parts, stop, _) = answer.expect("answer");
    assert_eq!((stop, parts.len()), (Stop::ToolCalls, 2));
    assert!(
        matches!(&parts[1], Part::ToolCall(call) if call.arguments == json!({"a": 1}) && call.wire_id.is_none())
    );

    let whole = json!({"type": "message", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 1}});
    let (shown, answer) = read(Stream::default(), &format!("whole:{whole}"));
    let (parts, stop, usage) = answer.expect("answer");
    assert_eq!(
        (shown, parts, stop, usage.total()),
        (vec!["a".into()], vec![Part::Text { text: "a".into() }], Stop::End, 4)
    );
    let error = "whole:{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}";
    assert_eq!(read(Stream::default(), error).1, Err(Kind::Busy));
    assert_eq!(read(Stream::default(), "whole:{\"hello\":1}").1, Err(Kind::Malformed));
}

fn prompt(turns: Vec<Turn>) -> Prompt {
    let tool = |name: &str| ToolSpec {
        name: name.into(),
        description: "d".into(),
        schema: json!({"type": "object", "properties": {}}),
    };
    Prompt {
        system: "sys".into(),
        turns,
        tools: vec![tool("f"), tool("g")],
        max_output: 5000,
        tool_choice: ToolChoice::Auto,
    }
}

fn anthropic() -> openclaw_wire::egress::ModelRoute {
    route(Api::Anthropic, "api.anthropic.com")
}

#[test]
fn a_request_in_full() {
    let turns =
        vec![Turn::user("hi"), assistant(vec![call("1"), call("2")]), results(&["1"]), Turn::user("and?")];
    let interrupted = request(&prompt(turns), &anthropic()).expect("a request");
    let error_text = interrupted["messages"][2]["content"][1]["content"][0]["text"].clone();
    assert_eq!(
        interrupted,
        json!({
            "model": "model-1",
            "max_tokens": 1000,
            "stream": true,
            "system": [{"type": "text", "text": "sys", "cache_control": {"type": "ephemeral"}}],
            "tools": [
                {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}},
                {"name": "g", "description": "d", "input_schema": {"type": "object", "properties": {}}},
            ],
            "tool_choice": {"type": "auto"},
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "1", "name": "f", "input": {}},
                    {"type": "tool_use", "id": "2", "name": "f", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "1", "is_error": false,
                     "content": [{"type": "text", "text": "result of 1"}]},
                    {"type": "tool_result", "tool_use_id": "2", "is_error": true,
                     "content": [{"type": "text", "text": error_text}]},
                    {"type": "text", "text": "and?", "cache_control": {"type": "ephemeral"}},
                ]},
            ],
        })
    );
}

#[test]
fn what_only_the_source_understands_goes_only_to_it() {
    let turn = |model: &str| Turn::Assistant {
        source: Some(Source {
            route: "main".parse().expect("name"),
            api: Api::Anthropic,
            model: model.into(),
        }),
        parts: vec![
            Part::Thinking { text: "hm".into(), opaque: Some("sig".into()) },
            Part::Thinking { text: "unsigned".into(), opaque: None },
            Part::Opaque { value: json!({"type": "redacted_thinking", "data": "x"}) },
            Part::ToolCall(ToolCall {
                id: "ours".into(),
                wire_id: Some("toolu_1".into()),
                name: "bad name!".into(),
                arguments: json!({}),
                invalid: Some(Invalid { reason: "r".into(), raw: "{\"a\":".into() }),
                extra: None,
            }),
        ],
    };
    let messages = |model| {
        let turns = vec![Turn::user("hi"), turn(model), results(&["ours"])];
        request(&prompt(turns), &anthropic()).expect("a request")["messages"].clone()
    };
    let same = messages("model-1");
    let call =
        json!({"type": "tool_use", "id": "toolu_1", "name": "bad_name_", "input": {"unreadable": "{\"a\":"}});
    let expected = [
        json!({"type": "thinking", "thinking": "hm", "signature": "sig"}),
        json!({"type": "redacted_thinking", "data": "x"}),
        call,
    ];
    assert_eq!(same[1]["content"], Value::from(expected.to_vec()));
    assert_eq!(same[2]["content"][0]["tool_use_id"], "toolu_1");
    let other = messages("model-2");
    assert_eq!(other[1]["content"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&other[1]["content"][0]["id"], &other[2]["content"][0]["tool_use_id"]),
        (&json!("ours"), &json!("ours"))
    );
}

#[test]
fn media_choices_and_prompts_without_an_end() {
    let content = vec![
        Content::Image { mime: "image/png".into(), bytes: vec![1, 2] },
        Content::Image { mime: "image/tiff".into(), bytes: vec![1] },
        Content::Document { mime: "application/pdf".into(), name: "a.pdf".into(), bytes: vec![3] },
        Content::Document { mime: "text/csv".into(), name: "a.csv".into(), bytes: b"1,2".to_vec() },
        Content::text(" "),
    ];
    let mut asked = prompt(vec![Turn::User { content }]);
    let body = request(&asked, &anthropic()).expect("a request");
    let types: Vec<_> =
        body["messages"][0]["content"].as_array().expect("list").iter().map(|b| b["type"].clone()).collect();
    assert_eq!(types, ["image", "text", "document", "document"]);
    assert_eq!(body["messages"][0]["content"][0]["source"]["data"], "AQI=");

    for (choice, expected) in [(ToolChoice::None, "none"), (ToolChoice::Required, "any")] {
        asked.tool_choice = choice;
        assert_eq!(request(&asked, &anthropic()).expect("a request")["tool_choice"]["type"], expected);
    }
    // No tools any more, but calls in the conversation: declared, and not to be called.
    let turns = vec![Turn::user("hi"), assistant(vec![call("1")]), results(&["1"])];
    let bare = request(&Prompt { tools: vec![], system: String::new(), ..prompt(turns) }, &anthropic())
        .expect("a request");
    let declared =
        json!([{"name": "f", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}]);
    assert_eq!((&bare["tools"], &bare["tool_choice"]["type"]), (&declared, &json!("none")));
    assert!(bare.get("system").is_none());

    assert_eq!(request(&prompt(vec![]), &anthropic()), None);
    let answered = vec![Turn::user("hi"), assistant(vec![Part::Text { text: "yes".into() }])];
    assert_eq!(request(&prompt(answered), &anthropic()), None);
}

#[test]
fn a_tool_that_returned_nothing_says_so() {
    let silent = ToolResult { call_id: "1".into(), content: vec![], is_error: false };
    let turns =
        vec![Turn::user("hi"), assistant(vec![call("1")]), Turn::ToolResults { results: vec![silent] }];
    let body = request(&prompt(turns), &anthropic()).expect("a request");
    assert_eq!(body["messages"][2]["content"][0]["content"][0]["text"], "(no output)");
}
