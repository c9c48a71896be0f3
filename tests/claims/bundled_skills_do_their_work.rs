//! The skills that come along, each in its jail and through the real egress. Their far ends are stand-ins that answer as the
//! services' own documentation says.

use std::{fs::File, io::Write};

use openclaw_tests::{
    broker::{Broker, Far, Seen, Setup},
    vendors,
};
use openclaw_wire::runner::{Answer, Outcome};
use serde_json::{Value, json};

const KEY: &str = "test-key-not-real-0123456789";

fn good(value: &Value) -> (String, String, Vec<u8>) {
    ("200 OK".into(), "content-type: application/json\r\n".into(), value.to_string().into())
}

/// What a request asks for, without the host.
fn path(seen: &Seen) -> String {
    seen.line().split(' ').nth(1).unwrap_or_default().to_owned()
}

fn said(broker: &Broker, skill: &str, tool: &str, arguments: Value) -> String {
    let (said, closed) = broker.bundled(skill, tool, arguments);
    said.unwrap_or_else(|error| panic!("{error} {closed:?}\n{}", broker.log()))
}

/// Notes are files of the user, and stay after the call.
#[test]
fn notes_are_kept() {
    let setup = Setup::new().bundled("notes", &[]);
    let folder = setup.path("home/notes");
    std::fs::create_dir(&folder).expect("a folder");
    let broker = setup.start();
    said(&broker, "notes", "write_note", json!({ "title": "Shopping", "text": "milk" }));
    said(&broker, "notes", "write_note", json!({ "title": "Shopping", "text": "bread", "append": true }));
    assert_eq!(std::fs::read_to_string(folder.join("Shopping.md")).expect("there"), "milk\nbread");
    std::fs::write(folder.join("Mine.md"), "written by hand").expect("a note");
    assert_eq!(said(&broker, "notes", "list_notes", json!({ "words": "by hand" })), "Mine");
    assert_eq!(said(&broker, "notes", "read_note", json!({ "title": "Shopping" })), "milk\nbread");
    let (refused, _) = broker.bundled("notes", "read_note", json!({ "title": "../documents/note" }));
    assert!(refused.expect_err("outside").contains("no slash"));
    said(&broker, "notes", "delete_note", json!({ "title": "Shopping" }));
    assert!(!folder.join("Shopping.md").exists());
}

/// Open-Meteo and OpenWeatherMap.
fn weather(seen: &Seen) -> (String, String, Vec<u8>) {
    let path = path(seen);
    if path.starts_with("/v1/search") {
        assert!(path.contains("name=Paris"), "{path}");
        good(&vendors::meteo_places())
    } else if path.starts_with("/v1/forecast") {
        good(&vendors::meteo_forecast())
    } else if path.starts_with("/data/2.5/weather") {
        good(&vendors::openweather_now())
    } else if path.starts_with("/data/2.5/forecast") {
        good(&vendors::openweather_steps())
    } else {
        ("404 Not Found".into(), String::new(), b"{}".to_vec())
    }
}

/// Without a key from Open-Meteo, with one from OpenWeatherMap, which the skill never sees.
#[test]
fn weather_is_told_from_both_services() {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), weather);
    let changes = [
        ("geocoding-api.open-meteo.com", "places.internal"),
        ("api.open-meteo.com", "forecast.internal"),
        ("api.openweathermap.org", "other.internal"),
    ];
    let setup = setup.private("places", &far).private("forecast", &far).private("other", &far);
    let broker = setup.key("OPENWEATHER_KEY", KEY).bundled("weather", &changes).start();
    broker.approve("weather");
    let text = said(&broker, "weather", "weather", json!({ "place": "Paris, US", "days": 2 }));
    for part in [
        "Paris, Somewhere, United States (Open-Meteo)",
        "Now (2026-11-22T15:00): light rain, 11.5 °C (feels like 10.2 °C), humidity 81 %, wind 14.4 km/h",
        "2026-11-22: light rain, 7 to 12 °C, 1.2 mm",
        "2026-11-23: thunderstorm, 6.5 to 13.5 °C, 0 mm",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(path(&far.seen()[1]).contains("latitude=33.66"), "the place that the user meant");
    let other = json!({ "place": "London", "source": "openweathermap", "days": 1 });
    let text = said(&broker, "weather", "weather", other);
    assert!(text.contains("London, GB (OpenWeatherMap)") && text.contains("wind 14 km/h"), "{text}");
    assert!(
        text.contains("2026-11-22: light rain, 11.5 to 11.5 °C") && !text.contains("2026-11-23"),
        "{text}"
    );
    assert!(far.seen().iter().any(|seen| path(seen).contains(&format!("appid={KEY}"))));
    assert!(!text.contains(KEY) && !broker.log().contains(KEY));
}

