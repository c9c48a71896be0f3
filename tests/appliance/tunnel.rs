//! The tunnel's configuration, as cloudflared itself reads it: named by its path in CLOUDFLARED.

use std::{path::PathBuf, process::Command};

use crate::tree::repository;

#[test]
fn cloudflared_accepts_it_and_sends_only_deliveries_to_the_webhook() {
    let Some(program) = std::env::var_os("CLOUDFLARED").map(PathBuf::from) else {
        println!(
            "NOT CHECKED: what cloudflared says of cloudflared/config.yml; name the program with CLOUDFLARED=FILE"
        );
        return;
    };
    let ask = |arguments: &[&str]| {
        let config = repository().join("cloudflared/config.yml");
        let output = Command::new(&program)
            .args(["tunnel", "--config"])
            .arg(config)
            .args(arguments)
            .output()
            .expect("cloudflared runs");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        // A key that it does not know is only a warning to it.
        assert!(!said.contains("unused"), "{said}");
        said
    };
    assert!(ask(&["ingress", "validate"]).contains("OK"));
    for (url, service) in [
        ("https://bot.example.com/telegram/main", "unix:/run/openclaw/tunnel/webhook.sock"),
        ("https://bot.example.com/telegram/main/x", "http_status:404"),
        ("https://bot.example.com/telegram/", "http_status:404"),
        ("https://bot.example.com/", "http_status:404"),
        ("https://bot.example.com/x/telegram/main", "http_status:404"),
    ] {
        let said = ask(&["ingress", "rule", url]);
        assert!(said.contains(service), "{url}: {said}");
    }
}
