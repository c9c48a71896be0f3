//! What a request can cost at most, read out of its body. Only what is known here to have a bound passes: a field or a
//! part whose price is not known is refused, not guessed.

use std::{borrow::Cow, fmt, num::NonZeroU64};

use bytes::Bytes;
use memchr::memmem;
use openclaw_wire::{
    config::Api,
    egress::{Refusal, RefusalKind},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};

use crate::refuse::{refusal, shown};

/// Tokens that a vendor adds of its own: the marks between messages, and what it tells the model about tools
/// (Anthropic: 264 to 804, <https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing>).
const OVERHEAD: u64 = 2_000;
/// Most tokens of one picture: 4,784 at Anthropic's high resolution; OpenAI's patches with their factors stay below too.
const PICTURE: u64 = 8_000;

/// What is known of a request before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bound {
    /// Most input tokens; `None` is as many as the model takes.
    pub input: Option<u64>,
    /// Most output tokens.
    pub output: u64,
    /// It may write to a cache.
    pub cached: bool,
}

/// What has to be known to bound a request.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The protocol.
    pub api: Api,
    /// The model that the route is priced for.
    pub model: &'a str,
    /// Output tokens where the request does not say.
    pub max_output: u32,
    /// The host is the vendor's own, so what it understands is known.
    pub vendor: bool,
    /// The field with which it bounds an answer.
    pub limit: Limit,
}

/// The field that bounds an answer. A server may know only one of them, and then the other bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max_tokens`: Anthropic's, and that of most servers with OpenAI's protocol.
    MaxTokens,
    /// `max_completion_tokens`: what OpenAI itself demands.
    MaxCompletionTokens,
}

impl Limit {
    /// Of a server with this protocol at this host.
    pub fn of(api: Api, host: &str) -> Self {
        let theirs =
            |domain: &str| host.strip_suffix(domain).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
        match api == Api::Openai && (theirs("openai.com") || theirs("azure.com")) {
            true => Self::MaxCompletionTokens,
            false => Self::MaxTokens,
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    messages: Vec<Message>,
    #[serde(default, deserialize_with = "number")]
    max_tokens: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "number")]
    max_completion_tokens: Option<NonZeroU64>,
    n: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<Options>,
    tools: Option<Vec<Tool<'a>>>,
    service_tier: Option<Cow<'a, str>>,
    // What changes no price.
    #[serde(rename = "system")]
    _system: Option<IgnoredAny>,
    #[serde(rename = "tool_choice")]
    _tool_choice: Option<IgnoredAny>,
    #[serde(rename = "stop_sequences")]
    _stop_sequences: Option<IgnoredAny>,
    #[serde(rename = "stop")]
    _stop: Option<IgnoredAny>,
    #[serde(rename = "thinking")]
    _thinking: Option<IgnoredAny>,
    #[serde(rename = "output_config")]
    _output_config: Option<IgnoredAny>,
    #[serde(rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    #[serde(rename = "cache_control")]
    _cache_control: Option<IgnoredAny>,
    #[serde(rename = "temperature")]
    _temperature: Option<IgnoredAny>,
    #[serde(rename = "top_p")]
    _top_p: Option<IgnoredAny>,
    #[serde(rename = "top_k")]
    _top_k: Option<IgnoredAny>,
    #[serde(rename = "parallel_tool_calls")]
    _parallel_tool_calls: Option<IgnoredAny>,
    #[serde(rename = "reasoning_effort")]
    _reasoning_effort: Option<IgnoredAny>,
    #[serde(rename = "verbosity")]
    _verbosity: Option<IgnoredAny>,
    #[serde(rename = "response_format")]
    _response_format: Option<IgnoredAny>,
    #[serde(rename = "prompt_cache_key")]
    _prompt_cache_key: Option<IgnoredAny>,
    #[serde(rename = "safety_identifier")]
    _safety_identifier: Option<IgnoredAny>,
    #[serde(rename = "user")]
    _user: Option<IgnoredAny>,
    #[serde(rename = "seed")]
    _seed: Option<IgnoredAny>,
    #[serde(rename = "store")]
    _store: Option<IgnoredAny>,
    #[serde(rename = "frequency_penalty")]
    _frequency_penalty: Option<IgnoredAny>,
    #[serde(rename = "presence_penalty")]
    _presence_penalty: Option<IgnoredAny>,
    #[serde(rename = "logit_bias")]
    _logit_bias: Option<IgnoredAny>,
    #[serde(rename = "logprobs")]
    _logprobs: Option<IgnoredAny>,
    #[serde(rename = "top_logprobs")]
    _top_logprobs: Option<IgnoredAny>,
}

