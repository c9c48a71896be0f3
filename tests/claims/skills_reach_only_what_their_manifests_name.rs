//! From a jail only the hosts, ports, methods and paths of its manifest can be reached, over the proxy that ordinary
//! software finds; what is denied explains itself.

use openclaw_tests::broker::{Broker, CHAT, Far, Setup};
use serde_json::{Value, json};

/// A far end with TLS as `api.internal`, and a skill that may `GET /data` there.
fn world(more: &str) -> (Broker, Far) {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), Far::says("the far end's answer"));
    let hosts = format!("hosts = [{{ host = \"api.internal\", paths = [\"/data\"] }}{more}]");
    let broker = setup.private("api", &far).skill("weather", &hosts).skill("silent", "").start();
    broker.approve("weather");
    (broker, far)
}

fn fetch(url: &str) -> Value {
    json!({ "act": "fetch", "url": url })
}

/// A request that the manifest allows arrives, over TLS twice, with the path that was asked for; others do not, and each
/// denial names the line that would allow it.
#[test]
fn what_is_named_works_and_all_else_is_denied_with_its_reason() {
    let (broker, far) = world("");
    let (said, closed) = broker.ok("weather", fetch("https://api.internal/data/today?q=1"));
    assert_eq!((&said["status"], &said["body"]), (&json!(200), &json!("the far end's answer")), "{said}");
    assert_eq!(far.seen()[0].line(), "GET /data/today?q=1 HTTP/1.1");
    assert_eq!(far.seen()[0].header("host"), Some(format!("localhost:{}", far.port()).as_str()));
    assert_eq!((closed.denials.len(), closed.requests), (0, 1));

    let reached = far.seen().len();
    for (arguments, status, message, mend) in [
        (
            fetch("https://example.com/"),
            "connect",
            "skill weather tried to reach example.com:443 (not in its manifest)",
            r#"hosts = [{ host = "example.com" }]"#,
        ),
        (
            fetch("https://api.internal:8443/data"),
            "connect",
            "skill weather tried to reach api.internal:8443",
            r#"hosts = [{ host = "api.internal", port = 8443 }]"#,
        ),
        (
            fetch("https://api.internal/admin"),
            "status",
            "skill weather tried GET api.internal:443/admin",
            r#"hosts = [{ host = "api.internal", methods = ["GET"], paths = ["/admin"] }]"#,
        ),
        (
            json!({ "act": "fetch", "url": "https://api.internal/data", "method": "POST", "body": "x" }),
            "status",
            "skill weather tried POST api.internal:443/data",
            r#"methods = ["POST"]"#,
        ),
        (
            fetch("http://example.com/"),
            "status",
            "skill weather tried to reach example.com:80",
            r#"port = 80"#,
        ),
        (
            fetch("http://api.internal/data"),
            "status",
            "skill weather tried to reach api.internal:80",
            r#"port = 80"#,
        ),
        (
            json!({ "act": "fetch", "url": "https://api.internal/data", "host": "other.internal" }),
            "status",
            "opened a tunnel to api.internal:443 and asked for other.internal in it",
            "nothing can allow it",
        ),
    ] {
        let (said, closed) = broker.ok("weather", arguments.clone());
        assert_eq!(said[status], 403, "{arguments} {said}");
        assert!(said["body"].as_str().expect("text").contains(message), "the skill is told: {said}");
        assert_eq!(closed.denials.len(), 1, "{closed:?}");
        assert!(closed.denials[0].message.contains(message), "{closed:?}");
        assert!(closed.denials[0].mend.contains(mend), "{closed:?}");
        assert!(broker.log().contains(message), "the log says it");
    }
    assert_eq!(far.seen().len(), reached, "nothing of that arrived");
}

