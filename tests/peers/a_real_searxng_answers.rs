//! A real SearXNG on loopback answers the skill `web-search`, through the real egress and out of a real jail. Its one engine asks
//! us, so nothing of it needs a network.

use std::path::Path;

use openclaw_tests::{
    broker::{Far, Seen, Setup},
    gateway::free_port,
};
use serde_json::json;

use crate::server::Server;

/// With one engine, which finds what `engine` answers. `enable_http`: SearXNG refuses an engine without TLS otherwise. Its plugins
/// would fetch lists from elsewhere.
fn searxng(folder: &Path, port: u16, engine: &Far) -> Server {
    let settings = format!(
        "use_default_settings:\n  engines:\n    keep_only: [ours]\n\
         search:\n  formats: [html, json]\n\
         server:\n  secret_key: not-a-secret\n  limiter: false\n  port: {port}\n  bind_address: 127.0.0.1\n\
         plugins: {{}}\n\
         engines:\n  - name: ours\n    engine: json_engine\n    shortcut: ours\n    categories: [general]\n    \
         enable_http: true\n    disabled: false\n    search_url: {}/find?q={{query}}\n    results_query: found\n    \
         url_query: address\n    title_query: name\n    content_query: words\n",
        engine.url()
    );
    let file = folder.join("settings.yml");
    std::fs::write(&file, settings).expect("settings");
    let environment = [("SEARXNG_SETTINGS_PATH", file.to_str().expect("text"))];
    Server::start("python", &["-m", "searx.webapp"], &environment, port, folder)
}

/// The engine's answer to the query of the test; to another, nothing.
fn engine(seen: &Seen) -> (String, String, Vec<u8>) {
    let found = match seen.line().starts_with("GET /find?q=blue+pots ") {
        true => json!([
            { "name": "Blue pots & pans", "address": "https://example.com/pots", "words": "In Anna's \"cellar\"." },
            { "name": "More", "address": "https://example.org/more", "words": "" }
        ]),
        false => json!([]),
    };
    let body = json!({ "found": found }).to_string();
    ("200 OK".into(), "content-type: application/json\r\n".into(), body.into())
}

#[test]
fn a_real_searxng_answers() {
    let (far, port) = (Far::plain(engine), free_port());
    let folder = tempfile::tempdir().expect("a folder");
    let searxng = searxng(folder.path(), port, &far);
    let server = format!("[skills.private.searxng]\nurl = \"http://127.0.0.1:{port}\"\n");
    let broker = Setup::new().config(&server).bundled("web-search", &[]).start();
    broker.approve("web-search");
    let find = |query: &str| {
        let arguments = json!({ "query": query, "source": "searxng" });
        let (found, closed) = broker.bundled("web-search", "web_search", arguments);
        found.unwrap_or_else(|error| panic!("{error} {closed:?}\n{}", searxng.log()))
    };
    let found = find("blue pots");
    let first = "1. Blue pots & pans\n   https://example.com/pots\n   In Anna's \"cellar\".\n";
    assert!(found.starts_with(first), "{found}\n{}", searxng.log());
    assert!(found.contains("2. More\n   https://example.org/more\n"), "{found}");
    assert_eq!(find("red pots"), "Nothing was found.");
}
