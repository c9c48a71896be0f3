//! A key that a manifest declares is added outside the jail, to requests to its host alone; what comes back is looked
//! through, and what goes out.

use openclaw_tests::broker::{Broker, Far, Seen, Setup};
use openclaw_wire::skill::Reach;
use serde_json::{Value, json};

const KEY: &str = "test-key-not-real-0123456789";

/// Echoes the request, as an error page does, and the keys in the reason behind its status too.
fn echo(seen: &Seen) -> (String, String, Vec<u8>) {
    let text = format!("{}\n{}", seen.head, String::from_utf8_lossy(&seen.body));
    (
        format!(
            "200 OK {} {}",
            seen.header("x-api-key").unwrap_or("-"),
            seen.header("authorization").unwrap_or("-")
        ),
        format!("x-echo: {}\r\nx-fine: yes\r\n", seen.header("x-api-key").unwrap_or("none")),
        text.into(),
    )
}

fn world(entry: &str) -> (Broker, Far) {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), echo);
    let broker = setup
        .private("api", &far)
        .key("WEATHER_KEY", KEY)
        .key("OTHER_KEY", "test-other-not-real-9876543210")
        .skill(
            "weather",
            &format!("hosts = [{{ host = \"api.internal\", methods = [\"GET\", \"POST\"]{entry} }}]"),
        )
        .start();
    broker.approve("weather");
    (broker, far)
}

fn fetch(url: &str, headers: Value) -> Value {
    json!({ "act": "fetch", "url": url, "headers": headers })
}

/// Each place in which a key can be: the far end gets it, the skill gets neither it nor its echo, and cannot put its own
/// there.
#[test]
fn a_key_is_added_outside_and_masked_on_its_way_back() {
    for (entry, name, value) in [
        (", secret = \"WEATHER_KEY\"", "authorization", format!("Bearer {KEY}")),
        (", secret = \"WEATHER_KEY\", secret_as = \"header x-api-key\"", "x-api-key", KEY.to_owned()),
        (
            ", secret = \"WEATHER_KEY\", secret_as = \"query appid\"",
            "",
            format!("GET /data?q=a+b&appid={KEY} HTTP/1.1"),
        ),
    ] {
        let (broker, far) = world(entry);
        let headers = json!({ "authorization": "Bearer mine", "x-api-key": "mine" });
        let (said, closed) =
            broker.ok("weather", fetch("https://api.internal/data?q=a%20b&appid=mine", headers));
        assert_eq!(said["status"], 200, "{said}");
        let seen = &far.seen()[0];
        match name {
            "" => assert_eq!(seen.line(), value),
            name => assert_eq!(seen.header(name), Some(value.as_str())),
        }
        let line = said["head"].as_str().and_then(|head| head.lines().next());
        assert_eq!(line.map(str::trim_end), Some("HTTP/1.1 200 OK"), "the reason is not the far end's");
        let all = said.to_string();
        assert!(!all.contains(KEY) && all.contains(&"*".repeat(KEY.len())), "{all}");
        assert!(!all.contains("x-echo: test-key") && all.contains("x-fine: yes"), "{all}");
        assert!(closed.denials.is_empty(), "{closed:?}");
        assert!(!broker.log().contains(KEY));
    }
}