/// Incident 61: without hosts there is no interface, no proxy, no socket at all. Incident 60: with hosts, there is nothing
/// but the proxy.
#[test]
fn there_is_no_other_way() {
    let (broker, far) = world("");
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let outside = other.local_addr().expect("an address").to_string();
    std::net::TcpStream::connect(&outside).expect("from here it is reached");
    for (to, errno) in [
        (outside.as_str(), rustix::io::Errno::ACCESS),
        (&format!("127.0.0.1:{}", far.port()), rustix::io::Errno::ACCESS),
        ("10.0.0.1:80", rustix::io::Errno::ACCESS),
        ("169.254.169.254:80", rustix::io::Errno::ACCESS),
        // The proxy's port at another address: Landlock leaves it, and there is no route.
        ("10.0.0.1:3128", rustix::io::Errno::NETUNREACH),
        ("1.1.1.1:3128", rustix::io::Errno::NETUNREACH),
    ] {
        let (said, _) = broker.call("weather", json!({ "act": "connect", "to": to }));
        assert_eq!(said["errno"], errno.raw_os_error(), "{to}: {said}");
    }
    let (said, _) = broker.call("weather", json!({ "act": "connect", "to": "[::1]:3128" }));
    assert_eq!(said["errno"], rustix::io::Errno::PERM.raw_os_error(), "{said}");
    let (said, _) = broker.call("weather", json!({ "act": "connect", "to": "127.0.0.1:3128" }));
    assert_eq!(said["ok"], "connected", "the proxy is there");
    // Incident 64: names are resolved outside, and only those of the manifest.
    let (said, _) = broker.call("weather", json!({ "act": "resolve", "name": "localhost.example.com" }));
    assert!(said["error"].is_string(), "{said}");

    for act in [json!({ "act": "connect", "to": "127.0.0.1:3128" }), fetch("https://api.internal/data")] {
        let said = broker.run("any", "silent", &act);
        let openclaw_wire::runner::Outcome::Output(text) = said else { panic!("{said:?}") };
        assert!(text.contains("errno") || text.contains("no http_proxy"), "{text}");
        assert!(text.contains("error"), "{text}");
    }
    assert_eq!(far.connections(), 0);
}

/// What software reads to find its way, and nothing of ours besides (incident 97).
#[test]
fn ordinary_software_finds_the_proxy_and_its_authority() {
    let (broker, _far) = world("");
    let (said, _) = broker.call("weather", json!({ "act": "environment" }));
    let names: Vec<&str> = said.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "HOME",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "LANG",
            "NODE_EXTRA_CA_CERTS",
            "NODE_USE_ENV_PROXY",
            "PATH",
            "REQUESTS_CA_BUNDLE",
            "SSL_CERT_FILE",
            "http_proxy",
            "https_proxy",
        ]
    );
    let file = said["SSL_CERT_FILE"].as_str().expect("a path");
    let (first, _) = broker.ok("weather", json!({ "act": "read", "path": file }));
    let (second, _) = broker.ok("weather", json!({ "act": "read", "path": file }));
    assert!(first.as_str().expect("pem").starts_with("-----BEGIN CERTIFICATE-----"), "{first}");
    assert_ne!(first, second, "each call has its own authority");
}

/// Incidents 53, 54: what could be read in two ways is refused before any rule is asked.
#[test]
fn odd_spellings_of_hosts_are_refused() {
    let (broker, far) = world("");
    let good = "GET http://api.internal/data HTTP/1.1\r\nhost: x\r\n\r\n";
    for authority in [
        "evil.example\\0.api.internal",
        "evil.example%00.api.internal",
        "api.internal@evil.example",
        "evil.example#.api.internal",
        "api.internal:443@evil.example",
        "evil.example\\.api.internal",
        "[::ffff:127.0.0.1]",
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "0",
        "api.internal:443:443",
        "api.internal:0",
        "api.internal:99999",
        "xn--nxasmq6b",
        "api..internal",
        "\u{2460}.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "localhost",
    ] {
        for line in [
            format!("CONNECT {authority}:443"),
            format!("CONNECT {authority}"),
            format!("GET http://{authority}/data"),
        ] {
            let bytes = format!("{line} HTTP/1.1\r\nhost: {authority}\r\n\r\n");
            let (said, _) = broker.call("weather", json!({ "act": "proxy", "bytes": bytes }));
            let answer = said["ok"].as_str().unwrap_or_default();
            assert!(answer.starts_with("HTTP/1.1 4"), "{line:?}: {said}");
        }
    }
    assert_eq!(far.connections(), 0, "nobody was dialled");
    // The dot at the end and the case are the same host.
    for host in ["API.internal:443", "api.internal.:443"] {
        let (said, _) = broker
            .ok("weather", json!({ "act": "fetch", "url": "https://api.internal/data", "connect": host }));
        assert_eq!(said["status"], 200, "{host}: {said}");
    }
    let (said, _) = broker.call("weather", json!({ "act": "proxy", "bytes": good }));
    assert!(said["ok"].as_str().expect("an answer").contains("not in its manifest"), "{said}");
}

/// Incident 57: a redirect is the skill's own next request, judged like every other.
#[test]
fn redirects_are_not_followed_for_a_skill() {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), |_| {
        ("302 Found".into(), "location: https://evil.example/steal\r\n".into(), Vec::new())
    });
    let hosts = "hosts = [{ host = \"api.internal\", secret = \"API_KEY\" }]";
    let broker =
        setup.private("api", &far).key("API_KEY", "test-key-not-real-a1").skill("weather", hosts).start();
    broker.approve("weather");
    let (said, closed) = broker.ok("weather", fetch("https://api.internal/data"));
    assert_eq!(said["status"], 302);
    assert!(said["head"].as_str().expect("a head").contains("https://evil.example/steal"), "{said}");
    assert_eq!((far.seen().len(), closed.denials.len()), (1, 0), "nobody went there");
    let (said, closed) = broker.ok("weather", fetch("https://evil.example/steal"));
    assert_eq!(said["connect"], 403);
    assert_eq!(closed.denials.len(), 1);
}