/// The readable part of a page; a redirect is followed on its own host alone; what is denied is explained.
#[test]
fn pages_are_read() {
    let page = |seen: &Seen| match path(seen).as_str() {
        "/old" => ("301 Moved Permanently".into(), "location: /new\r\n".into(), Vec::new()),
        "/away" => ("302 Found".into(), "location: https://example.com/there\r\n".into(), Vec::new()),
        "/new" => {
            let html = "<html><body><nav>menu</nav><main><h1>Pots</h1><p>The blue one is in the cellar.</p></main></body></html>";
            ("200 OK".into(), "content-type: text/html; charset=utf-8\r\n".into(), html.into())
        }
        _ => ("404 Not Found".into(), "content-type: text/plain\r\n".into(), b"there is nothing".to_vec()),
    };
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), page);
    let broker = setup
        .private("page", &far)
        .bundled("fetch-page", &[("argument = \"url\"", "host = \"page.internal\"")])
        .start();
    broker.approve("fetch-page");
    let fetch = |url: &str| broker.bundled("fetch-page", "fetch_page", json!({ "url": url }));
    let text = fetch("https://page.internal/old#part").0.expect("a page");
    assert!(text.contains("Pots") && text.contains("in the cellar") && !text.contains("menu"), "{text}");
    let moved = fetch("https://page.internal/away").0.expect_err("another host");
    assert!(moved.contains("https://example.com/there"), "{moved}");
    let missing = fetch("https://page.internal/none").0.expect_err("404");
    assert!(missing.contains("404") && missing.contains("there is nothing"), "{missing}");
    let (denied, closed) = fetch("https://example.com/");
    assert!(denied.expect_err("denied").contains("not in its manifest"), "{closed:?}");
    assert_eq!(closed.denials.len(), 1);
}

/// Incident 62: it goes the way of every skill. As it is bundled, the host of the page that a call names is open, and a private one is not.
#[test]
fn pages_of_private_endpoints_are_not_read() {
    let setup = Setup::new();
    let far = Far::plain(Far::says("inside"));
    let broker = setup.private("inside", &far).bundled("fetch-page", &[]).start();
    broker.approve("fetch-page");
    for url in ["https://inside.internal/", "https://127.0.0.1/", "https://[::1]/", "https://localhost/"] {
        let (refused, closed) = broker.bundled("fetch-page", "fetch_page", json!({ "url": url }));
        assert!(refused.is_err(), "{url}: {closed:?}");
    }
    assert_eq!(far.connections(), 0);
}

/// Brave with its key in the header that it wants, SearXNG without any.
#[test]
fn the_web_is_searched_at_both() {
    let search = |seen: &Seen| {
        let path = path(seen);
        let url = "https://example.com/pots";
        if path.starts_with("/res/v1/web/search?q=blue+pots&count=3") {
            let words = "Anna&#x27;s &quot;pots&quot; &amp; pans &lt;b&gt; &nbsp;at Brave.";
            good(&vendors::brave("Blue <strong>pots</strong>", url, words))
        } else if path.starts_with("/search?q=blue+pots&format=json") {
            good(&vendors::searxng("Blue pots", url, "At SearXNG &amp; co."))
        } else {
            ("422 Unprocessable Entity".into(), String::new(), path.into())
        }
    };
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), search);
    let setup = setup.private("brave", &far).private("searxng", &far).key("BRAVE_SEARCH_KEY", KEY);
    let broker = setup.bundled("web-search", &[("api.search.brave.com", "brave.internal")]).start();
    broker.approve("web-search");
    let find = |more: Value| {
        let mut arguments = json!({ "query": "blue pots", "count": 3 });
        arguments.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        said(&broker, "web-search", "web_search", arguments)
    };
    let words = "Anna's \"pots\" & pans <b> at Brave.";
    assert_eq!(find(json!({})), format!("1. Blue pots\n   https://example.com/pots\n   {words}\n"));
    assert_eq!(
        find(json!({ "source": "searxng" })),
        "1. Blue pots\n   https://example.com/pots\n   At SearXNG &amp; co.\n"
    );
    let seen = far.seen();
    assert_eq!(seen[0].header("x-subscription-token"), Some(KEY));
    assert_eq!(seen[1].header("x-subscription-token"), None);
}

