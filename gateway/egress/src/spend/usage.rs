//! Reads what an answer says it used: a stream of events, or one JSON value. Holds one line or one small body at most,
//! and looks at nothing but the places where the two protocols report usage, so that no words of a model can pass for it.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memmem::Finder, memrchr};
use openclaw_wire::config::Api;
use serde::Deserialize;

use super::prices::Amounts;

/// Longest event with usage; OpenAI's and Anthropic's have less than 2 KiB.
const LINE: usize = 64 << 10;
/// Largest answer in one piece; a larger one counts as unknown.
const WHOLE: usize = 4 << 20;
/// No answer uses more of anything; a larger number is a mistake of the server's and counts as this.
const MOST: u64 = 1_000_000_000;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));

/// How much of the usage is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// What was read; what was written only so far.
    Input(Amounts),
    /// All.
    All(Amounts),
}

/// Reads one answer as it goes by.
pub struct Reader {
    api: Api,
    stream: bool,
    /// A line that is not whole yet, or the body so far.
    held: BytesMut,
    /// The held line is longer than any that matters.
    skipping: bool,
    known: Known,
}

#[derive(Deserialize, Default)]
struct Event {
    #[serde(rename = "type", default)]
    kind: Kind,
    message: Option<Message>,
    usage: Option<Usage>,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    MessageStart,
    MessageDelta,
    Message,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Usage>,
}