/// A name whose address is not public is not dialled, unless the operator declared it; what an argument names is never a
/// private endpoint (incidents 52, 55, 58).
#[test]
fn arguments_open_public_hosts_only() {
    let (broker, far) = world(", { argument = \"url\" }");
    for (url, message) in [
        ("https://other.internal/x", "tried to reach other.internal:443 (not in its manifest)"),
        ("https://127.0.0.1/x", "an address"),
        ("https://[::1]/x", "an address"),
        ("https://2130706433/x", "an address"),
        ("https://localhost/x", "is a private address"),
    ] {
        let (said, closed) = broker.ok("weather", fetch(url));
        assert!(said["connect"] == 403 || said["status"] == 403, "{url}: {said}");
        assert!(closed.denials[0].message.contains(message), "{url}: {closed:?}");
    }
    assert_eq!(far.connections(), 0);
    let (said, _) = broker.ok("weather", fetch("https://api.internal/data"));
    assert_eq!(said["status"], 200, "the declared one is reached by its own entry");
}

/// A denial reaches a skill that is still sending: it comes before the body has been read.
#[test]
fn an_early_answer_is_heard_by_who_still_sends() {
    let (broker, far) = world("");
    let large = "x".repeat(700_000);
    let post =
        json!({ "act": "fetch", "url": "https://api.internal/admin", "method": "POST", "body": large });
    for _ in 0..5 {
        let (said, _) = broker.ok("weather", post.clone());
        assert_eq!(said["status"], 403, "{said}");
    }
    assert_eq!(far.seen().len(), 0);
}

/// A request with a price stops at its skill's limit, before it is sent; at a private endpoint without a price nothing stops
/// it. What the far end
/// refuses costs nothing, and the chat and the skill that paid stand in the ledger.
#[test]
fn a_priced_request_stops_at_the_skills_limit() {
    let answer = |seen: &openclaw_tests::broker::Seen| match seen.line().starts_with("GET /data/none") {
        true => ("404 Not Found".into(), String::new(), "nothing there".into()),
        false => ("200 OK".into(), String::new(), "here".into()),
    };
    let fetched = |config: &str| {
        let setup = Setup::new();
        let far = Far::plain(answer);
        let hosts = "hosts = [{ host = \"paid.internal\", port = 80, paths = [\"/data\"] }]";
        let broker = setup.config(config).private("paid", &far).skill("weather", hosts).start();
        broker.approve("weather");
        let fetch = |path: &str| broker.ok("weather", fetch(&format!("http://paid.internal/data{path}")));
        assert_eq!(fetch("/none").0["status"], 404);
        let calls: Vec<_> = (0..3).map(|_| fetch("")).collect();
        (broker, far.seen().len(), calls)
    };
    let status = |calls: &[(Value, openclaw_wire::egress::Closed)]| -> Vec<Value> {
        calls.iter().map(|(said, _)| said["status"].clone()).collect()
    };

    let (_broker, seen, calls) = fetched("[spend]\nskill_day = 0.25\n");
    assert_eq!((status(&calls), seen), (vec![json!(200), json!(200), json!(200)], 4));

    let price = "[spend]\nskill_day = 0.25\n[[price]]\nhost = \"paid.internal\"\ncall = 0.1\n";
    let (broker, seen, calls) = fetched(price);
    assert_eq!((status(&calls), seen), (vec![json!(200), json!(200), json!(403)], 3));
    let denial = &calls[2].1.denials[0];
    assert!(
        denial.message.contains("which costs money: the day's spending limit for skill weather is $0.25"),
        "{denial:?}"
    );
    let report: Value =
        serde_json::from_slice(&broker.operator("GET", "/spend", &json!(null)).body).expect("a report");
    let line = &report["today"]["lines"][0];
    assert_eq!(
        (&line["skill"], &line["chat"], &line["model"]),
        (&json!("weather"), &json!(CHAT), &json!("paid.internal"))
    );
    assert_eq!(
        (&line["used"]["calls"], &line["used"]["failed"], &report["today"]["total"]["cost"]),
        (&json!(3), &json!(1), &json!("0.20")),
        "{report}"
    );
}

