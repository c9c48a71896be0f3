//! Lists of payloads that others collected, through the real egress and a real jail: nothing of them gets through. The lists are not
//! part of the repository: `OPENCLAW_PAYLOADS` names a folder with files of JSON lines, each with its payload as `text`, whose names
//! begin with `ssrf_`, `traversal_` or, for what has to work, `benign_paths`.

use std::path::PathBuf;

use openclaw_tests::broker::{Far, Setup};
use serde_json::{Value, json};

use crate::no_spelling_of_an_address_or_path_gets_through::{climbs, refused, world};

/// Calls of the prober in one jail.
const TOGETHER: usize = 200;

/// The payloads of all files of that kind; `None`, and said so, when there is no folder.
fn payloads(kind: &str) -> Option<Vec<String>> {
    let Some(folder) = std::env::var_os("OPENCLAW_PAYLOADS").map(PathBuf::from) else {
        println!("NOT CHECKED: lists of payloads; OPENCLAW_PAYLOADS names no folder of them");
        return None;
    };
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(kind));
    let text: String = files.map(|file| std::fs::read_to_string(file.path()).expect("a list")).collect();
    let payload = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a JSON line");
        line["text"].as_str().expect("a payload").to_owned()
    };
    let all: Vec<String> = text.lines().map(payload).collect();
    assert!(!all.is_empty(), "no {kind} in {}", folder.display());
    Some(all)
}

/// As a whole address to a proxy, and as what stands between `://` and the first `/`.
#[test]
fn addresses_that_lead_inside_lead_nowhere() {
    let Some(payloads) = payloads("ssrf_") else { return };
    let (broker, far) = world("{ host = \"good.internal\" }");
    let lines = payloads.iter().flat_map(|text| {
        let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        [
            format!("GET {text} HTTP/1.1\r\nhost: good.internal\r\n\r\n"),
            format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n"),
            format!("CONNECT {authority}:443 HTTP/1.1\r\nhost: good.internal\r\n\r\n"),
        ]
    });
    let each: Vec<Value> = lines.map(|bytes| json!({ "act": "proxy", "bytes": bytes })).collect();
    for part in each.chunks(TOGETHER) {
        let (said, _) = broker.call("weather", json!({ "each": part }));
        for (act, said) in part.iter().zip(said.as_array().expect("a list")) {
            assert!(refused(said), "{act}: {said}");
        }
    }
    assert_eq!(far.connections(), 0, "nobody was dialled");
    let (said, _) = broker.ok("weather", json!({ "act": "fetch", "url": "https://good.internal/" }));
    assert_eq!((said["status"].clone(), far.connections()), (json!(200), 1), "the one that is named opens");
    println!("{} payloads, {} requests", payloads.len(), each.len());
}

/// Behind an allowed path, as a path in the jail, and as the name of a document: what is allowed stays allowed.
#[test]
fn paths_that_climb_stay_inside() {
    let (Some(climbing), Some(benign)) = (payloads("traversal_"), payloads("benign_paths")) else { return };
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), Far::says("an answer"));
    let hosts = "hosts = [{ host = \"good.internal\", paths = [\"/data/\"] }]\nread = [\"~/documents\"]";
    let setup = setup.private("good", &far).skill("weather", hosts).bundled("read-documents", &[]);
    std::fs::write(setup.path("home/documents/inside.txt"), "inside").expect("a document");
    std::fs::write(setup.path("home/outside.txt"), "OUTSIDE-CANARY").expect("another");
    let broker = setup.start();
    broker.approve("weather");
    let fetch =
        |text: &String| json!({ "act": "fetch", "url": format!("https://good.internal/data/{text}") });
    let mut arrived = 0;
    for (list, good) in [(&climbing, false), (&benign, true)] {
        let acts: Vec<Value> = list.iter().map(fetch).collect();
        for part in acts.chunks(TOGETHER) {
            let (said, _) = broker.call("weather", json!({ "each": part }));
            for (act, said) in part.iter().zip(said.as_array().expect("a list")) {
                let status = said["ok"]["status"].as_u64();
                assert!(!good || status == Some(200), "{act}: {said}");
                assert!(matches!(status, Some(200 | 400 | 403) | None), "{act}: {said}");
                arrived += usize::from(status == Some(200));
            }
        }
    }
    let seen = far.seen();
    assert_eq!(seen.len(), arrived);
    for request in &seen {
        // What follows a question mark is no path.
        let path = request.line().split([' ', '?']).nth(1).expect("a path");
        assert!(path.starts_with("/data/") && !climbs(path), "{path}");
    }

    let inside = ["/files/documents", "/files/documents/inside.txt"];
    let paths = climbing.iter().flat_map(|text| [text.clone(), format!("{}/{text}", inside[0])]);
    let reads: Vec<Value> = paths.map(|path| json!({ "act": "read", "path": path })).collect();
    for part in reads.chunks(TOGETHER) {
        let (said, _) = broker.call("weather", json!({ "each": part }));
        for (act, said) in part.iter().zip(said.as_array().expect("a list")) {
            assert!(said["ok"].is_null(), "{act}: {said}");
        }
    }
    let (said, _) = broker.ok("weather", json!({ "act": "read", "path": inside[1] }));
    assert_eq!(said, "inside", "the control");

    for text in climbing.iter().step_by(4) {
        let (said, _) = broker.bundled("read-documents", "read_document", json!({ "path": text }));
        let said = said.unwrap_or_else(|error| error);
        assert!(!said.contains("OUTSIDE-CANARY") && !said.contains("root:"), "{text:?}: {said}");
    }
    let (said, _) = broker.bundled("read-documents", "read_document", json!({ "path": "inside.txt" }));
    assert!(said.expect("the control").contains("inside"));
    println!("{} that climb, {} that do not; {arrived} arrived", climbing.len(), benign.len());
}
