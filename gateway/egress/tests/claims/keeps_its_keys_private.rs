//! A key file or folder that others can read or change is refused, with the command that mends it; and once
//! egress runs, it is locked down.

use std::os::unix::fs::symlink;

use crate::program::{KEY, Setup, TOKEN, chmod};

fn setup() -> Setup {
    Setup::new().keys(&format!("ANTHROPIC_API_KEY={KEY}\n"))
}

#[test]
fn a_private_key_file_is_read() {
    let egress = setup().start();
    assert_eq!(egress.status().models[0].name.as_str(), "anthropic");
}

#[test]
fn a_key_file_for_others_is_refused_with_the_mend() {
    for mode in [0o640, 0o604, 0o644, 0o660, 0o700] {
        let setup = setup();
        chmod(&setup.key_file(), mode);
        let (setup, said) = setup.start_refused();
        assert!(said.contains("is wider than 0600"), "{said}");
        assert!(said.contains(&format!("mend: chmod 600 {}", setup.key_file().display())), "{said}");
        // The mend mends.
        chmod(&setup.key_file(), 0o600);
        assert_eq!(setup.start().status().models.len(), 1);
    }
}

#[test]
fn a_linked_key_file_is_refused() {
    let setup = setup();
    let elsewhere = setup.state().join("elsewhere");
    std::fs::rename(setup.key_file(), &elsewhere).expect("rename");
    symlink(&elsewhere, setup.key_file()).expect("symlink");
    let (_, said) = setup.start_refused();
    assert!(said.contains("is a symbolic link"), "{said}");
}

#[test]
fn a_folder_that_others_can_write_is_refused() {
    let setup = setup();
    chmod(&setup.state().join("egress"), 0o777);
    let (setup, said) = setup.start_refused();
    assert!(said.contains(&format!("mend: chmod go-w {}", setup.state().join("egress").display())), "{said}");
}

#[test]
fn bad_lines_are_named_and_not_shown() {
    let (_, said) = Setup::new().keys(&format!("A=1\n{KEY}\n\nlower={KEY}\n")).start_refused();
    assert!(said.contains("line 2 has no `=`, line 4 has an odd name"), "{said}");
    assert!(!said.contains(KEY), "{said}");
}

#[test]
fn a_key_file_of_the_working_directory_is_not_read() {
    // Incident 98: the tests run in a folder of the source tree, so whatever `.env` is there must not count.
    let setup = Setup::new();
    std::fs::write(setup.state().join(".env"), "ANTHROPIC_API_KEY=x\n").expect("write");
    assert!(setup.start().status().models.is_empty());
}

#[test]
fn the_environment_wins_and_makes_the_bot() {
    let egress = Setup::new().environment(&format!("TELEGRAM_BOT_TOKEN={TOKEN}\n")).start();
    let status = egress.status();
    assert_eq!(status.bots[0].name.as_str(), "main");
    assert_eq!(status.bots[0].problem, None);
}

#[test]
fn the_status_says_what_the_kernel_enforces() {
    let egress = setup().start();
    let report: openclaw_confine::Report =
        serde_json::from_value(egress.status().confinement).expect("a report");
    assert_eq!(report.process, "egress");
    for needed in ["no_new_privs", "dumpable", "rlimits", "seccomp", "landlock-fs"] {
        let layer = report.layers.iter().find(|layer| layer.name == needed).expect(needed);
        assert!(layer.complete, "{needed}: asked {}, enforced {}", layer.asked, layer.enforced);
    }
    let process = format!("/proc/{}", egress.child().id());
    let status = std::fs::read_to_string(format!("{process}/status")).expect("status");
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    assert!(status.lines().any(|line| line == "Seccomp:\t2"), "{status}");
    // Incident 109: neither is a key there. Root may read these; for its own user the files are closed.
    for file in ["environ", "cmdline"] {
        if let Ok(content) = std::fs::read(format!("{process}/{file}")) {
            assert!(!String::from_utf8_lossy(&content).contains(KEY), "{file}");
        }
    }
}