/// Incident 63: a key in a request does not leave, plain, in base64, in hex or in a URL, in one piece or in several, in
/// headers, path or body.
#[test]
fn a_key_in_a_request_does_not_leave() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let (broker, far) = world("");
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let base64 = STANDARD.encode(format!("user:{KEY}"));
    let post = |body: &str| json!({ "act": "fetch", "url": "https://api.internal/data", "method": "POST", "body": body });
    let long = format!("{}{KEY}", "x".repeat(100_000));
    let (half, rest) = KEY.split_at(11);
    let pieces = |a: &str, b: &str| json!({ "act": "fetch", "url": "https://api.internal/data", "method": "POST", "pieces": [a, b] });
    for arguments in [
        post(KEY),
        post(&hex),
        post(&percent),
        post(&base64),
        post(&long),
        pieces(&format!("a={half}"), rest),
        pieces(&hex[..7], &hex[7..]),
        pieces(&base64[..20], &base64[20..]),
        fetch(&format!("https://api.internal/data?k={KEY}"), json!({})),
        fetch(&format!("https://api.internal/{hex}"), json!({})),
        fetch("https://api.internal/data", json!({ "x-mine": KEY })),
        fetch("https://api.internal/data", json!({ "authorization": format!("Basic {base64}") })),
    ] {
        let (said, closed) = broker.call("weather", arguments.clone());
        assert_eq!(closed.denials.len(), 1, "{arguments}: {said} {closed:?}");
        assert!(
            closed.denials[0].message.contains("tried to send one of OpenClaw's keys to api.internal:443"),
            "{closed:?}"
        );
    }
    for seen in far.seen() {
        let all = format!("{}{}", seen.head, String::from_utf8_lossy(&seen.body));
        assert!(![KEY, &hex, &percent, &base64].into_iter().any(|form| all.contains(form)), "{all}");
    }
    // What cannot be looked into stays here; without a key the same requests pass.
    let zipped = json!({ "act": "fetch", "url": "https://api.internal/data", "method": "POST", "body": "x",
        "headers": { "content-encoding": "gzip" } });
    assert_eq!(broker.ok("weather", zipped).0["status"], 403);
    for arguments in [post("no key"), pieces("test-key-", "for-nobody"), post(&"x".repeat(100_000))] {
        assert_eq!(broker.ok("weather", arguments).0["status"], 200);
    }
}

/// Incident 117: a key that is not there is an error that names it, never a request without. A key that a model uses goes
/// to no other host, whatever a manifest says.
#[test]
fn missing_and_foreign_keys_are_named() {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), echo);
    let model = "[[model]]\nname = \"m\"\napi = \"anthropic\"\nmodel = \"x\"\nkey = \"MODEL_KEY\"\n";
    let broker = setup
        .private("api", &far)
        .config(model)
        .key("MODEL_KEY", "test-model-key-not-real-55")
        .skill("missing", "hosts = [{ host = \"api.internal\", secret = \"NO_SUCH_KEY\" }]")
        .skill("greedy", "hosts = [{ host = \"api.internal\", secret = \"MODEL_KEY\" }]")
        .start();
    broker.approve("missing");
    let (said, closed) = broker.ok("missing", fetch("https://api.internal/", json!({})));
    assert_eq!(said["status"], 403, "{said}");
    assert!(closed.denials[0].message.contains("skill missing needs the key NO_SUCH_KEY"), "{closed:?}");
    let hosts = json!([{ "host": "api.internal", "secret": "MODEL_KEY" }]);
    let approval = json!({ "skill": "greedy", "digest": broker.digest("greedy"), "hosts": hosts });
    let refused = broker.operator("POST", "/skills/approve", &approval).refusal();
    assert!(refused.message.contains("may not have the key MODEL_KEY"), "{}", refused.message);
    assert_eq!(far.connections(), 0);
}

/// Incident 63: what comes along names methods and paths at each host; only the page that a call names is open whole, to read.
#[test]
fn bundled_manifests_name_methods_and_paths() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/skills");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the bundled skills").flatten() {
        if !entry.path().join("skill.toml").exists() {
            continue;
        }
        let skill = openclaw_wire::skill::load(&entry.path()).expect("a good skill");
        for grant in skill.manifest.iter().flat_map(|manifest| &manifest.permissions.hosts) {
            let methods: Vec<_> = grant.methods.iter().map(|method| method.as_str()).collect();
            let paths: Vec<_> = grant.paths.iter().map(|path| path.as_str()).collect();
            match &grant.reach {
                Reach::Host(_) => assert!(!paths.contains(&"/"), "{}: {paths:?}", skill.id),
                Reach::Argument(_) => assert_eq!(methods, ["GET"], "{}", skill.id),
            }
            assert!(methods.len() == 1 && !grant.tunnel, "{}: {methods:?}", skill.id);
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}
