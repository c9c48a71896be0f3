//! The skill `weather`: one question about a place, one or two requests, a few lines of text. Its addresses come from its
//! manifest; keys are added on the way out, and it never sees one.

use std::process::ExitCode;

use openclaw_skill_kit::{arguments, service};
use openclaw_wire::runner::Task;
use serde::Deserialize;
use url::Url;

mod meteo;
mod openweather;

/// Longest answer of a far end, in bytes.
const MOST: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    place: String,
    #[serde(default = "days")]
    days: usize,
    #[serde(default)]
    source: Source,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Source {
    #[default]
    #[serde(rename = "open-meteo")]
    Meteo,
    OpenWeatherMap,
}

fn days() -> usize {
    3
}

fn main() -> ExitCode {
    openclaw_skill_kit::run(answer)
}

fn answer(task: &Task) -> Result<String, String> {
    let wanted: Wanted = arguments(task)?;
    let days = wanted.days.clamp(1, 7);
    match wanted.source {
        Source::Meteo => meteo::weather(&wanted.place, days),
        Source::OpenWeatherMap => openweather::weather(&wanted.place, days),
    }
}

/// Whom it asks, in the order of its manifest.
#[derive(Clone, Copy)]
enum Service {
    Places,
    Forecast,
    OpenWeatherMap,
}

/// An address there with a path and a query.
fn address(of: Service, path: &str, query: &[(&str, &str)]) -> Result<Url, String> {
    let mut url = service::address(of as usize, path)?;
    url.query_pairs_mut().extend_pairs(query);
    Ok(url)
}