/// A sound file goes as a form to the service, with the key; or to the user's own server, without.
#[test]
fn speech_becomes_text() {
    let hear = |seen: &Seen| {
        let (kind, body) =
            (seen.header("content-type").unwrap_or_default(), String::from_utf8_lossy(&seen.body));
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a form");
        let parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
        let has = |part: &str| parts.iter().any(|each| each.contains(part));
        assert!(
            path(seen) == "/v1/audio/transcriptions" && has("name=\"model\"\r\n\r\ngpt-transcribe"),
            "{body}"
        );
        assert!(
            has("name=\"file\"; filename=\"7.ogg\"\r\nContent-Type: audio/ogg\r\n\r\nOggS and more"),
            "{body}"
        );
        let language = if has("name=\"language\"\r\n\r\nde") { "German" } else { "any" };
        good(&vendors::transcription(&format!(" said in {language} ")))
    };
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), hear);
    let setup = setup.private("openai", &far).private("whisper", &far).key("PICTURES_KEY", KEY);
    let broker = setup
        .bundled(
            "transcribe-voice",
            &[("api.openai.com", "openai.internal"), ("OPENAI_API_KEY", "PICTURES_KEY")],
        )
        .start();
    broker.approve("transcribe-voice");
    let note = open("OggS and more");
    let hear = |arguments: Value| {
        let (outcome, made) =
            broker.with_files("transcribe-voice", "transcribe_voice", &arguments, &[("7.ogg", &note)]);
        assert!(made.is_none(), "it may make nothing");
        answered(outcome)
    };
    assert_eq!(hear(json!({ "file": "/attached/7.ogg" })).expect("text"), "said in any");
    let local = json!({ "file": "/attached/7.ogg", "language": "de", "source": "local" });
    assert_eq!(hear(local).expect("text"), "said in German");
    assert!(hear(json!({ "file": "/attached/8.ogg" })).expect_err("another").contains("no attachment"));
    assert!(hear(json!({ "file": "../documents/x.ogg" })).is_err());
    let seen = far.seen();
    assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!((seen[1].header("authorization"), seen.len()), (None, 2));
}

/// A picture comes out of the jail as a file for the conversation, byte for byte as the service made it.
#[test]
fn pictures_are_made_and_handed_out() {
    let draw = |seen: &Seen| {
        let asked: Value = serde_json::from_slice(&seen.body).expect("JSON");
        assert_eq!(
            asked,
            json!({ "model": "gpt-image-2", "prompt": "a blue pot", "n": 1, "size": "1024x1024" })
        );
        good(&vendors::picture("iVBORw0KGgo="))
    };
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), draw);
    let setup = setup.private("openai", &far).key("PICTURES_KEY", KEY);
    let broker = setup
        .bundled(
            "generate-image",
            &[("api.openai.com", "openai.internal"), ("OPENAI_API_KEY", "PICTURES_KEY")],
        )
        .start();
    broker.approve("generate-image");
    let draw = |name: &str| {
        let arguments = json!({ "prompt": "a blue pot", "name": name });
        let (outcome, made) = broker.with_files("generate-image", "generate_image", &arguments, &[]);
        (answered(outcome), made.expect("it may make files").expect("whole"))
    };
    let (said, made) = draw("pot");
    assert_eq!(said.expect("a picture"), "The picture pot.png is made (8 bytes).");
    assert_eq!(made, [("pot.png".to_owned(), b"\x89PNG\r\n\x1a\n".to_vec())]);
    let (refused, made) = draw("../pot");
    assert!(refused.expect_err("no name").contains("is no name") && made.is_empty());
    assert_eq!(far.seen().len(), 1, "nothing is paid for a name that can't be");
}

fn answered(outcome: Outcome) -> Result<String, String> {
    match outcome {
        Outcome::Output(text) => match serde_json::from_str(&text).expect("an answer") {
            Answer::Text(text) => Ok(text),
            Answer::Error(text) => Err(text),
            other => panic!("{other:?}"),
        },
        failed => panic!("{failed:?}"),
    }
}

/// A file as the gateway has it open.
fn open(text: &str) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(text.as_bytes()).expect("write");
    file
}
