//! The operator's socket: a webhook is registered with the secret that egress made, which nobody else gets to see.

use std::os::unix::fs::PermissionsExt;

use openclaw_wire::{
    egress::{RefusalKind, Status},
    facts::FACTS,
};
use sha2::{Digest, Sha256};

use crate::{
    far::{self, Far},
    program::{Setup, TOKEN},
};

/// A Bot API server that knows the three webhook methods.
fn telegram() -> Far {
    Far::start(|seen, to| {
        let body = match seen.line().rsplit(['/', ' ']).nth(2) {
            Some("setWebhook" | "deleteWebhook") => r#"{"ok":true,"result":true}"#,
            Some("getWebhookInfo") => {
                r#"{"ok":true,"result":{"url":"https://x","last_error_message":"Wrong response"}}"#
            }
            _ => r#"{"ok":false,"error_code":404,"description":"Not Found"}"#,
        };
        far::reply(to, "200 OK", "content-type: application/json\r\n", body.as_bytes());
    })
}

fn secret_file(setup: &Setup) -> String {
    std::fs::read_to_string(setup.state().join("egress/webhook-b")).expect("the secret")
}

#[test]
fn a_webhook_is_registered_with_the_secret_of_the_digest() {
    let far = telegram();
    let setup =
        Setup::bot(&far.url(), "webhook").config("[webhook]\npublic_url = \"https://bot.example.com\"\n");
    let egress = setup.start();
    let answer =
        egress.command("POST", "/webhook/b/set", r#"{"public_url":null,"drop_pending_updates":true}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("last_error_message"),
        "Telegram's last error is shown: {}",
        answer.text()
    );

    let seen = far.seen();
    assert_eq!(seen[0].line(), format!("POST /bot{TOKEN}/setWebhook HTTP/1.1"));
    let sent: serde_json::Value = serde_json::from_slice(&seen[0].body).expect("JSON");
    assert_eq!(sent["url"], "https://bot.example.com/telegram/b");
    assert_eq!(sent["drop_pending_updates"], true);
    assert_eq!(sent["allowed_updates"], serde_json::json!(FACTS.telegram.updates));
    let secret = sent["secret_token"].as_str().expect("a secret").to_owned();
    assert_eq!(secret, secret_file(egress.setup()));

    let digest: String = Sha256::digest(&secret).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(egress.status().bots[0].webhook_secret_sha256, digest);
    let status = egress.call("GET", "/status", "");
    let log = egress.stop().log();
    for shown in [answer.text(), status.text(), &log] {
        assert!(!shown.contains(&secret) && !shown.contains(&TOKEN[7..]), "{shown}");
    }
}

#[test]
fn the_secret_outlives_a_restart_and_is_private() {
    let setup = Setup::bot("http://127.0.0.1:9", "webhook");
    let egress = setup.start();
    let first = egress.status().bots[0].webhook_secret_sha256.clone();
    let setup = egress.stop();
    let meta = std::fs::metadata(setup.state().join("egress/webhook-b")).expect("the secret");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    assert_eq!(setup.start().status().bots[0].webhook_secret_sha256, first);
}

#[test]
fn info_and_delete_reach_telegram_and_a_polling_bot_gets_no_webhook() {
    let far = telegram();
    let egress = Setup::bot(&far.url(), "poll").start();
    assert!(egress.command("POST", "/webhook/b/info", "").text().contains("Wrong response"));
    assert_eq!(egress.command("POST", "/webhook/b/delete", "").status, 200);
    let methods: Vec<_> = far
        .seen()
        .iter()
        .map(|seen| seen.line().rsplit(['/', ' ']).nth(2).expect("method").to_owned())
        .collect();
    assert_eq!(methods, ["getWebhookInfo", "deleteWebhook", "getWebhookInfo"]);
    let wish = r#"{"public_url":"https://bot.example.com","drop_pending_updates":false}"#;
    let refusal = egress.command("POST", "/webhook/b/set", wish).refused(RefusalKind::BadRequest);
    assert!(refusal.mend.contains("updates = \"webhook\""), "{}", refusal.mend);
    assert_eq!(far.seen().len(), 3);
}

#[test]
fn odd_commands_are_refused() {
    let far = telegram();
    let egress = Setup::bot(&far.url(), "webhook").start();
    let set = |url: &str| format!(r#"{{"public_url":"{url}","drop_pending_updates":false}}"#);
    for (path, body, kind) in [
        ("/webhook/b/set", set("ftp://h"), RefusalKind::BadRequest),
        ("/webhook/b/set", set("https://u:p@h"), RefusalKind::BadRequest),
        ("/webhook/b/set", r#"{"drop_pending_updates":false}"#.into(), RefusalKind::BadRequest),
        ("/webhook/b/set", "nonsense".into(), RefusalKind::BadRequest),
        ("/webhook/b/set", "x".repeat(10_000), RefusalKind::BadRequest),
        ("/webhook/other/info", String::new(), RefusalKind::BadRequest),
        ("/webhook/b/rob", String::new(), RefusalKind::NotAllowed),
        ("/r/telegram/b/getMe", String::new(), RefusalKind::NotAllowed),
    ] {
        egress.command("POST", path, &body).refused(kind);
    }
    assert!(far.seen().is_empty());
}

#[test]
fn the_operator_sees_the_same_status_as_the_gateway() {
    let egress = Setup::bot("http://127.0.0.1:9", "poll").start();
    let status: Status =
        serde_json::from_slice(&egress.command("GET", "/status", "").body).expect("a status");
    assert_eq!(status.bots, egress.status().bots);
}
