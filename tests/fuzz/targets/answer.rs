//! A model server's answer, in both protocols: the same at whatever borders its bytes come, and what became of it can
//! be relied on, whatever the server wrote.
#![no_main]

mod pieces;

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use openclaw::model::{
    Event, Kind,
    message::{Part, Stop},
    reading,
};
use openclaw_wire::config::Api;

type Answer = Result<(Vec<Part>, Stop), Kind>;

/// What was shown, and the end.
fn read(api: Api, pieces: &[&[u8]]) -> (String, Answer) {
    let mut shown = String::new();
    let mut show = |event: Event<'_>| {
        if let Event::Text(text) = event {
            shown.push_str(text);
        }
    };
    let answer = reading::answer(api, pieces.iter().copied(), &mut show);
    (shown, answer)
}

fn check(parts: &[Part], stop: Stop, shown: &str) {
    let mut ids = HashSet::new();
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text { text: more } => text.push_str(more),
            Part::ToolCall(call) => {
                assert!(call.id.len() == 9 && ids.insert(call.id.clone()), "an id of ours, used once");
                let arguments = call.arguments.as_object().expect("arguments are an object");
                assert!(
                    call.invalid.is_none() || arguments.is_empty(),
                    "nothing to run in what cannot be read"
                );
            }
            Part::Thinking { .. } | Part::Refusal { .. } | Part::Opaque { .. } => {}
        }
    }
    assert_eq!(text.len(), shown.len(), "people were shown all of the text and nothing else");
    assert!(ids.len() <= 64);
    assert!(stop != Stop::ToolCalls || !ids.is_empty());
    let stored = serde_json::to_string(parts).expect("an answer can be stored");
    serde_json::from_str::<Vec<Part>>(&stored).expect("and read again");
}

/// Ids are drawn by lot.
fn without_ids((shown, answer): (String, Answer)) -> (String, Answer) {
    let answer = answer.map(|(mut parts, stop)| {
        for part in &mut parts {
            if let Part::ToolCall(call) = part {
                call.id.clear();
            }
        }
        (parts, stop)
    });
    (shown, answer)
}

fuzz_target!(|data: &[u8]| {
    for api in [Api::Anthropic, Api::Openai] {
        let whole = read(api, &[data]);
        if let (shown, Ok((parts, stop))) = &whole {
            check(parts, *stop, shown);
        }
        assert_eq!(without_ids(read(api, &pieces::pieces(data))), without_ids(whole));
    }
});
