//! Direct mode against an authority that nobody here wrote: openclaw-front gets its certificate by either challenge, delivers
//! through it, and exchanges it under open connections.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use openclaw_tests::{
    gateway::{Apart, FRONT, Setup},
    http::{Post, message},
    model::{Model, Wire},
    telegram::{Account, TELEGRAM_SOURCE, Telegram},
    world::OWNER,
};
use openclaw_wire::{config::Updates, facts::FACTS, front::Standing};
use proxy_header::{ProxiedAddress, ProxyHeader};
use rustix::{
    fs::{Gid, Uid},
    thread::{set_thread_res_gid, set_thread_res_uid},
};
use serde_json::Value;

use crate::pebble::{DOMAIN, PATIENCE, Pebble, STRANGER, alone, connect, deliver, front, listener, shown};

const TOKEN: &str = "110201543:AAtest-token-not-real";
/// As authorities have it: nothing is renewed during a test.
const LONG: u64 = 90 * 86_400;

/// The machine in direct mode, and the stand-ins around it.
struct Direct {
    apart: Apart,
    telegram: Telegram,
    bot: Account,
    pebble: Pebble,
    _model: Model,
}

impl Direct {
    async fn start(challenge: &str, seconds: u64, leads_to: &str) -> Self {
        let pebble = Pebble::start(seconds, leads_to).await;
        let (telegram, model) = (Telegram::start().await, Model::start().await);
        let mut setup = Setup::new();
        setup.model(&model, Wire::Anthropic);
        let bot = setup.bot(&telegram, "main", TOKEN, Updates::Webhook);
        setup.section("access", &format!("owners = [{OWNER}]"));
        setup.section(
            "webhook",
            &format!(
                "listen = \"unix:{}\"\nfrom = \"direct\"\npeer = \"{FRONT}\"\npublic_url = \"https://{DOMAIN}\"",
                FACTS.unix.webhook_for_front.display()
            ),
        );
        setup.section(
            "direct",
            &format!("challenge = \"{challenge}\"\ndirectory = \"{}\"\nprivate = true", Pebble::directory()),
        );
        setup.section("network", &format!("extra_roots = \"{}\"", pebble.trusted().display()));
        let mut apart = Apart::start(setup).await;
        apart.front(listener(443), listener(80));
        let set = apart.operator(&["webhook", "set"], "").await;
        assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
        Self { apart, telegram, bot, pebble, _model: model }
    }

    fn secret(&self) -> String {
        self.bot.webhook().and_then(|(_, secret)| secret).expect("a webhook with a secret is registered")
    }

    fn post(&self, update: i64, text: &str) -> Post {
        let mut post = Post::new(443, &self.secret(), &message(update, OWNER, text));
        // What only a tunnel could know.
        post.header("CF-Connecting-IP", "");
        post
    }

