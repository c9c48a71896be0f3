//! The skill `web-search`: one query, one request, a list of results. Its addresses come from its manifest; keys are added on
//! the way out, and it never sees one.

use std::process::ExitCode;

use openclaw_skill_kit::{arguments, cut, http, service::addresses};
use openclaw_wire::runner::Task;
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

#[derive(Deserialize, Default)]
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
    let [mut brave, mut searxng] = addresses()?;
    let count = wanted.count.clamp(1, 20);
    let hits = match wanted.source {
        Source::Brave => {
            brave.set_path("/res/v1/web/search");
            brave.query_pairs_mut().append_pair("q", &wanted.query).append_pair("count", &count.to_string());
            from_brave(&http::json(&brave, &[("accept", "application/json")], MOST)?)
        }
        Source::Searxng => {
            searxng.set_path("/search");
            searxng.query_pairs_mut().append_pair("q", &wanted.query).append_pair("format", "json");
            from_searxng(&http::json(&searxng, &[("accept", "application/json")], MOST)?)
        }
    };
    Ok(words(&hits, count))
}

/// `web.results[]` with `title`, `url`, `description` (api-dashboard.search.brave.com/app/documentation).
fn from_brave(said: &Value) -> Vec<Hit> {
    hits(&said["web"]["results"], "description")
}

/// `results[]` with `title`, `url`, `content` (docs.searxng.org/dev/search_api.html).
fn from_searxng(said: &Value) -> Vec<Hit> {
    hits(&said["results"], "content")
}

fn hits(results: &Value, words: &str) -> Vec<Hit> {
    let text = |result: &Value, key: &str| result[key].as_str().unwrap_or_default().to_owned();
    let results = results.as_array().into_iter().flatten();
    results
        .map(|result| Hit {
            title: plain(&text(result, "title")),
            url: text(result, "url"),
            words: plain(&text(result, words)),
        })
        .filter(|hit| hit.url.starts_with("https://") || hit.url.starts_with("http://"))
        .collect()
}

/// Brave marks what was found with `<strong>`; nothing else is HTML.
fn plain(text: &str) -> String {
    let text = text.replace("<strong>", "").replace("</strong>", "");
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), WORDS)
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
            { "title": "Blue <strong>pots</strong>", "url": "https://example.com/a", "description": "In the\ncellar." },
            { "title": "a script", "url": "javascript:alert(1)", "description": "" }
        ] } });
        let searxng = json!({ "query": "q", "results": [
            { "title": "Blue pots", "url": "https://example.com/a", "content": "In the cellar.", "engine": "x" }
        ] });
        let hit = Hit {
            title: "Blue pots".into(),
            url: "https://example.com/a".into(),
            words: "In the cellar.".into(),
        };
        assert_eq!(from_brave(&brave), [hit]);
        assert_eq!(from_brave(&brave), from_searxng(&searxng));
        assert_eq!(
            words(&from_searxng(&searxng), 5),
            "1. Blue pots\n   https://example.com/a\n   In the cellar.\n"
        );
        for nothing in [json!({}), json!([]), json!({ "web": 1, "results": "x" })] {
            assert_eq!(words(&from_brave(&nothing), 5), "Nothing was found.");
            assert!(from_searxng(&nothing).is_empty());
        }
    }
}
