//! The skill `fetch-page`: gets one page and gives its readable text. Follows redirects on the same host alone, because no
//! other host is open to it; runs nothing that is in a page.

use std::process::ExitCode;

use openclaw_skill_kit::{arguments, http};
use openclaw_wire::runner::Task;
use serde::Deserialize;
use url::Url;

mod readable;

/// Largest page, in bytes.
const PAGE: usize = 8 << 20;
/// Redirects that are followed.
const HOPS: usize = 5;
/// Characters of one answer.
const ANSWER: usize = 24_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    url: String,
    #[serde(default)]
    offset: usize,
}

fn main() -> ExitCode {
    openclaw_skill_kit::run(answer)
}

fn answer(task: &Task) -> Result<String, String> {
    let wanted: Wanted = arguments(task)?;
    let mut url: Url =
        wanted.url.parse().map_err(|error| format!("{:?} is no address: {error}", wanted.url))?;
    for _ in 0..=HOPS {
        url.set_fragment(None);
        let headers =
            [("accept", "text/html, text/plain;q=0.9, */*;q=0.1"), ("accept-language", "en, *;q=0.5")];
        let reply = http::get(&url, &headers, PAGE)?;
        let Some(location) = reply.location.clone().filter(|_| reply.status.is_redirection()) else {
            let reply = reply.good(&url)?;
            return Ok(part(&readable::text(&reply.kind, &reply.body)?, wanted.offset));
        };
        let next =
            url.join(&location).map_err(|error| format!("the page has moved to no address: {error}"))?;
        if next.origin() != url.origin() {
            return Err(format!(
                "the page has moved to {next}, on another host; fetch that address if it is the right one"
            ));
        }
        url = next;
    }
    Err(format!("the page sends from one address to the next, more than {HOPS} times"))
}

/// From a character on.
fn part(text: &str, offset: usize) -> String {
    let rest: String = text.chars().skip(offset).take(ANSWER).collect();
    let end = offset + rest.chars().count();
    match text.chars().nth(end) {
        Some(_) => format!("{rest}\n(cut; go on with offset {end})"),
        None => rest,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_text_goes_on_where_it_was_cut() {
        let text = "ä".repeat(super::ANSWER + 10);
        let first = super::part(&text, 0);
        assert!(first.ends_with(&format!("offset {})", super::ANSWER)), "{}", &first[first.len() - 40..]);
        assert_eq!(super::part(&text, super::ANSWER), "ä".repeat(10));
        assert_eq!(super::part(&text, 1_000_000), "");
    }
}
