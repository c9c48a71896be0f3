//! Third parties: are the stand-ins faithful, do the vendors' types accept our requests, do model servers that nobody
//! here wrote get on with us?

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

mod a_real_searxng_answers;
mod a_real_whisper_hears;
mod audits_are_sarif;
mod certificates_are_had_by_acme;
mod documents_of_other_programs_are_read;
mod mcp_servers_keep_to_their_manifests;
mod models_answer;
mod ordinary_software_finds_its_way_out;
mod pebble;
mod prices_are_the_vendors;
mod requests_fit_the_vendors_types;
mod sdks_speak_through_egress;
mod server;
mod services_are_what_their_clients_know;
mod skills_are_portable;
mod status_page_works_in_a_browser;

use std::process::Stdio;

use openclaw_tests::{
    model::{Act, Model, Step},
    peers,
    telegram::{Address, Fault, Refusal, TELEGRAM_SOURCE, Telegram, Trouble},
};
use serde_json::json;
use tokio::process::{Child, Command};

const TOKEN: &str = "110201543:AAtest-token-not-real";

fn bot(script: &str, arguments: &[&str]) -> Child {
    Command::new(peers::path("venv/bin/python"))
        .arg(peers::driver(script))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("python starts")
}

#[tokio::test]
async fn an_aiogram_bot_works_by_polling() {
    let telegram = Telegram::start().await;
    let account = telegram.bot(TOKEN, "echo_bot");
    let anna = account.person(1001, "Anna");
    anna.says("hello");
    let _bot = bot("echo_aiogram.py", &[&telegram.url(), TOKEN, "poll"]);
    assert_eq!(anna.hears().await.text, "Anna said: hello");
    assert_eq!(anna.typing(), 1);

    anna.says("/ask");
    let question = anna.hears().await;
    assert_eq!((question.text.as_str(), question.buttons()), ("Sure?", vec!["Yes".to_owned()]));
    let pressed = anna.presses(&question, "Yes");
    assert_eq!(anna.callback_answer(&pressed).await, "noted");
    assert_eq!(anna.reads("You chose").await.text, "You chose answer:yes");

    anna.sends_document("a.txt", "text/plain", b"12345", "five");
    assert_eq!(anna.hears().await.text, "a.txt: 5 bytes, five");
    let album = anna.sends_album(&[(b"p1", "first"), (b"p2", "")]);
    assert_eq!(album.len(), 2);
    let (one, two) = (anna.hears().await.text, anna.hears().await.text);
    assert_eq!(one.split(':').next(), two.split(':').next(), "one album");
    let message = anna.says("tpyo");
    anna.hears().await;
    anna.edits(message, "typo");
    assert_eq!(anna.hears().await.text, "edited to typo");
    let group = account.group(-55, "Friends");
    anna.in_group(&group).says("hi all");
    assert_eq!(anna.in_group(&group).hears().await.text, "Anna said: hi all");
}

#[tokio::test]
async fn an_aiogram_bot_works_by_webhook_and_checks_the_secret_header() {
    let telegram = Telegram::start().await;
    let account = telegram.bot(TOKEN, "echo_bot");
    let anna = account.person(1001, "Anna");
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    telegram.route(Address::Tcp(([127, 0, 0, 1], port).into()), Some(TELEGRAM_SOURCE));
    telegram.time_scale(0.1);
    anna.says("hello");
    let _bot =
        bot("echo_aiogram.py", &[&telegram.url(), TOKEN, "webhook", &port.to_string(), "secret-not-real"]);
    assert_eq!(anna.hears().await.text, "Anna said: hello");
    account.all_delivered().await;
    let delivered = telegram.attempts().last().and_then(|attempt| attempt.status);
    assert_eq!(delivered, Some(200));

    account.register_webhook("https://bot.example.com/telegram/echo", Some("another"));
    anna.says("wrong secret");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let refused = telegram.attempts().last().and_then(|attempt| attempt.status);
    assert_eq!(refused, Some(401), "the peer's library refuses it");
    // aiogram answers by calls of its own, or in the webhook's answer: both are Telegram's way, ours is only the first.
    let unlike_us = telegram.take_violations();
    assert!(unlike_us.iter().all(|violation| violation.contains("is a method call")), "{unlike_us:?}");
}

#[tokio::test]
async fn a_python_telegram_bot_works_by_polling_through_a_429() {
    let telegram = Telegram::start().await;
    let account = telegram.bot(TOKEN, "echo_bot");
    let bert = account.person(1002, "Bert");
    let _bot = bot("echo_ptb.py", &[&telegram.url(), TOKEN]);
    bert.says("hello");
    assert_eq!(bert.hears().await.text, "Bert said: hello");
    let trouble = Trouble::Refuse(Refusal::flood(1));
    telegram.fault(Fault { method: Some("getUpdates"), times: 1, trouble });
    bert.says("again");
    assert_eq!(bert.hears().await.text, "Bert said: again");
}

#[tokio::test]
async fn the_vendors_sdks_understand_the_scripted_model() {
    let model = Model::start().await;
    model.on("#call", [Step::call("look", json!({"at": "ünder"}))]);
    model.on("#busy", [Step::say("never").after([Act::Status(529, "overloaded_error", Some(7))])]);
    let run = Command::new(peers::path("venv/bin/python"))
        .args([peers::driver("sdk_stream.py").as_os_str(), model.url().as_ref()])
        .output();
    let done = run.await.expect("python starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&done.stdout).expect("the driver prints JSON");
    assert_eq!(
        seen,
        json!({
            "anthropic_stream": [{"at": "ünder"}], "anthropic_stop": "tool_use", "anthropic_whole": "You said: plain",
            "anthropic_error": [529, "7"], "openai_stream": [{"at": "ünder"}, "tool_calls", true],
            "openai_whole": "You said: plain"
        })
    );
}
