//! OpenWeatherMap: the weather now and the forecast in steps of three hours (openweathermap.org/current, /forecast5). Its key
//! is added on the way out.

use std::collections::BTreeMap;

use openclaw_skill_kit::http;
use serde::Deserialize;

use crate::{MOST, Service, address};

#[derive(Deserialize)]
struct Now {
    name: String,
    sys: Country,
    weather: Vec<Sky>,
    main: Main,
    wind: Wind,
}

#[derive(Deserialize)]
struct Country {
    country: Option<String>,
}

#[derive(Deserialize)]
struct Sky {
    description: String,
}

#[derive(Deserialize)]
struct Main {
    temp: f64,
    feels_like: f64,
    humidity: f64,
}

#[derive(Deserialize)]
struct Wind {
    /// Metres a second with `units=metric`.
    speed: f64,
}

#[derive(Deserialize)]
struct Steps {
    list: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    /// `2026-11-22 15:00:00`, UTC.
    dt_txt: String,
    main: Main,
    weather: Vec<Sky>,
}

/// Tells the weather of a place.
pub fn weather(place: &str, days: usize) -> Result<String, String> {
    let query = [("q", place), ("units", "metric"), ("lang", "en")];
    let odd = |error: serde_json::Error| format!("OpenWeatherMap answered oddly: {error}");
    let ask = |path: &str| http::json(&address(Service::OpenWeatherMap, path, &query)?, &[], MOST);
    let now = ask("/data/2.5/weather")?;
    let now = Now::deserialize(&now).map_err(odd)?;
    let steps = ask("/data/2.5/forecast")?;
    let steps = Steps::deserialize(&steps).map_err(odd)?;
    let sky = |weather: &[Sky]| weather.first().map(|sky| sky.description.clone()).unwrap_or_default();
    let mut text = format!(
        "{}, {} (OpenWeatherMap)\nNow: {}, {} °C (feels like {} °C), humidity {} %, wind {:.0} km/h\n",
        now.name,
        now.sys.country.as_deref().unwrap_or("?"),
        sky(&now.weather),
        now.main.temp,
        now.main.feels_like,
        now.main.humidity,
        now.wind.speed * 3.6
    );
    let mut by_day: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in &steps.list {
        by_day.entry(step.dt_txt.get(..10).unwrap_or("?")).or_default().push(step);
    }
    for (day, steps) in by_day.into_iter().take(days) {
        let temperatures = || steps.iter().map(|step| step.main.temp);
        let noon = steps.iter().find(|step| step.dt_txt.ends_with("12:00:00")).unwrap_or(&steps[0]);
        text += &format!(
            "{day}: {}, {} to {} °C\n",
            sky(&noon.weather),
            temperatures().fold(f64::INFINITY, f64::min),
            temperatures().fold(f64::NEG_INFINITY, f64::max)
        );
    }
    Ok(text)
}
