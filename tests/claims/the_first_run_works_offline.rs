//! A fresh state folder, no key, no network: the rehearsal model shows the whole path in the terminal.

use openclaw_tests::gateway::{Gateway, Setup};

/// The chat answers, says that it is a rehearsal, and can read a document through the jail.
#[tokio::test]
async fn the_rehearsal_shows_the_whole_path() {
    let mut setup = Setup::new();
    setup.file("documents/welcome.txt", b"the first document");
    let gateway = Gateway::start(setup).await;
    let status = gateway.status().await;
    let names: Vec<&str> = status.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["rehearsal"]);
    let done = gateway.command(&["chat"], "hello\nlist my documents\n").await;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}\n{}", gateway.log());
    let both = format!("{out}{err}").to_lowercase();
    assert!(both.contains("rehearsal"), "it says what it is: {both}");
    assert!(both.contains("welcome.txt"), "it read the folder through the jail: {both}\n{}", gateway.log());
    gateway.ask(&["status"]).await;
    gateway.ask(&["status", "--confinement"]).await;
}

/// What the first run makes is private.
#[tokio::test]
async fn what_it_makes_is_private() {
    use std::os::unix::fs::MetadataExt;
    let gateway = Gateway::start(Setup::new()).await;
    let mut folders = vec![gateway.state().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable").flatten() {
            let facts = entry.metadata().expect("there");
            assert_eq!(facts.mode() & 0o077, 0, "{}", entry.path().display());
            if facts.is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

/// A key in the environment of `openclaw run` reaches egress and no process's environment.
#[tokio::test]
async fn a_key_in_the_environment_reaches_egress_alone() {
    let model = openclaw_tests::model::Model::start().await;
    let mut setup = Setup::new();
    setup.environment("OPENAI_BASE_URL", &format!("{}/v1", model.url()));
    setup.environment("OPENAI_API_KEY", "environment-key-not-real");
    let gateway = Gateway::start(setup).await;
    let done = gateway.command(&["chat"], "hello\n").await;
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(
        out.contains("You said: hello"),
        "{out}\n{}\n{}",
        String::from_utf8_lossy(&done.stderr),
        gateway.log()
    );
    let key = model.requests()[0].headers.get("authorization").cloned();
    assert_eq!(key.as_deref(), Some("Bearer environment-key-not-real"));
    for role in openclaw_tests::gateway::Role::ALL {
        let environment = gateway.living(role).await.file("environ");
        assert!(!String::from_utf8_lossy(&environment).contains("not-real"), "{role:?}");
    }
}
