//! `openclaw webhook` registers, shows and removes the webhook, with a secret that only egress and Telegram know.

use openclaw_tests::world::World;

/// set, info with Telegram's last error, delete.
#[tokio::test]
async fn set_info_and_delete() {
    let mut world = World::webhook(|_| {}).await;
    let (url, secret) = world.bot.webhook().expect("registered");
    let secret = secret.expect("with a secret");
    assert_eq!(url, "https://bot.example.com/telegram/main");
    assert!(secret.len() >= 43, "at least 256 bits: {} characters", secret.len());
    let call = world.telegram.calls_of("setWebhook").pop().expect("called");
    let mut wanted: Vec<String> = openclaw_wire::facts::FACTS.telegram.updates.clone();
    wanted.sort();
    let mut asked: Vec<String> =
        serde_json::from_value(call.parameters["allowed_updates"].clone()).expect("a list of kinds");
    asked.sort();
    assert_eq!(asked, wanted);
    world.anna.says("hello");
    assert_eq!(world.anna.hears().await.text, "You said: hello");

    world.gateway.kill_all().await;
    world.anna.says("are you there?");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    world.gateway.start_again().await;
    let info = world.gateway.ask(&["webhook", "info"]).await;
    assert!(info.contains("Connection refused"), "Telegram's last error is shown: {info}");
    assert!(!info.contains(&secret), "the secret is not shown");
    // Delivered by Telegram's retry. The answer before it may come again, marked: the kill fell right behind it.
    world.anna.hears_of("You said: are you there?").await;

    world.gateway.ask(&["webhook", "delete"]).await;
    assert!(world.bot.webhook().is_none());
}
