//! A model is asked through egress: what is sent, what is streamed, what is tried again, who is asked next.

mod stand_in;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use openclaw::{
    egress::Egress,
    model::{
        Answer, Event, Kind, ModelError, Models, Patience,
        message::{Content, Part, Prompt, Stop, ToolChoice, ToolResult, ToolSpec, Turn},
    },
};
use openclaw_wire::id::ModelName;
use serde_json::{Value, json};
use stand_in::{Act, Seen, StandIn, answer, chunk, end, events, head, refusal};
use tokio_util::sync::CancellationToken;

fn route(name: &str, api: &str) -> Value {
    json!({"name": name, "api": api, "model": "m-1", "max_output": 1000, "host": "api.example", "problem": null})
}

fn prompt() -> Prompt {
    let tool = ToolSpec {
        name: "weather".into(),
        description: "Tells the weather".into(),
        schema: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    };
    Prompt {
        system: "Be brief.".into(),
        turns: vec![Turn::user("Hello")],
        tools: vec![tool],
        max_output: 300,
        ..Prompt::default()
    }
}

/// Asks, and tells what was streamed: text, `(tool)` for calls, `|` for a restart.
async fn ask(models: &Models, prompt: &Prompt, choice: Option<&str>) -> (String, Result<Answer, ModelError>) {
    let mut shown = String::new();
    let choice: Option<ModelName> = choice.map(|name| name.parse().expect("a name"));
    let mut on_event = |event: Event<'_>| match event {
        Event::Text(text) => shown.push_str(text),
        Event::ToolCall(name) => shown.push_str(&format!("({name})")),
        Event::Restart => shown.push('|'),
        Event::Thinking => {}
    };
    let answer = models.ask(prompt, choice.as_ref(), &CancellationToken::new(), &mut on_event).await;
    (shown, answer)
}

fn start(
    models: Value,
    script: impl Fn(usize, &Seen) -> Vec<Act> + Send + Sync + 'static,
) -> (StandIn, Models) {
    let (far, door) = StandIn::start(models, script);
    (far, Models::new(Egress::new(door)))
}

fn anthropic(text: &str) -> String {
    [
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("a type")))
    .collect()
}

fn openai(text: &str) -> String {
    let delta = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    let last = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}});
    format!("data: {delta}\n\ndata: {last}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

/// What comes before the end of [`openai`].
fn openai_begun(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

fn limited() -> Vec<Act> {
    let body = json!({"error": {"message": "m", "type": "requests", "code": "rate_limit_exceeded"}});
    answer(429, "retry-after-ms: 5\r\n", &body)
}

#[tokio::test]
async fn a_question_goes_out_without_a_key_and_the_answer_streams_in() {
    let (far, models) = start(json!([route("claude", "anthropic")]), |_, _| events(&anthropic("Hi there")));
    let (shown, answer) = ask(&models, &prompt(), None).await;
    let answer = answer.expect("an answer");
    assert_eq!((shown.as_str(), answer.text().as_str(), answer.stop), ("Hi there", "Hi there", Stop::End));
    assert_eq!((answer.usage.input, answer.usage.output, answer.usage.estimated), (9, 4, false));
    assert_eq!(answer.source.route.as_str(), "claude");
    let log = far.log();
    let seen = &log.seen[0];
    assert_eq!(seen.line, "POST /r/model/claude/v1/messages");
    assert_eq!(seen.header("anthropic-version"), Some("2026-10-21"));
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "anthropic-version", "content-length", "content-type", "host"]);
    assert_eq!((&seen.body["model"], &seen.body["max_tokens"]), (&json!("m-1"), &json!(300)));
    for sampling in ["temperature", "top_p", "top_k"] {
        assert!(seen.body.get(sampling).is_none());
    }
}