/// A field that is there is a number: to a server null, and to some zero too, is no bound at all.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroU64>, D::Error> {
    NonZeroU64::deserialize(from).map(Some)
}

#[derive(Deserialize)]
struct Options {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Content,
}

/// What is in a message besides text.
#[derive(Default, Clone, Copy)]
struct Content {
    pictures: u64,
    /// Something whose tokens can't be told from its bytes, such as a PDF.
    opaque: bool,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    source: Option<Source<'a>>,
    #[serde(borrow)]
    image_url: Option<Picture<'a>>,
    file: Option<File>,
    #[serde(default)]
    content: Content,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Picture<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
}

#[derive(Deserialize)]
struct File {
    file_data: Option<IgnoredAny>,
}

impl Part<'_> {
    fn content(&self) -> Result<Content, &'static str> {
        const BY_ADDRESS: &str = "a picture or file by address or id, whose cost can't be known before";
        let source = self.source.as_ref().map(|source| &*source.kind);
        match (&*self.kind, source) {
            ("text" | "tool_use" | "thinking" | "redacted_thinking" | "refusal", _) => Ok(Content::default()),
            ("tool_result", _) => Ok(self.content),
            ("image", Some("base64")) => Ok(Content { pictures: 1, opaque: false }),
            ("image_url", _) => {
                match self.image_url.as_ref().is_some_and(|image| image.url.starts_with("data:")) {
                    true => Ok(Content { pictures: 1, opaque: false }),
                    false => Err(BY_ADDRESS),
                }
            }
            ("document", Some("text")) => Ok(Content::default()),
            ("document", Some("base64")) => Ok(Content { pictures: 0, opaque: true }),
            ("file", _) if self.file.as_ref().is_some_and(|file| file.file_data.is_some()) => {
                Ok(Content { pictures: 0, opaque: true })
            }
            ("image" | "document" | "file", _) => Err(BY_ADDRESS),
            _ => Err("a part of a kind whose price is not known"),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> de::Visitor<'de> for Parts {
            type Value = Content;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of parts")
            }
            fn visit_str<E>(self, _: &str) -> Result<Content, E> {
                Ok(Content::default())
            }
            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::default())
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut parts: A) -> Result<Content, A::Error> {
                let mut all = Content::default();
                while let Some(part) = parts.next_element::<Part<'de>>()? {
                    let one = part.content().map_err(de::Error::custom)?;
                    all.pictures = all.pictures.saturating_add(one.pictures);
                    all.opaque |= one.opaque;
                }
                Ok(all)
            }
        }
        from.deserialize_any(Parts)
    }
}

