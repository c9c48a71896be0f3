//! The services that bundled skills ask, as others know them: generated clients, the vendors' own SDK and a recorded
//! answer. The skills' requests and the answers of our stand-ins fit all of them.

use std::{collections::BTreeMap, process::Command, sync::Mutex};

use openclaw_tests::{
    broker::{Broker, Far, Seen, Setup},
    peers, vendors,
};
use openclaw_wire::runner::{Answer, Outcome};
use serde_json::{Value, json};

const KEY: &str = "test-key-not-real-0123456789";

fn good(value: &Value) -> (String, String, Vec<u8>) {
    ("200 OK".into(), "content-type: application/json\r\n".into(), value.to_string().into())
}

fn said(broker: &Broker, skill: &str, tool: &str, arguments: Value) -> String {
    let (said, closed) = broker.bundled(skill, tool, arguments);
    said.unwrap_or_else(|error| panic!("{error} {closed:?}\n{}", broker.log()))
}

/// Where the real answer of Brave lies that a client of it ships.
fn recorded() -> std::path::PathBuf {
    let packages = std::fs::read_dir(peers::path("venv/lib")).expect("the environment").flatten().next();
    let packages = packages.expect("one Python").path().join("site-packages");
    packages.join("brave_search_python_client/responses/mock_data/web.json")
}

fn texts(form: &Seen) -> BTreeMap<String, String> {
    let body = String::from_utf8_lossy(&form.body).into_owned();
    let parts = body.split(" name=\"").skip(1);
    parts
        .filter_map(|part| {
            let (name, rest) = part.split_once('"')?;
            let value = rest.split_once("\r\n\r\n")?.1.split("\r\n").next()?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// What the skills ask is in the descriptions, and what our stand-ins answer is what the clients read.
#[test]
fn requests_and_answers_fit_the_clients_types() {
    let real = std::fs::read(recorded()).expect("brave-search-python-client ships a recorded answer");
    let (queries, brave) = (std::sync::Arc::new(Mutex::new(BTreeMap::new())), real.clone());
    let kept = queries.clone();
    let far = move |seen: &Seen| {
        let target = seen.line().split(' ').nth(1).unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        kept.lock().expect("lock").insert(path.to_owned(), query.to_owned());
        match path {
            "/v1/search" => good(&vendors::meteo_places()),
            "/v1/forecast" => good(&vendors::meteo_forecast()),
            "/data/2.5/weather" => good(&vendors::openweather_now()),
            "/data/2.5/forecast" => good(&vendors::openweather_steps()),
            "/res/v1/web/search" => {
                ("200 OK".into(), "content-type: application/json\r\n".into(), brave.clone())
            }
            "/v1/images/generations" => good(&vendors::picture("iVBORw0KGgo=")),
            "/v1/audio/transcriptions" => good(&vendors::transcription("said")),
            other => panic!("asked for {other}"),
        }
    };
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), far);
    let names = ["places", "forecast", "other", "brave", "openai"];
    let setup = names.iter().fold(setup, |setup, name| setup.private(name, &far));
    let setup = setup.key("OPENWEATHER_KEY", KEY).key("BRAVE_SEARCH_KEY", KEY).key("PICTURES_KEY", KEY);
    let openai = [("api.openai.com", "openai.internal"), ("OPENAI_API_KEY", "PICTURES_KEY")];
    let weather = [
        ("geocoding-api.open-meteo.com", "places.internal"),
        ("api.open-meteo.com", "forecast.internal"),
        ("api.openweathermap.org", "other.internal"),
    ];
    let broker = setup
        .bundled("weather", &weather)
        .bundled("web-search", &[("api.search.brave.com", "brave.internal")])
        .bundled("generate-image", &openai)
        .bundled("transcribe-voice", &openai)
        .start();
    ["weather", "web-search", "generate-image", "transcribe-voice"]
        .iter()
        .for_each(|skill| broker.approve(skill));
    said(&broker, "weather", "weather", json!({ "place": "Paris", "days": 2 }));
    said(&broker, "weather", "weather", json!({ "place": "London", "source": "openweathermap" }));
    let found = said(&broker, "web-search", "web_search", json!({ "query": "hello world" }));
    assert!(found.contains("\"Hello, World!\" program - Wikipedia"), "{found}");
    assert!(found.contains("language's basic syntax") && !found.contains("&#x27;"), "{found}");
    let picture = json!({ "prompt": "a blue pot", "name": "pot" });
    let (outcome, made) = broker.with_files("generate-image", "generate_image", &picture, &[]);
    assert_eq!(made.expect("it may make files").expect("whole").len(), 1, "{outcome:?}");
    let note = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut &note, b"OggS").expect("write");
    let sound = json!({ "file": "/attached/7.ogg", "language": "de" });
    match broker.with_files("transcribe-voice", "transcribe_voice", &sound, &[("7.ogg", &note)]).0 {
        Outcome::Output(text) => {
            assert_eq!(
                serde_json::from_str::<Answer>(&text).expect("an answer"),
                Answer::Text("said".into())
            );
        }
        failed => panic!("{failed:?}"),
    }
    let seen = far.seen();
    let of = |path: &str| seen.iter().find(|seen| seen.line().contains(path)).expect(path);
    let images: Value = serde_json::from_slice(&of("/v1/images/").body).expect("JSON");
    let mut requests = json!(*queries.lock().expect("lock"));
    requests["images"] = images;
    requests["transcription"] = json!(texts(of("/v1/audio/")));
    let answers = json!({
        "/v1/search": vendors::meteo_places(), "/v1/forecast": vendors::meteo_forecast(),
        "/data/2.5/weather": vendors::openweather_now(), "/data/2.5/forecast": vendors::openweather_steps(),
        "brave": vendors::brave("Pots", "https://example.com/", "Blue."), "real_brave": recorded(),
        "images": vendors::picture("iVBORw0KGgo="), "transcription": vendors::transcription("said")
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), json!({ "requests": requests, "answers": answers }).to_string())
        .expect("written");
    let judge = Command::new(peers::path("venv/bin/python"))
        .arg(peers::driver("vendors.py"))
        .arg(file.path())
        .output()
        .expect("python starts");
    let (said, wrong) = (String::from_utf8_lossy(&judge.stdout), String::from_utf8_lossy(&judge.stderr));
    assert!(judge.status.success() && said.lines().count() == 4, "{said}\n{wrong}");
}
