//! A tool call that a small model wrote as its words, because its server does not know its template: a lone JSON object
//! that names an offered tool with arguments that fit it. Then, and only then, it is taken for a call; with a word
//! beside it, it is words.

use serde_json::{Map, Value};

use super::{
    Event,
    draft::call_id,
    message::{Part, Prompt, Stop, ToolCall},
    wire::Show,
};

/// What may stand around the object: the marks of templates, and a fenced block.
const AROUND: [(&str, &str); 3] = [("<tool_call>", "</tool_call>"), ("```json", "```"), ("```", "```")];

/// Shows text as it comes, but for one that may turn out to be a call.
#[derive(Debug, Default)]
pub(super) struct Held {
    text: String,
    passes: bool,
}

impl Held {
    /// Takes an event on its way.
    pub fn pass(&mut self, event: Event<'_>, show: &mut Show<'_>) {
        match event {
            Event::Text(text) if !self.passes => {
                self.text.push_str(text);
                let start = self.text.trim_start();
                let may_be = |mark: &str| mark.starts_with(start) || start.starts_with(mark);
                if !may_be("{") && !AROUND.iter().any(|(mark, _)| may_be(mark)) {
                    self.release(show);
                }
            }
            event => show(event),
        }
    }

    /// It is no call: shows what was held.
    pub fn release(&mut self, show: &mut Show<'_>) {
        self.passes = true;
        if !self.text.is_empty() {
            show(Event::Text(&std::mem::take(&mut self.text)));
        }
    }
}

/// The answer as a call, if it is one written as words; thoughts beside it stay.
pub(super) fn recover(parts: &[Part], stop: Stop, prompt: &Prompt) -> Option<Vec<Part>> {
    let thought = |part: &Part| matches!(part, Part::Thinking { .. } | Part::Opaque { .. });
    let mut said = parts.iter().filter(|part| !thought(part));
    let (Some(Part::Text { text }), None, Stop::End) = (said.next(), said.next(), stop) else { return None };
    let (name, arguments) = read(text)?;
    let tool = prompt.tools.iter().find(|tool| tool.name == name)?;
    // A schema that can't be read fits nothing.
    let fits = jsonschema::validator_for(&tool.schema).ok()?;
    let arguments = Value::Object(arguments);
    if !fits.is_valid(&arguments) {
        return None;
    }
    let call = ToolCall { id: call_id(), wire_id: None, name, arguments, invalid: None, extra: None };
    let thoughts = parts.iter().filter(|part| thought(part)).cloned();
    Some(thoughts.chain([Part::ToolCall(call)]).collect())
}

/// `{"name": …, "arguments": {…}}`, or with `parameters`, and nothing else.
fn read(text: &str) -> Option<(String, Map<String, Value>)> {
    let text = text.trim();
    let inner = AROUND.iter().find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close));
    let Ok(Value::Object(mut object)) = serde_json::from_str(inner.unwrap_or(text)) else { return None };
    let Some(Value::String(name)) = object.remove("name") else { return None };
    let arguments = object.remove("arguments").or_else(|| object.remove("parameters"))?;
    match (arguments, object.is_empty()) {
        (Value::Object(arguments), true) => Some((name, arguments)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Event, Held, Part, Prompt, Stop, recover};
    use crate::model::message::ToolSpec;

    fn prompt() -> Prompt {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
            "additionalProperties": false});
        let tool = ToolSpec { name: "weather".into(), description: String::new(), schema };
        Prompt { tools: vec![tool], ..Prompt::default() }
    }

    #[test]
    fn a_lone_call_is_taken_and_anything_beside_it_is_words() {
        let recover = |text: &str| recover(&[Part::Text { text: text.into() }], Stop::End, &prompt());
        let good = r#"{"name": "weather", "arguments": {"city": "Rome"}}"#;
        for text in [
            good.to_owned(),
            format!(" \n{good}\n"),
            format!("```json\n{good}\n```"),
            format!("```\n{good}\n```"),
            format!("<tool_call>\n{good}\n</tool_call>"),
            good.replace("arguments", "parameters"),
        ] {
            let parts = recover(&text).expect(&text);
            let [Part::ToolCall(call)] = parts.as_slice() else { panic!("{parts:?}") };
            assert_eq!((call.name.as_str(), &call.arguments), ("weather", &json!({"city": "Rome"})));
            assert!(call.id.len() == 9 && call.invalid.is_none());
        }
        for text in [
            format!("I will look: {good}"),
            format!("{good} Done."),
            format!("{good}{good}"),
            format!("[{good}]"),
            format!("```json\n{good}\n``` as asked"),
            format!("<tool_call>{good}"),
            good.replace("weather", "wether"),
            good.replace("city", "town"),
            good.replace("\"Rome\"", "7"),
            good.replace('}', ", \"more\": 1}"),
            r#"{"name": "weather", "arguments": "{\"city\": \"Rome\"}"}"#.into(),
            r#"{"name": "weather"}"#.into(),
            r#"{"city": "Rome"}"#.into(),
            String::new(),
        ] {
            assert_eq!(recover(&text), None, "{text}");
        }
    }

    #[test]
    fn only_the_whole_answer_counts() {
        let good = Part::Text { text: r#"{"name": "weather", "arguments": {"city": "Rome"}}"#.into() };
        let thought = Part::Thinking { text: "hm".into(), opaque: None };
        let recovered = recover(&[thought.clone(), good.clone()], Stop::End, &prompt()).expect("a call");
        assert!(recovered[0] == thought && matches!(recovered[1], Part::ToolCall(_)));
        let words = Part::Text { text: "so".into() };
        assert_eq!(recover(&[good.clone(), words], Stop::End, &prompt()), None);
        assert_eq!(recover(std::slice::from_ref(&good), Stop::MaxTokens, &prompt()), None);
        assert_eq!(recover(&[good], Stop::End, &Prompt::default()), None, "no tool was offered");
    }

    #[test]
    fn words_are_shown_as_they_come_unless_they_may_be_a_call() {
        let shown = |pieces: &[&str]| {
            let (mut held, mut shown) = (Held::default(), Vec::new());
            let mut show = |event: Event<'_>| {
                if let Event::Text(text) = event {
                    shown.push(text.to_owned());
                }
            };
            for piece in pieces {
                held.pass(Event::Text(piece), &mut show);
            }
            let before = held.text.clone();
            held.release(&mut show);
            (before, shown)
        };
        assert_eq!(shown(&["one", " two"]), (String::new(), vec!["one".into(), " two".into()]));
        assert_eq!(shown(&["<", "b> {"]), (String::new(), vec!["<b> {".into()]));
        for call in [&[" {", "\"name\""][..], &["`", "``json", "{"], &["<tool", "_call>{"]] {
            assert_eq!(shown(call), (call.concat(), vec![call.concat()]));
        }
    }
}