    fn standing(&self) -> Standing {
        let path = self.apart.setup().state().join("front/standing.json");
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

/// Either challenge; then a message goes there and back.
#[test]
#[ignore = "needs root: users and networks of its own"]
fn either_challenge_brings_a_certificate_that_telegram_delivers_through() {
    for challenge in ["http", "tls"] {
        alone(challenge, move || async move {
            let direct = Direct::start(challenge, LONG, "127.0.0.1").await;
            let roots = direct.pebble.root().await;
            let mut stream = front(TELEGRAM_SOURCE, roots.as_bytes()).await;
            let anna = direct.bot.person(OWNER, "Anna");
            let answer = deliver(&mut stream, &direct.post(1, "hello")).await;
            assert_eq!(answer.status, 200, "{challenge}: {}", answer.head);
            let said = answer.head.to_lowercase();
            assert!(said.contains("strict-transport-security: max-age=31536000"), "{said}");
            assert_eq!(anna.hears().await.text, "You said: hello");
            let wrong = Post::new(443, "wrong-secret-not-real", &message(2, OWNER, "hi"));
            assert_eq!(deliver(&mut stream, &wrong).await.status, 401, "the secret is asked for here too");
            let validated = direct.pebble.log();
            // Of the other kind it writes nothing down.
            assert_eq!(validated.contains("validate w/ HTTP"), challenge == "http", "{validated}");
            assert!(validated.contains("set VALID by completed challenge"), "{validated}");

            // From anywhere else TLS does not even begin.
            let refused = connect(STRANGER, (TELEGRAM_SOURCE, 443), DOMAIN, roots.as_bytes()).await;
            assert!(refused.is_err(), "a stranger");
            assert!(direct.telegram.take_violations().is_empty());

            let standing = direct.standing();
            assert_eq!((standing.domain.as_str(), standing.failure), (DOMAIN, None));
            let layers = standing.confinement["layers"].as_array().expect("a report").clone();
            let lacking: Vec<_> = layers
                .iter()
                .filter(|layer| layer["name"] != "capabilities" && layer["complete"] != true)
                .collect();
            assert!(layers.len() > 5 && lacking.is_empty(), "{lacking:?}");
            // Its folder is its own.
            let folder = direct.apart.setup().state().join("front");
            for (user, sees) in [(FRONT, true), (FRONT - 1, false)] {
                let read = Command::new("setpriv")
                    .args([
                        "--reuid",
                        &user.to_string(),
                        "--regid",
                        &user.to_string(),
                        "--clear-groups",
                        "cat",
                    ])
                    .arg(folder.join("certificate.pem"))
                    .output()
                    .expect("setpriv starts");
                assert_eq!(read.status.success(), sees, "user {user}");
            }
        });
    }
}

/// What it says of a sender is believed of its user alone, and it is Telegram's address that lets in.
#[test]
#[ignore = "needs root: users and networks of its own"]
fn nobody_but_openclaw_front_says_where_a_connection_comes_from() {
    alone("peers", || async {
        let direct = Direct::start("http", LONG, "127.0.0.1").await;
        let path = direct.apart.webhook();
        let ask = |user: u32, group: u32, said: Option<&str>, update: i64| {
            let mut post = direct.post(update, "hi");
            post.header("Connection", "close");
            let mut bytes = Vec::new();
            if let Some(address) = said {
                let from = format!("{address}:1234").parse().expect("an address");
                let address = ProxiedAddress::stream(from, "192.0.2.1:443".parse().expect("an address"));
                ProxyHeader::with_address(address).encode_v2(&mut bytes).expect("encodes");
            }
            bytes.extend(post.head(post.body.len() as u64).into_bytes());
            bytes.extend(&post.body);
            let path = path.clone();
            let exchange = std::thread::spawn(move || {
                let (group, user) = (Gid::from_raw(group), Uid::from_raw(user));
                set_thread_res_gid(group, group, group).expect("set the group");
                set_thread_res_uid(user, user, user).expect("set the user");
                let mut stream = UnixStream::connect(path).expect("this user may open the socket");
                let _closed = stream.write_all(&bytes);
                let mut answer = Vec::new();
                let _closed = stream.read_to_end(&mut answer);
                String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok())
            });
            exchange.join().expect("the exchange").unwrap_or(0)
        };
        let (gateway, other) = (FRONT - 3, 65_533);
        assert_eq!(ask(FRONT, FRONT, Some(TELEGRAM_SOURCE), 1), 200, "openclaw-front, of Telegram");
        assert_eq!(ask(FRONT, FRONT, Some(STRANGER), 3), 403, "openclaw-front, of a stranger");
        assert_eq!(ask(FRONT, FRONT, Some("127.0.0.1"), 4), 403);
        assert_eq!(ask(FRONT, FRONT, None, 5), 0, "it says nothing, and is not listened to");
        for user in [0, gateway, other] {
            // Its first bytes are no HTTP, and without them there is no address.
            assert_eq!(ask(user, FRONT, Some(TELEGRAM_SOURCE), 6), 400, "user {user}");
            assert_eq!(ask(user, FRONT, None, 7), 403, "user {user}");
        }
        assert!(direct.apart.setup().log().contains("refused a connection to the webhook's socket"));

        // Egress asks the kernel as well, and leads nowhere but to the authority.
        let door =
            path.parent().and_then(|folder| folder.parent()).expect("folders").join("egress-front.sock");
        let through = |user: u32, asked: &str| {
            let done = Command::new("setpriv")
                .args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--clear-groups"])
                .args(["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is"])
                .arg("--unix-socket")
                .arg(&door)
                .arg(format!("http://egress{asked}"))
                .output()
                .expect("curl starts");
            String::from_utf8_lossy(&done.stdout).into_owned()
        };
        assert_eq!(through(FRONT, "/r/acme/dir"), "200");
        assert_eq!(through(0, "/r/acme/dir"), "000", "root, which may open every file");
        for other in ["/r/telegram/main/getMe", "/status", "/spend", "/keys", "/dir"] {
            assert_eq!(through(FRONT, other), "403", "{other}");
        }
    });
}

/// A certificate of some seconds: others take its place while requests go on, over one connection and over new ones.
#[test]
#[ignore = "needs root: users and networks of its own"]
fn renewals_lose_no_request() {
    alone("renewal", || async {
        let direct = Direct::start("http", 15, "127.0.0.1").await;
        let roots = direct.pebble.root().await;
        let mut kept = front(TELEGRAM_SOURCE, roots.as_bytes()).await;
        let first = shown(&kept);
        let mut seen = vec![first.clone()];
        // Of somebody who is stored and not answered: it is the way there that is tried.
        let post = |update| {
            let mut post = direct.post(update, "on");
            post.body = message(update, OWNER + 1, "on").to_string().into_bytes();
            post
        };
        let (mut update, deadline) = (0, Instant::now() + 2 * PATIENCE);
        while seen.len() < 4 {
            assert!(Instant::now() < deadline, "{} certificates", seen.len());
            update += 2;
            let over_one = deliver(&mut kept, &post(update)).await;
            assert_eq!(over_one.status, 200, "over the first connection: {}", over_one.head);
            let fresh = connect(TELEGRAM_SOURCE, (TELEGRAM_SOURCE, 443), DOMAIN, roots.as_bytes()).await;
            let mut fresh = fresh.expect("a certificate that is good, at every moment");
            let answer = deliver(&mut fresh, &post(update + 1)).await;
            assert_eq!(answer.status, 200, "over a new connection: {}", answer.head);
            if seen.last() != Some(&shown(&fresh)) {
                seen.push(shown(&fresh));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(shown(&kept), first, "a connection goes on with the certificate that it began with");
        println!("{} certificates, {update} requests, none lost", seen.len());
    });
}

/// A name that leads elsewhere: it says what the authority said, and what mends it, where the operator looks.
#[test]
#[ignore = "needs root: users and networks of its own"]
fn a_failure_says_what_mends_it() {
    alone("failure", || async {
        let direct = Direct::start("http", LONG, "198.51.100.1").await;
        let deadline = Instant::now() + 2 * PATIENCE;
        while direct.standing().failure.is_none() {
            assert!(Instant::now() < deadline, "{}", direct.apart.setup().log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let failure = direct.standing().failure.expect("one");
        assert!(failure.what.contains("198.51.100.1"), "{failure:?}");
        assert!(failure.mend.contains("port 80") && failure.mend.contains(DOMAIN), "{failure:?}");
        let doctor = direct.apart.operator(&["doctor"], "").await;
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(said.contains("ERROR [certificate]") && said.contains(&failure.mend), "{said}");
    });
}

/// By the judgement of others: nothing older than TLS 1.2, and nothing weak in what there is.
#[test]
#[ignore = "needs root: users and networks of its own"]
fn tls_is_modern() {
    alone("tls", || async {
        let direct = Direct::start("http", LONG, "127.0.0.1").await;
        let roots = direct.pebble.root().await;
        drop(front(TELEGRAM_SOURCE, roots.as_bytes()).await);
        let folder = direct.pebble.folder();
        std::fs::write(folder.join("issued.pem"), &roots).expect("write");

        // A server that takes what is old shows that this client offers it.
        let old = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:4433", "-www", "-cipher", "ALL:@SECLEVEL=0", "-cert"])
            .arg(folder.join("leaf.pem"))
            .arg("-key")
            .arg(folder.join("leaf.key"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut old = old.expect("openssl starts");
        let speaks = |to: &str, version: &str| {
            let done = Command::new("openssl")
                .args([
                    "s_client",
                    "-connect",
                    to,
                    "-servername",
                    DOMAIN,
                    version,
                    "-cipher",
                    "ALL:@SECLEVEL=0",
                ])
                .stdin(Stdio::null())
                .output()
                .expect("openssl starts");
            done.status.success()
        };
        let deadline = Instant::now() + PATIENCE;
        while !speaks("127.0.0.1:4433", "-tls1_1") {
            assert!(Instant::now() < deadline, "this openssl speaks no TLS 1.1");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let _gone = old.kill();
        let _gone = old.wait();
        let here = format!("{TELEGRAM_SOURCE}:443");
        for (version, good) in [("-tls1", false), ("-tls1_1", false), ("-tls1_2", true), ("-tls1_3", true)] {
            assert_eq!(speaks(&here, version), good, "{version}");
        }

        let judged = Command::new("testssl")
            .args(["--quiet", "--color", "0", "--warnings", "batch", "--ip", TELEGRAM_SOURCE])
            .args(["--protocols", "--std", "--fs", "--jsonfile"])
            .arg(folder.join("judged.json"))
            .arg(format!("{DOMAIN}:443"))
            .stdin(Stdio::null())
            .output()
            .expect("testssl starts: apt-get install testssl.sh");
        let text = std::fs::read_to_string(folder.join("judged.json")).expect("testssl wrote what it found");
        let found: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let of = |id: &str| found.iter().find(|one| one["id"] == id).map(|one| one["severity"].clone());
        for (id, severity) in [
            ("SSLv2", "OK"),
            ("SSLv3", "OK"),
            ("TLS1", "INFO"),
            ("TLS1_1", "INFO"),
            ("TLS1_2", "OK"),
            ("TLS1_3", "OK"),
        ] {
            assert_eq!(of(id), Some(severity.into()), "{id}: {}", String::from_utf8_lossy(&judged.stdout));
        }
        // The one about this machine's own openssl, which knows no GOST, is none about the server.
        let bad = ["LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN"];
        let wrong: Vec<_> = found
            .iter()
            .filter(|one| one["id"] != "engine_problem" && bad.iter().any(|word| one["severity"] == *word))
            .collect();
        assert!(found.len() > 10 && wrong.is_empty(), "{wrong:#?}");
        println!("testssl.sh: {} findings, none of them bad", found.len());
    });
}
