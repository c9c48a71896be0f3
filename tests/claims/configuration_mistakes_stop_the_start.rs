//! A configuration that could be unsafe, or is not understood, stops the start and says what to write instead.

use openclaw_tests::gateway::{Gateway, Setup};

/// Each of these would have been a hole elsewhere (incidents 14, 15, 16, 20, 23, 24, 122).
#[tokio::test]
async fn each_mistake_is_named() {
    for (text, part) in [
        (
            "[[telegram.bot]]\nname = \"a\"\n[[telegram.bot]]\nname = \"a\"\ntoken = \"B\"",
            "two bots are named",
        ),
        ("[[telegram.bot]]\nname = \"a\"\ntoken = \"\"", "NAME of a key"),
        ("[[telegram.bot]]\nname = \" \"", "bot name"),
        ("[[telegram.bot]]\nname = \"a\"\nsecret = \"x\"", "unknown field"),
        ("[webhook]\nlisten = \"0.0.0.0:8787\"", "not loopback"),
        ("[webhook]\nfrom = \"anywhere\"", "unknown variant"),
        ("[access]\nowners = [\"@anna\"]", "names can change hands"),
        ("[access]\npeople = [-1001]", "[[access.group]]"),
        ("[access]\npeople = [0]", "not a user id"),
        ("[acess]\npeople = [1]", "unknown field"),
        ("profile = \"prodution\"", "unknown variant"),
    ] {
        let mut setup = Setup::new();
        setup.raw(text);
        let (code, log) = Gateway::refuses(&setup).await;
        assert_ne!(code, Some(0), "{text}");
        assert!(log.contains(part), "{text}: {log}");
        let checked = check(&setup).await;
        assert!(!checked.0 && checked.1.contains(part), "config check: {text}: {}", checked.1);
    }
    let good = Setup::new();
    good.write();
    assert!(check(&good).await.0, "without a mistake it passes");
}

async fn check(setup: &Setup) -> (bool, String) {
    let done = setup.command(&["config", "check"]).output().await.expect("openclaw starts");
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&text).into_owned())
}
