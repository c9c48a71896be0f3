use serde_json::json;

use super::{Act, act, answer};
use crate::model::{
    Event,
    message::{Content, Part, Prompt, Stop, ToolChoice, ToolResult, ToolSpec, Turn},
    pairs::calls,
};

fn prompt(text: &str) -> Prompt {
    let tool = |name: &str, argument: &str| ToolSpec {
        name: name.into(),
        description: String::new(),
        schema: json!({"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}),
    };
    let tools = vec![
        tool("list_documents", "folder"),
        tool("read_document", "path"),
        tool("search_documents", "query"),
        tool("send_mail", "to"),
    ];
    Prompt { turns: vec![Turn::user(text)], tools, ..Prompt::default() }
}

#[test]
fn words_become_acts() {
    let call = Act::Call;
    for (text, expected) in [
        ("list my documents", call("list_documents", json!({}))),
        ("Which documents are there?", call("list_documents", json!({}))),
        ("please read \"notes.txt\".", call("read_document", json!({"path": "notes.txt"}))),
        ("Search blue whales", call("search_documents", json!({"query": "blue whales"}))),
        ("call send_mail {\"to\": \"a\"} thanks", call("send_mail", json!({"to": "a"}))),
        ("call list_documents", call("list_documents", json!({}))),
        ("call send_mail {broken", call("send_mail", json!({}))),
        (
            "<untrusted source=\"user 5\">\nread a b.txt\nthanks\n</untrusted>",
            call("read_document", json!({"path": "a b.txt"})),
        ),
        ("count 3", Act::Count(3)),
        ("count 99999999", Act::Count(600)),
    ] {
        let prompt = prompt(text);
        assert_eq!(act(&[Content::text(text)], &prompt), expected, "{text}");
    }
    for (text, part) in [
        ("hello", "You wrote: “hello”"),
        ("call", "You wrote: “call”"),
        ("count sheep", "You wrote"),
        ("read", "You wrote"),
        ("call rm {}", "I can call: list_documents, read_document"),
        ("", "You wrote: “”"),
    ] {
        let prompt = prompt(text);
        match act(&[Content::text(text)], &prompt) {
            Act::Say(said) => assert!(said.contains(part), "{text}: {said}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let silent = Prompt { tool_choice: ToolChoice::None, ..prompt("list") };
    assert!(matches!(act(&[Content::text("list documents")], &silent), Act::Say(_)));
}

#[tokio::test]
async fn it_calls_then_reports_and_every_answer_is_labelled() {
    let mut prompt = prompt("read notes.txt");
    let mut shown = String::new();
    let mut show = |event: Event<'_>| {
        if let Event::Text(text) = event {
            shown.push_str(text);
        }
    };
    let reply = answer(&prompt, &mut show).await;
    assert_eq!(reply.stop, Stop::ToolCalls);
    let id = calls(&reply.parts).next().expect("a call").id.clone();
    prompt.turns.push(Turn::Assistant { source: None, parts: reply.parts });
    let result =
        |error| ToolResult { call_id: id.clone(), content: vec![Content::text("line one")], is_error: error };
    for (error, expected) in [
        (false, "[rehearsal] `read_document` gave:\nline one"),
        (true, "[rehearsal] `read_document` failed:\nline one"),
    ] {
        let mut asked = prompt.clone();
        asked.turns.push(Turn::ToolResults { results: vec![result(error)] });
        let reply = answer(&asked, &mut |_| ()).await;
        assert_eq!((reply.parts, reply.stop), (vec![Part::Text { text: expected.into() }], Stop::End));
    }
    assert_eq!(shown, "[rehearsal] I call `read_document`.");
}

#[tokio::test]
async fn what_streams_is_what_is_answered() {
    let mut shown = String::new();
    let reply = answer(&prompt("Hello. How are you? Fine."), &mut |event| {
        if let Event::Text(text) = event {
            shown.push_str(text);
        }
    })
    .await;
    assert_eq!(reply.parts, [Part::Text { text: shown }]);
}
