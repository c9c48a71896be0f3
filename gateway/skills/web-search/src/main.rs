//! The skill `web-search`: one query, one request, a list of results. Its addresses come from its manifest; keys are added on
//! the way out, and it never sees one.

use std::process::ExitCode;

use openclaw_skill_kit::{arguments, cut, http, service};
use openclaw_wire::runner::Task;
use quick_xml::escape::{resolve_predefined_entity, unescape_with};
use serde::Deserialize;
use serde_json::Value;

/// Longest answer of a far end, in bytes.
const MOST: usize = 4 << 20;
/// Words about one result, in characters.
const WORDS: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    query: String,
    #[serde(default = "count")]
    count: usize,
    #[serde(default)]
    source: Source,
}

/// In the order of the manifest.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Source {
    #[default]
    Brave,
    Searxng,
}

/// A result, whoever found it.
#[derive(Debug, PartialEq)]
struct Hit {
    title: String,
    url: String,
    words: String,
}

fn count() -> usize {
    8
}

fn main() -> ExitCode {
    openclaw_skill_kit::run(answer)
}

fn answer(task: &Task) -> Result<String, String> {
    let wanted: Wanted = arguments(task)?;
    let count = wanted.count.clamp(1, 20);
    let number = count.to_string();
    let (path, more): (_, (&str, &str)) = match wanted.source {
        Source::Brave => ("/res/v1/web/search", ("count", &number)),
        Source::Searxng => ("/search", ("format", "json")),
    };
    let mut url = service::address(wanted.source as usize, path)?;
    url.query_pairs_mut().append_pair("q", &wanted.query).append_pair(more.0, more.1);
    let said = http::json(&url, &[("accept", "application/json")], MOST)?;
    let hits = match wanted.source {
        Source::Brave => from_brave(&said),
        Source::Searxng => from_searxng(&said),
    };
    Ok(words(&hits, count))
}

/// `web.results[]` with `title`, `url`, `description` (api-dashboard.search.brave.com/app/documentation). Its words are HTML.
fn from_brave(said: &Value) -> Vec<Hit> {
    hits(&said["web"]["results"], "description", without_markup)
}

/// `results[]` with `title`, `url`, `content` (docs.searxng.org/dev/search_api.html), which are plain.
fn from_searxng(said: &Value) -> Vec<Hit> {
    hits(&said["results"], "content", str::to_owned)
}

fn hits(results: &Value, words: &str, plain: impl Fn(&str) -> String) -> Vec<Hit> {
    let text = |result: &Value, key: &str| result[key].as_str().unwrap_or_default().to_owned();
    let line = |text: &str| {
        let plain = plain(text);
        cut(&plain.split_whitespace().collect::<Vec<_>>().join(" "), WORDS)
    };
    let results = results.as_array().into_iter().flatten();
    results
        .map(|result| Hit {
            title: line(&text(result, "title")),
            url: text(result, "url"),
            words: line(&text(result, words)),
        })
        .filter(|hit| hit.url.starts_with("https://") || hit.url.starts_with("http://"))
        .collect()
}

/// Marks what was found with `<strong>`, and escapes characters as HTML does. What is not escaped well stays as it is.
fn without_markup(text: &str) -> String {
    let text = text.replace("<strong>", "").replace("</strong>", "");
    let named = |name: &str| match name {
        "nbsp" => Some(" "),
        name => resolve_predefined_entity(name),
    };
    unescape_with(&text, named).map(|plain| plain.into_owned()).unwrap_or(text.clone())
}

fn words(hits: &[Hit], count: usize) -> String {
    if hits.is_empty() {
        return "Nothing was found.".into();
    }
    let lines = hits.iter().take(count).enumerate();
    lines.map(|(at, hit)| format!("{}. {}\n   {}\n   {}\n", at + 1, hit.title, hit.url, hit.words)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Hit, from_brave, from_searxng, words};

    #[test]
    fn both_answers_become_the_same_list() {
        let brave = json!({ "type": "search", "web": { "type": "search", "results": [
            { "title": "Blue <strong>pots</strong>", "url": "https://example.com/a", "description": "In Anna&#x27;s\n&quot;cellar&quot; &amp;nbsp;." },
            { "title": "a script", "url": "javascript:alert(1)", "description": "" }
        ] } });
        let searxng = json!({ "query": "q", "results": [
            { "title": "Blue pots", "url": "https://example.com/a", "content": "In Anna's \"cellar\" &nbsp;.", "engine": "x" }
        ] });
        let hit = Hit {
            title: "Blue pots".into(),
            url: "https://example.com/a".into(),
            words: "In Anna's \"cellar\" &nbsp;.".into(),
        };
        assert_eq!(from_brave(&brave), [hit]);
        assert_eq!(from_brave(&brave), from_searxng(&searxng));
        assert_eq!(
            words(&from_searxng(&searxng), 5),
            "1. Blue pots\n   https://example.com/a\n   In Anna's \"cellar\" &nbsp;.\n"
        );
        for nothing in [json!({}), json!([]), json!({ "web": 1, "results": "x" })] {
            assert_eq!(words(&from_brave(&nothing), 5), "Nothing was found.");
            assert!(from_searxng(&nothing).is_empty());
        }
    }
}