/// Bounds a request to a priced model. Gives the body as it is to be sent: where it sets no bound on the answer, with the
/// route's; and a stream of OpenAI's protocol is asked to report its usage.
pub fn bound(terms: &Terms<'_>, body: Bytes) -> Result<(Bytes, Bound), Refusal> {
    let bad = |why: String, mend: &str| refusal(RefusalKind::BadRequest, why, mend);
    let read: Body<'_> = serde_json::from_slice(&body).map_err(|error| {
        let why = format!("read what the request asks for, to know what it can cost: {}", shown(&error.to_string()));
        bad(why, "ask in a form whose cost has a bound; `private = true` models without a price may be asked anything")
    })?;
    if read.model != terms.model {
        let message = format!("the request is for the model {}, the route is not", shown(&read.model));
        return Err(refusal(RefusalKind::NotAllowed, message, "ask for the model that the route is for"));
    }
    let tier = read.service_tier.as_deref().unwrap_or("default");
    if !["default", "standard_only"].contains(&tier) {
        return Err(bad(
            format!("the service tier {} has other prices", shown(tier)),
            "leave service_tier out",
        ));
    }
    let ours = |tool: &Tool<'_>| matches!(tool.kind.as_deref(), None | Some("custom" | "function"));
    if let Some(tool) = read.tools.iter().flatten().find(|tool| !ours(tool)) {
        let kind = shown(tool.kind.as_deref().unwrap_or_default());
        return Err(bad(
            format!("the vendor's own tool {kind} costs what can't be known before"),
            "use skills",
        ));
    }
    let content = read.messages.iter().map(|message| message.content).fold(Content::default(), |all, one| {
        Content { pictures: all.pictures.saturating_add(one.pictures), opaque: all.opaque | one.opaque }
    });
    // A token is at least one byte of what is sent, for every tokeniser that works on bytes.
    let text = (body.len() as u64).saturating_add(OVERHEAD);
    let input = text.saturating_add(content.pictures.saturating_mul(PICTURE));
    let (said, other) = match terms.limit {
        Limit::MaxTokens => (read.max_tokens, read.max_completion_tokens),
        Limit::MaxCompletionTokens => (read.max_completion_tokens, read.max_tokens),
    };
    let field = terms.limit.field();
    if other.is_some() {
        return Err(bad(
            "the server may not know the field that bounds the answer".into(),
            &format!("use {field}"),
        ));
    }
    let each = said.map_or(terms.max_output.into(), NonZeroU64::get);
    // An escaped letter could hide the word; in a name that we know there is none.
    let cached = memmem::find(&body, b"cache_control").is_some() || memmem::find(&body, b"\\u00").is_some();
    let bound = Bound {
        input: (!content.opaque).then_some(input),
        output: each.saturating_mul(read.n.unwrap_or(1).max(1)),
        cached,
    };

    let mut more = String::new();
    if said.is_none() {
        more += &format!("\"{field}\":{},", terms.max_output);
    }
    let told = read.stream_options.and_then(|options| options.include_usage);
    if terms.api == Api::Openai && read.stream == Some(true) && told.is_none() && terms.vendor {
        more += "\"stream_options\":{\"include_usage\":true},";
    }
    Ok((with_fields(body, &more), bound))
}