#[tokio::test]
async fn a_loop_of_calls_there_and_back() {
    let call = |id: &str, index: u64, city: &str| {
        let arguments = json!({"city": city}).to_string();
        json!({"choices": [{"index": 0, "delta": {"tool_calls":
            [{"index": index, "id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}]}}]})
    };
    let calls = format!(
        "data: {}\n\ndata: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        call("call_a", 0, "Oslo"),
        call("call_b", 1, "Rome"),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    );
    let (far, models) = start(json!([route("gpt", "openai")]), move |number, _| match number {
        1 => events(&calls),
        _ => events(&openai("Cold and warm.")),
    });
    let mut asked = prompt();
    let (shown, first) = ask(&models, &asked, None).await;
    let first = first.expect("calls");
    assert_eq!(
        (shown.as_str(), first.stop, first.calls().count()),
        ("(weather)(weather)", Stop::ToolCalls, 2)
    );
    assert!(first.usage.estimated && first.usage.input > 50);
    let results = first
        .calls()
        .map(|call| ToolResult {
            call_id: call.id.clone(),
            content: vec![Content::text(format!(
                "sunny in {}",
                call.arguments["city"].as_str().expect("a city")
            ))],
            is_error: false,
        })
        .collect();
    // As it would come back from the database.
    let turn = serde_json::to_string(&first.into_turn()).expect("JSON");
    asked.turns.push(serde_json::from_str(&turn).expect("a turn"));
    asked.turns.push(Turn::ToolResults { results });
    let (_, second) = ask(&models, &asked, None).await;
    assert_eq!(second.expect("an answer").text(), "Cold and warm.");
    let log = far.log();
    assert_eq!(log.seen[1].line, "POST /r/model/gpt/chat/completions");
    let messages = &log.seen[1].body["messages"];
    assert_eq!(messages[2]["tool_calls"][0]["id"], "call_a");
    assert_eq!(messages[3], json!({"role": "tool", "tool_call_id": "call_a", "content": "sunny in Oslo"}));
    assert_eq!(messages[4], json!({"role": "tool", "tool_call_id": "call_b", "content": "sunny in Rome"}));
    assert_eq!(log.opened, 1, "status and both requests share a connection");
}

#[tokio::test]
async fn a_call_that_was_not_allowed_is_left_out_where_there_are_words() {
    let delta = json!({"choices": [{"index": 0, "finish_reason": "tool_calls", "delta": {"content": "Sunny.", "tool_calls":
        [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{}"}}]}}]});
    let (_far, models) = start(json!([route("a", "openai")]), move |_, _| {
        events(&format!("data: {delta}\n\ndata: [DONE]\n\n"))
    });
    let allowed = ask(&models, &prompt(), None).await.1.expect("an answer");
    assert_eq!((allowed.calls().count(), allowed.stop), (1, Stop::ToolCalls));
    let last = Prompt { tool_choice: ToolChoice::None, ..prompt() };
    let answer = ask(&models, &last, None).await.1.expect("an answer");
    assert_eq!((answer.calls().count(), answer.stop, answer.text().as_str()), (0, Stop::End, "Sunny."));
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let (far, models) = start(json!([route("gpt", "openai")]), |number, _| match number {
        1 => limited(),
        2 => answer(503, "retry-after-ms: 5\r\n", &json!({})),
        _ => events(&openai("ok")),
    });
    let (shown, answer) = ask(&models, &prompt(), None).await;
    let answer = answer.expect("an answer");
    assert_eq!((shown.as_str(), answer.text().as_str()), ("ok", "ok"));
    assert!(answer.failures.is_empty());
    let log = far.log();
    assert_eq!(log.seen.len(), 3);
    assert!(log.seen.iter().all(|seen| seen.body == log.seen[0].body));
}

#[tokio::test]
async fn what_was_streamed_before_a_failure_is_taken_back() {
    let broken = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
    let begun = anthropic("half").split_inclusive("\n\n").take(3).collect::<String>() + broken;
    let (far, models) = start(json!([route("claude", "anthropic")]), move |number, _| match number {
        1 => events(&begun),
        _ => events(&anthropic("whole")),
    });
    let (shown, answer) = ask(&models, &prompt(), None).await;
    let answer = answer.expect("an answer");
    assert_eq!((shown.as_str(), answer.text().as_str()), ("half|whole", "whole"));
    assert_eq!(answer.usage.input, 18, "both tries count");
    assert_eq!(far.log().seen.len(), 2);
}

#[tokio::test]
async fn an_exhausted_model_hands_over_to_the_next() {
    let (far, models) = start(json!([route("a", "anthropic"), route("b", "openai")]), |_, seen| {
        if seen.line.contains("/a/") { limited() } else { events(&openai("from b")) }
    });
    let (_, answer) = ask(&models, &prompt(), None).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.text().as_str(), answer.source.route.as_str()), ("from b", "b"));
    let failure = &answer.failures[0];
    assert_eq!((failure.model.as_str(), failure.kind, failure.tries), ("a", Kind::Busy, 3));
    assert_eq!((failure.status, failure.code.as_deref()), (Some(429), Some("rate_limit_exceeded")));
    assert_eq!(far.log().seen.len(), 4);
    // The other way round when b is chosen: a is not asked at all.
    let (_, answer) = ask(&models, &prompt(), Some("b")).await;
    assert!(answer.expect("an answer").failures.is_empty());
    assert_eq!(far.log().seen.len(), 5);
}

#[tokio::test]
async fn what_only_the_operator_can_mend_is_not_tried_again() {
    let cases = [
        (answer(401, "", &json!({"error": {"type": "authentication_error"}})), Kind::Auth),
        (
            answer(429, "", &json!({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}})),
            Kind::Quota,
        ),
        (answer(404, "", &json!({"error": {"code": "model_not_found"}})), Kind::NoSuchModel),
        (answer(400, "", &json!({"error": {"type": "invalid_request_error"}})), Kind::Rejected),
        (refusal(424, "no_key", "send to model a"), Kind::NoKey),
        (refusal(403, "not_allowed", "send to model a"), Kind::Blocked),
        (answer(529, "x-should-retry: false\r\n", &json!({})), Kind::Busy),
    ];
    for (acts, kind) in cases {
        let acts = std::sync::Mutex::new(Some(acts));
        let (far, models) = start(json!([route("a", "openai")]), move |_, _| {
            acts.lock().expect("acts").take().expect("asked once")
        });
        let error = ask(&models, &prompt(), None).await.1.expect_err("no answer");
        assert_eq!((error.kind, error.failures[0].tries), (kind, 1));
        assert_eq!(kind.for_operator(), kind != Kind::Busy, "{kind:?}");
        assert!(!error.sentence().is_empty());
        assert_eq!(far.log().seen.len(), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn what_a_filter_stopped_is_not_carried_to_another_provider() {
    let filtered = anthropic("half").replace("end_turn", "refusal");
    let (far, models) =
        start(json!([route("a", "anthropic"), route("b", "openai")]), move |_, _| events(&filtered));
    let (shown, answer) = ask(&models, &prompt(), None).await;
    assert_eq!((shown.as_str(), answer.expect_err("refused").kind), ("half|", Kind::Refused));
    assert_eq!(far.log().seen.len(), 1);
}

#[tokio::test]
async fn streams_that_break_are_errors_and_never_half_an_answer() {
    type Script = fn() -> Vec<Act>;
    let cases: [(Script, Kind, usize); 7] = [
        (|| vec![head(200, ""), chunk(openai_begun("half")), end()], Kind::Truncated, 3),
        (|| vec![head(200, ""), chunk(openai_begun("half")), Act::Close], Kind::Truncated, 3),
        (|| vec![head(200, ""), chunk("data: {\"choi\n\n"), end()], Kind::Malformed, 3),
        (|| vec![head(200, ""), chunk("<html>welcome</html>"), end()], Kind::Truncated, 3),
        (|| vec![head(200, ""), end()], Kind::Empty, 2),
        (|| events("data: {\"error\":{\"code\":\"invalid_api_key\"}}\n\n"), Kind::Auth, 1),
        (|| stand_in::json(200, &json!({"error": {"message": "m", "code": 400}})), Kind::Rejected, 1),
    ];
    for (script, kind, tries) in cases {
        let (far, models) = start(json!([route("a", "openai")]), move |_, _| script());
        let error = ask(&models, &prompt(), None).await.1.expect_err("no answer");
        assert_eq!((error.kind, far.log().seen.len()), (kind, tries));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_stopped() {
    let (far, models) = start(json!([route("a", "openai")]), |_, _| {
        let piece = openai_begun(&"x".repeat(60_000));
        let mut acts = vec![head(200, "")];
        acts.extend((0..100).map(|_| chunk(&piece)));
        acts.push(Act::Hang);
        acts
    });
    let (shown, answer) = ask(&models, &prompt(), None).await;
    let error = answer.expect_err("too large");
    assert_eq!((error.kind, shown.ends_with('|')), (Kind::Oversized, true));
    assert!(error.usage.output > 1_000_000, "what it cost is told");
    assert_eq!(far.log().seen.len(), 1);
}

#[tokio::test]
async fn silence_is_an_error_in_each_phase_and_no_error_behind_the_end() {
    let patience = Patience {
        first_byte: Duration::from_millis(80),
        idle: Duration::from_millis(80),
        ..Patience::default()
    };
    type Script = fn() -> Vec<Act>;
    let no_done = || openai("all").replace("data: [DONE]\n\n", "");
    let cases: [(Script, Result<&str, Kind>); 3] = [
        (|| vec![Act::Hang], Err(Kind::Timeout)),
        (|| vec![head(200, ""), chunk(openai_begun("half")), Act::Hang], Err(Kind::Timeout)),
        (|| vec![head(200, ""), chunk(openai("all").replace("data: [DONE]\n\n", "")), Act::Hang], Ok("all")),
    ];
    assert!(no_done().contains("finish_reason"));
    for (script, expected) in cases {
        let (far, door) = StandIn::start(json!([route("a", "openai")]), move |_, _| script());
        let models = Models::new(Egress::new(door)).with_patience(patience);
        let (_, answer) = ask(&models, &prompt(), None).await;
        let got = answer.map(|answer| answer.text()).map_err(|error| error.kind);
        assert_eq!(got.as_deref().map_err(|kind| *kind), expected);
        let tries = far.log().seen.len();
        far.wait_for("every given-up connection is closed", |log| log.hung_up == tries).await;
    }
}

#[tokio::test]
async fn a_dead_model_is_asked_after_the_others_for_a_while() {
    let script = |_: usize, seen: &Seen| match seen.line.contains("/m1/") {
        true => answer(500, "x-should-retry: false\r\n", &json!({"error": {"message": "m"}})),
        false => events(&openai("from the second")),
    };
    let routes = json!([route("m1", "openai"), route("m2", "openai")]);
    let (far, door) = StandIn::start(routes, script);
    let rest = Duration::from_millis(300);
    let models = Models::new(Egress::new(door)).with_patience(Patience { rest, ..Patience::default() });
    let first = |far: &StandIn| far.log().seen.iter().filter(|seen| seen.line.contains("/m1/")).count();
    for _ in 0..3 {
        let (_, answer) = ask(&models, &prompt(), None).await;
        assert_eq!(answer.expect("an answer").text(), "from the second");
    }
    assert_eq!(first(&far), 1, "only the first question met it");
    tokio::time::sleep(rest).await;
    let (_, answer) = ask(&models, &prompt(), None).await;
    assert_eq!((answer.expect("an answer").failures.len(), first(&far)), (1, 2), "it gets another chance");
}

#[tokio::test]
async fn when_all_rest_they_are_asked_all_the_same() {
    let (_far, models) = start(json!([route("m1", "openai")]), |number, _| match number {
        1 => answer(500, "x-should-retry: false\r\n", &json!({"error": {"message": "m"}})),
        _ => events(&openai("back")),
    });
    let (_, failed) = ask(&models, &prompt(), None).await;
    assert_eq!(failed.map_err(|error| error.kind).map(drop), Err(Kind::Server));
    let (_, answer) = ask(&models, &prompt(), None).await;
    assert_eq!(answer.expect("nobody waits out the rest").text(), "back");
}

#[tokio::test]
async fn a_call_that_a_small_model_wrote_as_words_is_a_call_and_is_not_shown() {
    const CALL: &str = r#"{"name": "weather", "arguments": {"city": "Rome"}}"#;
    let (_far, models) = start(json!([route("a", "openai")]), |_, _| events(&openai(CALL)));
    let (shown, answer) = ask(&models, &prompt(), None).await;
    let answer = answer.expect("an answer");
    assert_eq!((shown.as_str(), answer.stop, answer.text().as_str()), ("", Stop::ToolCalls, ""));
    let calls: Vec<_> = answer.calls().map(|call| (call.name.as_str(), call.arguments.clone())).collect();
    assert_eq!(calls, [("weather", json!({"city": "Rome"}))]);

    let (_far, models) = start(json!([route("a", "anthropic")]), |_, _| events(&anthropic(CALL)));
    let (shown, answer) = ask(&models, &prompt(), None).await;
    assert_eq!((shown.as_str(), answer.expect("an answer").stop), (CALL, Stop::End), "there they are words");

    for words in [format!("So: {CALL}"), r#"{"name": "rain", "arguments": {}}"#.to_owned()] {
        let said = words.clone();
        let (_far, models) = start(json!([route("a", "openai")]), move |_, _| events(&openai(&said)));
        let (shown, answer) = ask(&models, &prompt(), None).await;
        let answer = answer.expect("an answer");
        assert_eq!((&shown, answer.stop, &answer.text()), (&words, Stop::End, &words));
    }
    let (_far, models) = start(json!([route("a", "openai")]), |_, _| events(&openai(CALL)));
    let last = Prompt { tool_choice: ToolChoice::None, ..prompt() };
    let (shown, answer) = ask(&models, &last, None).await;
    assert_eq!(
        (shown.as_str(), answer.expect("an answer").stop),
        (CALL, Stop::End),
        "it was told not to call"
    );
}

#[tokio::test]
async fn cancelling_ends_the_work_at_the_far_end() {
    let (far, models) = start(json!([route("a", "openai")]), |_, _| {
        vec![head(200, ""), chunk(openai_begun("half")), Act::Hang]
    });
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let mut shown = String::new();
    let mut on_event = |event: Event<'_>| {
        if let Event::Text(text) = event {
            shown.push_str(text);
            stop.cancel();
        }
    };
    let error = models.ask(&prompt(), None, &cancel, &mut on_event).await.expect_err("cancelled");
    assert_eq!((error.kind, shown.as_str()), (Kind::Cancelled, "half"));
    far.wait_for("the far end sees the connection close", |log| log.hung_up == 1).await;
}

#[tokio::test]
async fn bytes_may_come_one_by_one_and_answers_whole() {
    let (_far, models) =
        start(json!([route("a", "anthropic"), route("b", "openai")]), |number, _| match number {
            1 => {
                let mut acts = vec![head(200, "content-type: text/event-stream\r\n")];
                acts.extend(anthropic("é😀").as_bytes().iter().map(|byte| chunk([*byte])));
                acts.push(end());
                acts
            }
            _ => {
                let message = json!({"role": "assistant", "content": "whole"});
                stand_in::json(
                    200,
                    &json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}),
                )
            }
        });
    assert_eq!(ask(&models, &prompt(), None).await.1.expect("an answer").text(), "é😀");
    let (shown, answer) = ask(&models, &prompt(), Some("b")).await;
    assert_eq!((shown.as_str(), answer.expect("an answer").text().as_str()), ("whole", "whole"));
}

#[tokio::test]
async fn a_servers_dialect_is_learned_once() {
    let refusals = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = refusals.clone();
    let (far, models) = start(json!([route("a", "openai")]), move |_, seen| {
        if seen.body.get("max_tokens").is_none() {
            return events(&openai("ok"));
        }
        counted.fetch_add(1, Ordering::Relaxed);
        let message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.";
        answer(
            400,
            "",
            &json!({"error": {"message": message, "param": "max_tokens", "code": "unsupported_parameter"}}),
        )
    });
    for _ in 0..3 {
        assert_eq!(ask(&models, &prompt(), None).await.1.expect("an answer").text(), "ok");
    }
    assert_eq!((refusals.load(Ordering::Relaxed), far.log().seen.len()), (1, 4));
}

#[tokio::test]
async fn the_rehearsal_answers_only_where_it_should() {
    // Nothing configured: it answers, and says so.
    let (far, models) = start(json!([]), |_, _| vec![Act::Close]);
    let answer = ask(&models, &prompt(), None).await.1.expect("an answer");
    assert!(answer.text().starts_with("[rehearsal]"), "{}", answer.text());
    assert_eq!(models.list().await.expect("a list").len(), 1);
    assert_eq!(far.log().seen.len(), 0);

    // A model that fails is no reason to rehearse; a choice is.
    let (_far, models) = start(json!([route("a", "openai")]), |_, _| answer_401());
    let error = ask(&models, &prompt(), None).await.1.expect_err("no answer");
    assert_eq!(error.kind, Kind::Auth);
    let chosen = ask(&models, &prompt(), Some("rehearsal")).await.1.expect("an answer");
    assert!(chosen.text().starts_with("[rehearsal]"));
    assert_eq!(models.list().await.expect("a list").len(), 2);

    // Egress does not tell its models: that is an error as well.
    let (_far, models) = start(json!(null), |_, _| stand_in::json(500, &json!({})));
    assert!(ask(&models, &prompt(), None).await.1.is_err());

    // A model with a problem is left out, and the problem told.
    let mut keyless = route("a", "openai");
    keyless["problem"] = json!("no key A_KEY");
    let (far, models) = start(json!([keyless]), |_, _| vec![Act::Close]);
    let error = ask(&models, &prompt(), None).await.1.expect_err("no answer");
    assert_eq!((error.kind, error.failures[0].tries), (Kind::Blocked, 0));
    assert_eq!(error.failures[0].detail.as_deref(), Some("no key A_KEY"));
    assert_eq!(far.log().seen.len(), 0);
}

fn answer_401() -> Vec<Act> {
    answer(401, "", &json!({"error": {"message": "canary-of-the-provider", "type": "authentication_error"}}))
}

#[tokio::test]
async fn errors_hold_no_words_of_the_conversation_or_the_provider() {
    let (_far, models) = start(json!([route("a", "openai")]), |_, _| answer_401());
    let mut asked = prompt();
    asked.turns = vec![Turn::user("canary-of-the-user")];
    let error = ask(&models, &asked, None).await.1.expect_err("no answer");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert!(error.to_string().contains("[a: Auth 401 authentication_error, tries 1]"), "{error}");
}

#[tokio::test]
async fn a_prompt_without_a_question_is_not_sent() {
    let (far, models) = start(json!([route("a", "anthropic")]), |_, _| vec![Act::Close]);
    let asked = Prompt {
        turns: vec![
            Turn::user("x"),
            Turn::Assistant { source: None, parts: vec![Part::Text { text: "y".into() }] },
        ],
        ..prompt()
    };
    assert_eq!(ask(&models, &asked, None).await.1.expect_err("nothing to answer").kind, Kind::Prompt);
    assert_eq!(far.log().seen.len(), 0);
}
