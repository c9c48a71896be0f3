//! Open-Meteo: the place by its geocoding API, then the forecast (open-meteo.com/en/docs). No key.

use openclaw_skill_kit::http;
use serde::Deserialize;

use crate::{MOST, Service, address};

#[derive(Deserialize)]
struct Places {
    /// Absent when nothing was found.
    #[serde(default)]
    results: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    name: String,
    country: Option<String>,
    country_code: Option<String>,
    admin1: Option<String>,
    latitude: f64,
    longitude: f64,
}

#[derive(Deserialize)]
struct Forecast {
    current: Current,
    daily: Daily,
}

#[derive(Deserialize)]
struct Current {
    time: String,
    temperature_2m: f64,
    apparent_temperature: f64,
    relative_humidity_2m: f64,
    weather_code: u8,
    wind_speed_10m: f64,
}

/// One list for each value, a number for each day.
#[derive(Deserialize)]
struct Daily {
    time: Vec<String>,
    weather_code: Vec<Option<u8>>,
    temperature_2m_max: Vec<Option<f64>>,
    temperature_2m_min: Vec<Option<f64>>,
    precipitation_sum: Vec<Option<f64>>,
}

/// Finds the place and tells its weather.
pub fn weather(place: &str, days: usize) -> Result<String, String> {
    let found = find(place)?;
    let (latitude, longitude) = (found.latitude.to_string(), found.longitude.to_string());
    let url = address(
        Service::Forecast,
        "/v1/forecast",
        &[
            ("latitude", &latitude),
            ("longitude", &longitude),
            (
                "current",
                "temperature_2m,apparent_temperature,relative_humidity_2m,weather_code,wind_speed_10m",
            ),
            ("daily", "weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum"),
            ("timezone", "auto"),
            ("forecast_days", &days.to_string()),
        ],
    )?;
    let said = http::json(&url, &[], MOST)?;
    let said = Forecast::deserialize(&said).map_err(|error| format!("Open-Meteo answered oddly: {error}"))?;
    Ok(words(&found, &said))
}

/// `Paris, US`: the part after the comma chooses among places of one name.
fn find(place: &str) -> Result<Place, String> {
    let (name, country) = match place.split_once(',') {
        Some((name, country)) => (name.trim(), Some(country.trim().to_lowercase())),
        None => (place.trim(), None),
    };
    let query = [("name", name), ("count", "20"), ("language", "en")];
    let said = http::json(&address(Service::Places, "/v1/search", &query)?, &[], MOST)?;
    let said = Places::deserialize(&said).map_err(|error| format!("Open-Meteo answered oddly: {error}"))?;
    let fits = |found: &Place| {
        country.as_ref().is_none_or(|country| {
            let named = [&found.country, &found.country_code, &found.admin1];
            named.into_iter().flatten().any(|name| name.to_lowercase() == *country)
        })
    };
    said.results.into_iter().find(fits).ok_or_else(|| format!("Open-Meteo knows no place {place:?}"))
}

fn words(place: &Place, said: &Forecast) -> String {
    let where_ = [Some(&place.name), place.admin1.as_ref(), place.country.as_ref()];
    let where_: Vec<_> = where_.into_iter().flatten().map(String::as_str).collect();
    let now = &said.current;
    let mut text = format!(
        "{} (Open-Meteo)\nNow ({}): {}, {} °C (feels like {} °C), humidity {} %, wind {} km/h\n",
        where_.join(", "),
        now.time,
        code(Some(now.weather_code)),
        now.temperature_2m,
        now.apparent_temperature,
        now.relative_humidity_2m,
        now.wind_speed_10m
    );
    let daily = &said.daily;
    for (day, date) in daily.time.iter().enumerate() {
        let number = |list: &[Option<f64>]| {
            list.get(day).copied().flatten().map_or("?".to_owned(), |number| number.to_string())
        };
        text += &format!(
            "{date}: {}, {} to {} °C, {} mm of rain or snow\n",
            code(daily.weather_code.get(day).copied().flatten()),
            number(&daily.temperature_2m_min),
            number(&daily.temperature_2m_max),
            number(&daily.precipitation_sum)
        );
    }
    text
}

/// WMO weather interpretation codes, as Open-Meteo's documentation lists them.
fn code(code: Option<u8>) -> &'static str {
    match code {
        Some(0) => "clear",
        Some(1) => "mainly clear",
        Some(2) => "partly cloudy",
        Some(3) => "overcast",
        Some(45 | 48) => "fog",
        Some(51 | 53 | 55) => "drizzle",
        Some(56 | 57) => "freezing drizzle",
        Some(61) => "light rain",
        Some(63) => "rain",
        Some(65) => "heavy rain",
        Some(66 | 67) => "freezing rain",
        Some(71) => "light snow",
        Some(73) => "snow",
        Some(75) => "heavy snow",
        Some(77) => "snow grains",
        Some(80..=82) => "showers",
        Some(85 | 86) => "snow showers",
        Some(95) => "thunderstorm",
        Some(96 | 99) => "thunderstorm with hail",
        _ => "unknown sky",
    }
}