/// The object with more fields at its beginning. It has others: without a model it was refused.
fn with_fields(body: Bytes, more: &str) -> Bytes {
    let Some(brace) = memchr::memchr(b'{', &body).filter(|_| !more.is_empty()) else { return body };
    let (head, rest) = body.split_at(brace + 1);
    [head, more.as_bytes(), rest].concat().into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openclaw_wire::{config::Api, egress::RefusalKind};
    use serde_json::{Value, json};

    use super::{Bound, Limit, OVERHEAD, PICTURE, Terms, bound};

    fn ask(api: Api, body: &Value) -> Result<(Value, Bound, u64), (RefusalKind, String)> {
        let limit = Limit::of(api, "api.openai.com");
        let terms = Terms { api, model: "m", max_output: 100, vendor: true, limit };
        let text = body.to_string();
        let length = text.len() as u64;
        let (sent, bound) =
            bound(&terms, Bytes::from(text)).map_err(|refusal| (refusal.kind, refusal.message))?;
        Ok((serde_json::from_slice(&sent).expect("still JSON"), bound, length))
    }

    #[test]
    fn what_is_known_is_bounded_and_sent_as_it_is() {
        let plain = json!({"model": "m", "max_tokens": 50, "system": "s", "stream": true,
            "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": null}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "function", "function": {}}]});
        let (sent, bound, length) = ask(Api::Anthropic, &plain).expect("fine");
        assert_eq!(sent, plain);
        assert_eq!(bound, Bound { input: Some(length + OVERHEAD), output: 50, cached: false });

        let rich = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
            {"type": "image", "source": {"type": "base64", "data": "AA"}},
            {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image", "source": {"type": "base64"}}]},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"type": "image"}}]}]});
        let (_, bound, length) = ask(Api::Anthropic, &rich).expect("fine");
        assert_eq!(bound, Bound { input: Some(length + OVERHEAD + 2 * PICTURE), output: 5, cached: true });

        let pdf = json!({"type": "document", "source": {"type": "base64", "data": "AA"}});
        let pdf = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [pdf]}]});
        assert_eq!(ask(Api::Anthropic, &pdf).expect("fine").1.input, None);
    }

    #[test]
    fn a_missing_bound_is_set_and_usage_is_asked_for() {
        let open = json!({"model": "m", "messages": [], "stream": true, "n": 3});
        let (sent, bound, _) = ask(Api::Openai, &open).expect("fine");
        assert_eq!(sent["max_completion_tokens"], 100);
        assert_eq!(sent["stream_options"]["include_usage"], true);
        assert_eq!(bound.output, 300);
        let told = json!({"model": "m", "messages": [], "stream": true, "max_completion_tokens": 7,
            "stream_options": {"include_usage": false}});
        let (sent, bound, _) = ask(Api::Openai, &told).expect("fine");
        assert_eq!((sent, bound.output), (told, 7));
    }

    /// A parser that takes the last of two would find the null behind the bound; a server that knows one field ignores the
    /// other.
    #[test]
    fn only_a_number_in_the_servers_own_field_bounds_an_answer() {
        let asked = |host: &str, api, fields: &str| {
            let limit = Limit::of(api, host);
            let terms = Terms { api, model: "m", max_output: 100, vendor: false, limit };
            let body = format!("{{\"model\":\"m\",\"messages\":[]{fields}}}");
            bound(&terms, body.into()).map(|(sent, bound)| {
                let sent: Value = serde_json::from_slice(&sent).expect("JSON");
                (sent["max_tokens"].as_u64(), sent["max_completion_tokens"].as_u64(), bound.output)
            })
        };
        let (one, other) = (",\"max_tokens\":9", ",\"max_completion_tokens\":9");
        for (host, api, max_tokens) in [
            ("api.anthropic.com", Api::Anthropic, true),
            ("box.lan", Api::Openai, true),
            ("notopenai.com", Api::Openai, true),
            ("api.openai.com", Api::Openai, false),
            ("mine.openai.azure.com", Api::Openai, false),
        ] {
            let (own, foreign) = if max_tokens { (one, other) } else { (other, one) };
            let fields =
                |number| if max_tokens { (Some(number), None, number) } else { (None, Some(number), number) };
            assert_eq!(asked(host, api, own), Ok(fields(9)), "{host}");
            assert_eq!(asked(host, api, ""), Ok(fields(100)), "{host}");
            for bad in [
                foreign.to_owned(),
                format!("{own}{foreign}"),
                own.replace('9', "null"),
                foreign.replace('9', "null"),
                own.replace('9', "0"),
                own.replace('9', "-1"),
            ] {
                assert!(asked(host, api, &bad).is_err(), "{host} {bad}");
            }
        }
    }

    #[test]
    fn what_could_cost_anything_is_refused() {
        let with = |field: &str, value: Value| {
            let mut body = json!({"model": "m", "max_completion_tokens": 5, "messages": []});
            body[field] = value;
            body
        };
        let part = |part: Value| with("messages", json!([{"role": "user", "content": [part]}]));
        for (body, why) in [
            (with("model", json!("another")), "another"),
            (with("speed", json!("fast")), "speed"),
            (with("web_search_options", json!({})), "web_search_options"),
            (with("service_tier", json!("priority")), "priority"),
            (with("tools", json!([{"type": "web_search_20250305", "name": "web_search"}])), "web_search"),
            (part(json!({"type": "image", "source": {"type": "url", "url": "https://x"}})), "by address"),
            (part(json!({"type": "image_url", "image_url": {"url": "https://x"}})), "by address"),
            (part(json!({"type": "file", "file": {"file_id": "f"}})), "by address"),
            (part(json!({"type": "input_audio", "input_audio": {}})), "not known"),
            (
                part(
                    json!({"type": "tool_result", "content": [{"type": "document", "source": {"type": "url"}}]}),
                ),
                "by address",
            ),
            (json!([1]), "read what"),
        ] {
            let (_, message) = ask(Api::Openai, &body).expect_err(why);
            assert!(message.contains(why), "{message}");
        }
        let twice = Bytes::from_static(br#"{"model":"m","max_tokens":1,"max_tokens":9,"messages":[]}"#);
        let limit = Limit::MaxTokens;
        let terms = Terms { api: Api::Anthropic, model: "m", max_output: 1, vendor: true, limit };
        assert_eq!(bound(&terms, twice).expect_err("twice").kind, RefusalKind::BadRequest);
    }
}