/// What the answer says that it used is what counts (the seconds of a sound, the tokens of a picture); the most is only
/// reserved, and counts where the answer says nothing or breaks off.
#[test]
fn a_priced_request_costs_what_its_answer_reports() {
    let setup = Setup::new();
    let far = Far::plain(|seen| {
        let body = match seen.line().split(' ').nth(1) {
            Some("/data/sound") => {
                json!({ "text": "hello", "usage": { "type": "duration", "seconds": 30 } }).to_string()
            }
            Some("/data/picture") => {
                let picture = "iVBORw0KGgo".repeat(30_000);
                json!({ "data": [{ "b64_json": picture }], "usage": { "input_tokens": 100, "output_tokens": 4000 } })
                    .to_string()
            }
            _ => json!({ "text": "hello" }).to_string(),
        };
        ("200 OK".into(), "content-type: application/json\r\n".into(), body.into())
    });
    let hosts = "hosts = [{ host = \"paid.internal\", port = 80, paths = [\"/data\"] }]";
    let price = "[spend]\nskill_day = 0.5\n[[price]]\nhost = \"paid.internal\"\ncall = 0.4\nsecond = \"0.0001\"\n\
                 input = 5\noutput = 30\n";
    let broker = setup.config(price).private("paid", &far).skill("weather", hosts).start();
    broker.approve("weather");
    let spent = |path: &str| {
        let (said, closed) = broker.ok("weather", fetch(&format!("http://paid.internal/data/{path}")));
        let report: Value =
            serde_json::from_slice(&broker.operator("GET", "/spend", &json!(null)).body).expect("a report");
        (said["status"].clone(), report["today"]["total"]["cost"].clone(), closed.denials.len())
    };
    // 30 × $0.0001; 100 × $5 / 1,000,000 + 4,000 × $30 / 1,000,000 = $0.1205; and $0.4 where nothing is said.
    assert_eq!(spent("sound"), (json!(200), json!("0.003"), 0));
    assert_eq!(spent("sound"), (json!(200), json!("0.006"), 0), "two times the most would pass the limit");
    assert_eq!(spent("silence"), (json!(200), json!("0.406"), 0));
    assert_eq!(spent("picture"), (json!(403), json!("0.406"), 1), "its most passes the limit");
}

/// A request with a key of the operator to a public host is sent only if its price is known: nothing is free by mistake. Zero
/// is free on purpose, and without a key nobody is billed.
#[test]
fn a_request_with_a_key_needs_a_price() {
    let host = "nowhere.invalid";
    let asked = |price: &str, secret: &str| {
        let hosts = format!("hosts = [{{ host = \"{host}\", paths = [\"/data\"]{secret} }}]");
        let broker = Setup::new()
            .config(price)
            .key("PAID_KEY", "test-key-not-real-77")
            .skill("weather", &hosts)
            .start();
        broker.approve("weather");
        broker.ok("weather", fetch(&format!("https://{host}/data/x")))
    };
    let (key, free) = (", secret = \"PAID_KEY\"", format!("[[price]]\nhost = \"{host}\"\ncall = 0\n"));
    // There is no such host: what is let through does not find it.
    for (price, secret) in [("", ""), (free.as_str(), key)] {
        let (said, closed) = asked(price, secret);
        assert_eq!((&said["status"], closed.denials.len()), (&json!(502), 0), "{said} {closed:?}");
    }
    let elsewhere = format!("[[price]]\nhost = \"{host}\"\npath = \"/other\"\ncall = 0\n");
    for price in ["", &elsewhere] {
        let (said, closed) = asked(price, key);
        assert_eq!(said["status"], 403, "{said}");
        let denial = &closed.denials[0];
        assert!(
            denial.message.contains("the price of a request with a key to nowhere.invalid"),
            "{denial:?}"
        );
        assert!(
            denial.mend.contains("[[price]]\nhost = \"nowhere.invalid\"\npath = \"/data/x\"\ncall = "),
            "{denial:?}"
        );
    }
}

/// In a tunnel nobody counts requests, so none opens to a host that costs something.
#[test]
fn no_tunnel_opens_to_a_host_with_a_price() {
    let tunnelled = |config: &str| {
        let setup = Setup::new();
        let far = Far::tls(&["localhost"], &setup.authority(), Far::says("here"));
        let hosts = "hosts = [{ host = \"paid.internal\", tunnel = true }]";
        let broker = setup.config(config).private("paid", &far).skill("weather", hosts).start();
        broker.approve("weather");
        let (said, closed) = broker.call("weather", fetch("https://paid.internal/data"));
        (said, closed, far.connections())
    };
    for free in ["", "[[price]]\nhost = \"paid.internal\"\ncall = 0\n"] {
        let (said, closed, connections) = tunnelled(free);
        assert_eq!((closed.denials.len(), connections), (0, 1), "{said} {closed:?}");
    }
    let (said, closed, connections) =
        tunnelled("[[price]]\nhost = \"paid.internal\"\npath = \"/data\"\ncall = 0.1\n");
    assert_eq!((&said["ok"]["connect"], connections), (&json!(403), 0), "{said}");
    assert!(closed.denials[0].message.contains("nobody counts the requests in it"), "{closed:?}");
}