/// Both protocols' names.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<Creation>,
    server_tool_use: Option<Tools>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Creation {
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Tools {
    web_search_requests: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

impl Reader {
    /// For an answer of this protocol; `stream` if its type is that of events.
    pub fn new(api: Api, stream: bool) -> Self {
        Self { api, stream, held: BytesMut::new(), skipping: false, known: Known::Nothing }
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &Bytes) {
        if !self.stream {
            if self.held.len() + piece.len() <= WHOLE && !self.skipping {
                self.held.extend_from_slice(piece);
            } else {
                (self.held, self.skipping) = (BytesMut::new(), true);
            }
            return;
        }
        let mut rest: &[u8] = piece;
        if !self.held.is_empty() || self.skipping {
            let Some(end) = memchr(b'\n', rest) else { return self.hold(rest) };
            self.hold(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.held);
            if !std::mem::take(&mut self.skipping) && USAGE.find(&line).is_some() {
                self.line(&line);
            }
        }
        let whole = memrchr(b'\n', rest).map_or(0, |end| end + 1);
        let (mut lines, tail) = rest.split_at(whole);
        while let Some(at) = USAGE.find(lines) {
            let start = memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1);
            let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |end| at + end);
            self.line(&lines[start..end]);
            lines = &lines[end..];
        }
        if !tail.is_empty() {
            self.hold(tail);
        }
    }

    /// What is known by now.
    pub fn known(&mut self) -> Known {
        let body = std::mem::take(&mut self.held);
        if self.stream && !body.is_empty() {
            self.line(&body);
        } else if let Ok(Event { usage: Some(usage), .. }) = serde_json::from_slice(&body)
            && usage.input(self.api)
            && usage.output(self.api)
        {
            self.known = Known::All(usage.amounts(self.api, Amounts::default()));
        }
        self.known
    }

    fn hold(&mut self, piece: &[u8]) {
        if self.skipping || self.held.len() + piece.len() > LINE {
            (self.held, self.skipping) = (BytesMut::new(), true);
        } else {
            self.held.extend_from_slice(piece);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        // OpenAI writes it into every event but the last.
        let after = USAGE.find(data).map(|at| data[at + 7..].trim_ascii_start());
        let value = after.and_then(|after| after.strip_prefix(b":"));
        if value.is_some_and(|value| value.trim_ascii_start().starts_with(b"null")) {
            return;
        }
        let Ok(event) = serde_json::from_slice::<Event>(data.trim_ascii()) else { return };
        let before = match self.known {
            Known::Nothing => Amounts::default(),
            Known::Input(amounts) | Known::All(amounts) => amounts,
        };
        self.known =
            match (self.api, event.kind, event.message.and_then(|message| message.usage), event.usage) {
                (Api::Anthropic, Kind::MessageStart, Some(usage), _) if usage.input(self.api) => {
                    Known::Input(usage.amounts(self.api, before))
                }
                // Its input may have been told at the start.
                (Api::Anthropic, Kind::MessageDelta, _, Some(usage))
                    if usage.output(self.api) && (self.known != Known::Nothing || usage.input(self.api)) =>
                {
                    Known::All(usage.amounts(self.api, before))
                }
                (Api::Openai, _, _, Some(usage)) if usage.input(self.api) && usage.output(self.api) => {
                    Known::All(usage.amounts(self.api, before))
                }
                _ => return,
            };
    }
}

impl Usage {
    /// It tells the input by the protocol's own name.
    fn input(&self, api: Api) -> bool {
        if api == Api::Openai { self.prompt_tokens } else { self.input_tokens }.is_some()
    }

    /// It tells the output.
    fn output(&self, api: Api) -> bool {
        if api == Api::Openai { self.completion_tokens } else { self.output_tokens }.is_some()
    }

    /// Anthropic's are sums so far: what an event does not repeat stays as it was.
    fn amounts(&self, api: Api, before: Amounts) -> Amounts {
        let number = |field: Option<u64>| field.unwrap_or(0).min(MOST);
        let now = match api {
            Api::Openai => {
                let details = self.prompt_tokens_details.as_ref();
                let prompt = number(self.prompt_tokens);
                let read = number(details.and_then(|details| details.cached_tokens)).min(prompt);
                let write = number(details.and_then(|details| details.cache_write_tokens)).min(prompt - read);
                // Gemini's compatible server leaves its reasoning out of the one and in the other.
                let rest = number(self.total_tokens).saturating_sub(prompt);
                Amounts {
                    input: prompt - read - write,
                    cache_read: read,
                    cache_write: write,
                    output: number(self.completion_tokens).max(rest),
                    ..Amounts::default()
                }
            }
            Api::Anthropic | Api::Rehearsal => {
                let written = number(self.cache_creation_input_tokens);
                let long =
                    self.cache_creation.as_ref().and_then(|creation| creation.ephemeral_1h_input_tokens);
                let long = number(long).min(written);
                Amounts {
                    input: number(self.input_tokens),
                    cache_read: number(self.cache_read_input_tokens),
                    cache_write: written - long,
                    cache_write_1h: long,
                    output: number(self.output_tokens),
                    searches: number(
                        self.server_tool_use.as_ref().and_then(|tools| tools.web_search_requests),
                    ),
                    ..Amounts::default()
                }
            }
        };
        Amounts {
            input: now.input.max(before.input),
            cache_read: now.cache_read.max(before.cache_read),
            // An event that repeats the sum without its parts moves nothing from one class to the other.
            cache_write: match now.cache_write_1h {
                0 => now.cache_write.saturating_sub(before.cache_write_1h).max(before.cache_write),
                _ => now.cache_write.max(before.cache_write),
            },
            cache_write_1h: now.cache_write_1h.max(before.cache_write_1h),
            output: now.output.max(before.output),
            searches: now.searches.max(before.searches),
            ..now
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openclaw_wire::config::Api;

    use super::{Amounts, Known, LINE, Reader};

    const ANTHROPIC: &str = concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":9,"cache_creation_input_tokens":30,"#,
        r#""cache_read_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1}}}"#,
        "\n\n",
        r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"\"usage\": {\"output_tokens\": 0}"}}"#,
        "\n\n",
        r#"data: {"type":"content_block_start","content_block":{"type":"tool_use","input":{"usage":{"output_tokens":7}}}}"#,
        "\n\n",
        "event: message_delta\r\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"cache_creation_input_tokens":30,"output_tokens":40,"server_tool_use":{"web_search_requests":2}}}"#,
        "\r\n\r\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    );
    const OPENAI: &str = concat!(
        r#"data: {"choices":[{"delta":{"content":"x"}}],"usage":null}"#,
        "\n\n",
        r#"data: {"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":30},"completion_tokens_details":{"reasoning_tokens":12}}}"#,
        "\n\ndata: [DONE]\n\n",
    );

    fn read(api: Api, stream: bool, text: &str, size: usize) -> Known {
        let mut reader = Reader::new(api, stream);
        text.as_bytes().chunks(size).for_each(|piece| reader.feed(&Bytes::copy_from_slice(piece)));
        reader.known()
    }

    #[test]
    fn streams_tell_it_in_whatever_pieces_they_come() {
        let input = Amounts {
            input: 9,
            cache_read: 5,
            cache_write: 10,
            cache_write_1h: 20,
            output: 1,
            ..Amounts::default()
        };
        let all = Amounts { output: 40, searches: 2, ..input };
        let cut = ANTHROPIC.find("event: message_delta").expect("there");
        let openai = Amounts { input: 10, cache_read: 60, cache_write: 30, output: 50, ..Amounts::default() };
        for size in (1..80).chain([1000, 100_000]) {
            assert_eq!(read(Api::Anthropic, true, ANTHROPIC, size), Known::All(all), "{size}");
            assert_eq!(read(Api::Anthropic, true, &ANTHROPIC[..cut], size), Known::Input(input), "{size}");
            assert_eq!(read(Api::Openai, true, OPENAI, size), Known::All(openai), "{size}");
        }
        assert_eq!(read(Api::Openai, true, "data: {\"choices\":[],\"usage\":null}\n\n", 7), Known::Nothing);
        assert_eq!(read(Api::Openai, true, ANTHROPIC, 7), Known::Nothing, "not this protocol's");
    }

    #[test]
    fn an_answer_in_one_piece_tells_it_at_its_top() {
        let anthropic = r#"{"type":"message","content":[{"type":"tool_use","input":{"usage":{"output_tokens":7}}}],
            "usage":{"input_tokens":3,"output_tokens":4}}"#;
        let amounts = Amounts { input: 3, output: 4, ..Amounts::default() };
        assert_eq!(read(Api::Anthropic, false, anthropic, 10), Known::All(amounts));
        let openai = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
        assert_eq!(read(Api::Openai, false, openai, 10), Known::All(amounts));
        for text in ["", "{", "[]", r#"{"error":{"usage":{"input_tokens":1}}}"#, "<html>\"usage\"</html>"] {
            assert_eq!(read(Api::Openai, false, text, 10), Known::Nothing, "{text}");
        }
    }

    /// What does not tell input and output tells nothing: such a call counts with its most.
    #[test]
    fn usage_without_its_numbers_is_no_usage() {
        let whole = |api, usage: &str| read(api, false, &format!("{{\"usage\":{usage}}}"), 10);
        for usage in [
            "{}",
            r#"{"prompt_tokens":1}"#,
            r#"{"completion_tokens":1}"#,
            r#"{"input_tokens":1}"#,
            r#"{"total_tokens":9}"#,
        ] {
            assert_eq!(whole(Api::Openai, usage), Known::Nothing, "{usage}");
            assert_eq!(whole(Api::Anthropic, usage), Known::Nothing, "{usage}");
            let event = format!("data: {{\"usage\":{usage}}}\n");
            assert_eq!(read(Api::Openai, true, &event, 10), Known::Nothing, "{usage}");
        }
        let both = r#"{"input_tokens":3,"output_tokens":4}"#;
        assert_eq!(whole(Api::Openai, both), Known::Nothing, "the other protocol's");
        assert!(matches!(whole(Api::Anthropic, both), Known::All(_)));
        let start =
            |usage: &str| format!("data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{usage}}}}}\n");
        let delta = |usage: &str| format!("data: {{\"type\":\"message_delta\",\"usage\":{usage}}}\n");
        let stream = |text: String| read(Api::Anthropic, true, &text, 10);
        let output = r#"{"output_tokens":4}"#;
        for text in [delta("{}"), delta(output), start("{}"), start("{}") + &delta(output)] {
            assert_eq!(stream(text.clone()), Known::Nothing, "{text}");
        }
        let begun = start(r#"{"input_tokens":3}"#);
        assert!(matches!(stream(begun.clone() + &delta("{}")), Known::Input(_)));
        assert!(matches!(stream(begun + &delta(output)), Known::All(_)));
        assert!(matches!(stream(delta(both)), Known::All(_)));
    }

    #[test]
    fn what_is_too_long_or_mad_costs_no_memory_and_no_panic() {
        let long = format!("data: {{\"x\":\"{}\",\"usage\":{{}}}}\n{OPENAI}", "x".repeat(2 * LINE));
        assert!(matches!(read(Api::Openai, true, &long, 1000), Known::All(_)), "it goes on behind it");
        let mut reader = Reader::new(Api::Openai, true);
        for _ in 0..1000 {
            reader.feed(&Bytes::from(vec![b'x'; 1000]));
            assert!(reader.held.len() <= LINE);
        }
        let mad = "data: {\"usage\":{\"prompt_tokens\":18446744073709551615,\"completion_tokens\":-1}}\n";
        assert_eq!(read(Api::Openai, true, mad, 1000), Known::Nothing);
        let large = "data: {\"usage\":{\"prompt_tokens\":18446744073709551615,\"completion_tokens\":1}}\n";
        assert!(matches!(read(Api::Openai, true, large, 1000), Known::All(_)));
    }
}
