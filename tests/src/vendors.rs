//! What the services answer that the bundled skills ask: the answers of the stand-ins, in one place, so that third parties'
//! own types can be held against the very same (`tests/peers`).

use serde_json::{Value, json};

/// Open-Meteo's geocoding API: places of one name.
pub fn meteo_places() -> Value {
    let place = |id: u32, country: &str, code: &str, latitude: f64| {
        json!({ "id": id, "name": "Paris", "latitude": latitude, "longitude": 2.35, "elevation": 42.0,
            "feature_code": "PPLC", "country_code": code, "timezone": "Europe/Paris", "country": country,
            "admin1": "Somewhere" })
    };
    json!({ "results": [place(1, "France", "FR", 48.85), place(2, "United States", "US", 33.66)],
        "generationtime_ms": 0.6 })
}

/// Open-Meteo's forecast.
pub fn meteo_forecast() -> Value {
    let days = ["2026-11-22", "2026-11-23"];
    json!({ "latitude": 33.66, "longitude": 2.35, "elevation": 42.0, "generationtime_ms": 0.1, "utc_offset_seconds": -21600,
        "timezone": "America/Chicago", "timezone_abbreviation": "GMT-6",
        "current_units": { "time": "iso8601", "temperature_2m": "°C" },
        "current": { "time": "2026-11-22T15:00", "interval": 900, "temperature_2m": 11.5, "apparent_temperature": 10.2,
            "relative_humidity_2m": 81, "weather_code": 61, "wind_speed_10m": 14.4 },
        "daily": { "time": days, "weather_code": [61, 95], "temperature_2m_max": [12.0, 13.5],
            "temperature_2m_min": [7.0, 6.5], "precipitation_sum": [1.2, 0.0] },
        "daily_units": { "time": "iso8601", "weather_code": "wmo code" } })
}

/// OpenWeatherMap's current weather.
pub fn openweather_now() -> Value {
    json!({ "coord": { "lon": -0.13, "lat": 51.51 }, "weather": sky(), "base": "stations", "main": main(), "visibility": 10000,
        "wind": { "speed": 4.0, "deg": 80 }, "clouds": { "all": 90 }, "dt": 1_795_348_800,
        "sys": { "country": "GB", "sunrise": 1_795_333_000, "sunset": 1_795_363_000 }, "timezone": 0, "id": 2_643_743,
        "name": "London", "cod": 200 })
}

/// OpenWeatherMap's forecast, in steps of three hours.
pub fn openweather_steps() -> Value {
    let step = |at: u64, time: &str| {
        json!({ "dt": at, "main": main(), "weather": sky(), "clouds": { "all": 90 }, "wind": { "speed": 4.0, "deg": 80 },
            "visibility": 10000, "pop": 0.5, "sys": { "pod": "d" }, "dt_txt": time })
    };
    json!({ "cod": "200", "message": 0, "cnt": 2,
        "list": [step(1_795_348_800, "2026-11-22 12:00:00"), step(1_795_435_200, "2026-11-23 12:00:00")],
        "city": { "id": 2_643_743, "name": "London", "coord": { "lat": 51.51, "lon": -0.13 }, "country": "GB",
            "population": 1_000_000, "timezone": 0, "sunrise": 1_795_333_000, "sunset": 1_795_363_000 } })
}

fn sky() -> Value {
    json!([{ "id": 500, "main": "Rain", "description": "light rain", "icon": "10d" }])
}

fn main() -> Value {
    json!({ "temp": 11.5, "feels_like": 10.2, "temp_min": 10.0, "temp_max": 12.0, "pressure": 1012, "humidity": 81 })
}

/// Brave's web search. What was found is marked, and characters are escaped as in HTML.
pub fn brave(title: &str, url: &str, description: &str) -> Value {
    json!({ "type": "search", "query": { "original": "blue pots", "more_results_available": false },
        "mixed": { "type": "mixed", "main": [{ "type": "web", "index": 0, "all": false }], "top": [], "side": [] },
        "web": { "type": "search", "family_friendly": true,
            "results": [{ "title": title, "url": url, "is_source_local": false, "is_source_both": false,
                "description": description, "language": "en", "family_friendly": true, "type": "search_result",
                "subtype": "generic" }] } })
}

/// A SearXNG's answer in its format `json`.
pub fn searxng(title: &str, url: &str, content: &str) -> Value {
    json!({ "query": "blue pots", "number_of_results": 1, "answers": [], "corrections": [], "infoboxes": [],
        "suggestions": [], "unresponsive_engines": [],
        "results": [{ "title": title, "url": url, "content": content, "engine": "e", "engines": ["e"], "score": 1.0,
            "category": "general", "positions": [1], "template": "default.html", "parsed_url": ["https", "example.com", "/pots", "", "", ""] }] })
}

/// OpenAI's transcription.
pub fn transcription(text: &str) -> Value {
    json!({ "text": text, "usage": { "type": "duration", "seconds": 4 } })
}

/// OpenAI's picture.
pub fn picture(base64: &str) -> Value {
    json!({ "created": 1_795_348_800, "data": [{ "b64_json": base64 }], "background": "opaque", "output_format": "png",
        "quality": "low", "size": "1024x1024",
        "usage": { "total_tokens": 100, "input_tokens": 50, "output_tokens": 50,
            "input_tokens_details": { "text_tokens": 10, "image_tokens": 40 } } })
}
