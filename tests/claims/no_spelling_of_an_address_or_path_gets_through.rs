//! The spellings with which filters of addresses and paths are fooled, through the real proxy in a real jail. The forms are
//! those of PayloadsAllTheThings (Server Side Request Forgery/Files/ip.py; Directory Traversal), made here anew.

use openclaw_tests::broker::{Broker, Far, Setup};
use serde_json::{Value, json};

/// Loopback, the clouds' metadata services, and private networks.
const TARGETS: [[u8; 4]; 6] = [
    [127, 0, 0, 1],
    [169, 254, 169, 254],
    [10, 0, 0, 1],
    [192, 168, 1, 1],
    [172, 16, 0, 1],
    [100, 100, 100, 200],
];

/// Every way in which some parser reads this address.
fn spellings([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let [wide_a, wide_b, wide_c, wide_d] = [a, b, c, d].map(u32::from);
    let whole = u32::from_be_bytes([a, b, c, d]);
    let (last_two, last_three) = (wide_c << 8 | wide_d, wide_b << 16 | wide_c << 8 | wide_d);
    let mut all = vec![
        format!("{a}.{b}.{c}.{d}"),
        format!("{whole}"),
        format!("{whole:#x}"),
        format!("{whole:#X}"),
        format!("0{whole:o}"),
        format!("{a}.{b}.{last_two}"),
        format!("{a}.{last_three}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("{a:#04x}.{b:#04x}.{c:#04x}.{d:#04x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.0000{b:o}.00000{c:o}.000000{d:o}"),
        format!("{a:#x}.0{b:o}.{last_two}"),
        format!("0{a:o}.{last_three:#x}"),
        format!("{a:#x}.{last_three}"),
        // Each octet overflows by 256, as old parsers read it.
        format!("{}.{}.{}.{}", wide_a + 256, wide_b + 256, wide_c + 256, wide_d + 256),
        format!("{}", u64::from(whole) + (1 << 32)),
        format!("[::{a}.{b}.{c}.{d}]"),
        format!("[::ffff:{a}.{b}.{c}.{d}]"),
        format!("[0:0:0:0:0:ffff:{:x}:{:x}]", wide_a << 8 | wide_b, last_two),
        format!("[64:ff9b::{a}.{b}.{c}.{d}]"),
        format!("[2002:{:x}:{:x}::]", wide_a << 8 | wide_b, last_two),
        format!("[::ffff:{a}.{b}.{c}.{d}%25lo]"),
        format!("{a}.{b}.{c}.{d}."),
        format!("{a}%2e{b}%2e{c}%2e{d}"),
    ];
    let circled = |number: u32| -> String {
        number
            .to_string()
            .chars()
            .map(|digit| {
                if digit == '0' {
                    '\u{24ea}'
                } else {
                    char::from_u32('\u{2460}' as u32 + digit as u32 - '1' as u32).expect("a circled digit")
                }
            })
            .collect()
    };
    all.push([wide_a, wide_b, wide_c, wide_d].map(circled).join("\u{3002}"));
    all.push([wide_a, wide_b, wide_c, wide_d].map(circled).join("."));
    all.push(circled(whole));
    all.push(format!("{a}\u{ff0e}{b}\u{ff0e}{c}\u{ff0e}{d}"));
    all
}

/// What stands around an address, so that one parser sees the allowed host and another one the address.
fn disguises(address: &str) -> Vec<String> {
    let mut all: Vec<String> = [
        "{}",
        "{}:80",
        "{}:443",
        "{}:80:80",
        "good.internal@{}",
        "good.internal@{}:443",
        "{}@good.internal",
        "{}:443@good.internal",
        "good.internal:443@{}",
        "{}#good.internal",
        "{}#@good.internal",
        "good.internal#{}",
        "{}?@good.internal",
        "{}\\good.internal",
        "{}\\@good.internal",
        "{}%09good.internal",
        "{}%2509good.internal",
        "{}+&@good.internal#+@good.internal",
        "good.internal+&@{}#+@good.internal",
        "good.internal+&@good.internal#+@{}",
        "{}:+@good.internal",
        "{} good.internal",
        "{}%00good.internal",
        "{}%0d%0agood.internal",
        "{}/good.internal",
        "good.internal.{}",
        "{}.good.internal",
        "a:b@{}:443",
        "0://good.internal;{}:80/",
        "{},good.internal",
    ]
    .iter()
    .map(|form| form.replace("{}", address))
    .collect();
    all.push(format!("good.internal\u{ff20}{address}"));
    all
}

/// The first 12 characters of what came back; nothing but a refusal may.
pub fn refused(said: &Value) -> bool {
    let answer = said["ok"].as_str().unwrap_or_default();
    answer.is_empty() || answer.starts_with("HTTP/1.1 4")
}

pub fn world(hosts: &str) -> (Broker, Far) {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), Far::says("an answer"));
    let broker = setup.private("good", &far).skill("weather", &format!("hosts = [{hosts}]")).start();
    broker.approve("weather");
    (broker, far)
}

/// Incidents 52 to 54: 20,000 spellings of six addresses, as the host of a CONNECT, of a request, and behind a name; the
/// same proxy opens for the one host of the manifest.
#[test]
fn no_spelling_of_a_private_address_is_dialled() {
    let (broker, far) = world("{ host = \"good.internal\" }, { argument = \"url\" }");
    let mut sent = 0;
    for target in TARGETS {
        for spelling in spellings(target) {
            let lines = disguises(&spelling).into_iter().flat_map(|authority| {
                [
                    format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n"),
                    format!("CONNECT {authority}:443 HTTP/1.1\r\nhost: {authority}\r\n\r\n"),
                    format!("GET http://{authority}/ HTTP/1.1\r\nhost: {authority}\r\n\r\n"),
                    format!("GET http://{authority}/ HTTP/1.1\r\nhost: good.internal\r\n\r\n"),
                ]
            });
            let each: Vec<Value> = lines.map(|bytes| json!({ "act": "proxy", "bytes": bytes })).collect();
            for part in each.chunks(400) {
                // The argument names it too: then only the address itself stands between.
                let id = format!("s{sent}");
                let url = format!("https://{spelling}/");
                let opened = broker.open(&id, "weather", &broker.digest("weather"), &[("url", &url)]);
                assert_eq!(opened.status, 204);
                let outcome = broker.run(&id, "weather", &json!({ "each": part }));
                let openclaw_wire::runner::Outcome::Output(text) = outcome else { panic!("{outcome:?}") };
                let answer: Value = serde_json::from_str(&text).expect("an answer");
                let said: Vec<Value> =
                    serde_json::from_str(answer["text"].as_str().expect("text")).expect("a list");
                for (act, said) in part.iter().zip(&said) {
                    assert!(refused(said), "{act}: {said}");
                }
                sent += part.len();
                broker.close(&id);
            }
        }
    }
    assert!(sent > 10_000, "{sent}");
    assert_eq!(far.connections(), 0, "nobody was dialled");
    let (said, _) = broker.ok("weather", json!({ "act": "fetch", "url": "https://good.internal/" }));
    assert_eq!((said["status"].clone(), far.connections()), (json!(200), 1), "the one that is named opens");
}

/// Whether any server could read a path so that it leads upwards, decoded as often as it likes.
pub fn climbs(path: &str) -> bool {
    let mut text = path.to_owned();
    (0..4).any(|_| {
        let up = text.split(['/', '\\']).any(|part| part.split(';').next() == Some(".."));
        let odd = text.contains("%2f") || text.contains("%5c");
        text = text
            .replace("%25", "%")
            .replace("%2e", ".")
            .replace("%2E", ".")
            .replace("%2F", "/")
            .replace("%5C", "\\");
        up || odd
    })
}

/// Every way of climbing out of an allowed path ends as a refusal or inside of it.
#[test]
fn no_spelling_of_a_path_climbs_out() {
    let (broker, far) = world("{ host = \"good.internal\", paths = [\"/data/\"] }");
    let dots = [
        "..",
        ".%2e",
        "%2e.",
        "%2e%2e",
        "%2E%2E",
        "%252e%252e",
        "%25252e%25252e",
        "..%00",
        "%2e%2e%00",
        "..;",
        "..;x=1",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        "%f8%80%80%80%ae%f8%80%80%80%ae",
        "%u002e%u002e",
        "%uff0e%uff0e",
        "\u{ff0e}\u{ff0e}",
        "%ef%bc%8e%ef%bc%8e",
        "%%32%65%%32%65",
        ".%%32%65",
        "%%32e%%32e",
        "%2%65%2%65",
        "..%20",
        "..%09",
        "....",
        ". .",
        "\u{2025}",
        "%e2%80%a5",
        ".\u{2024}",
        "..%0d%0a",
    ];
    let slashes = [
        "/",
        "//",
        "\\",
        "%2f",
        "%2F",
        "%5c",
        "%252f",
        "%255c",
        "%25252f",
        "%c0%af",
        "%c1%9c",
        "%e0%80%af",
        "%u2215",
        "%u2216",
        "%uEFC8",
        "\u{2215}",
        "\u{2044}",
        "\u{ff0f}",
        "%ef%bc%8f",
        "/./",
        "/;/",
        "%%32%66",
    ];
    let mut each = Vec::new();
    for dot in dots {
        for slash in slashes {
            for times in [1, 3] {
                let climb = format!("{dot}{slash}").repeat(times);
                each.push(format!("https://good.internal/data/{climb}etc/passwd"));
                each.push(format!("https://good.internal/data/x{slash}{climb}etc/passwd"));
            }
        }
    }
    for path in [
        "/etc/passwd",
        "/dataetc/passwd",
        "//data/etc/passwd",
        "/DATA/etc/passwd",
        "/%64ata/../etc/passwd",
        "/data",
    ] {
        each.push(format!("https://good.internal{path}"));
    }
    let acts: Vec<Value> = each.iter().map(|url| json!({ "act": "fetch", "url": url })).collect();
    let mut arrived = 0;
    for part in acts.chunks(300) {
        let (said, _) = broker.call("weather", json!({ "each": part }));
        for (act, said) in part.iter().zip(said.as_array().expect("a list")) {
            match said["ok"]["status"].as_u64() {
                Some(200) => arrived += 1,
                Some(400 | 403) | None => {}
                other => panic!("{act}: {other:?} {said}"),
            }
        }
    }
    let seen = far.seen();
    assert_eq!(seen.len(), arrived);
    for request in &seen {
        let path = request.line().split(' ').nth(1).expect("a path");
        assert!(path.starts_with("/data/") && !climbs(path), "{path}");
    }
    let (said, _) =
        broker.ok("weather", json!({ "act": "fetch", "url": "https://good.internal/data/a/../b" }));
    assert_eq!(said["status"], 200);
    assert_eq!(far.seen().last().expect("arrived").line(), "GET /data/b HTTP/1.1");
}
