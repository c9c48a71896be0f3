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
    let (setup, said) = setup.start_refused();
    let mend = format!("put the file itself there instead of a link: rm {}", setup.key_file().display());
    assert!(said.contains("is a symbolic link") && said.contains(&mend), "{said}");
    // The mend mends.
    std::fs::remove_file(setup.key_file()).expect("rm");
    std::fs::rename(elsewhere, setup.key_file()).expect("the file itself");
    assert_eq!(setup.start().status().models.len(), 1);
}

#[test]
#[ignore = "needs root: it gives files to another user"]
fn another_users_key_file_is_refused() {
    assert!(rustix::process::geteuid().is_root(), "this test gives files away: run it as root");
    for of in ["egress/.env", "egress"] {
        let setup = setup();
        let file = setup.state().join(of);
        std::os::unix::fs::chown(&file, Some(65_534), None).expect("chown");
        let (setup, said) = setup.start_refused();
        assert!(said.contains("belongs to user 65534, not to user 0"), "{said}");
        assert!(said.contains(&format!("mend: chown 0 {}", file.display())), "{said}");
        // The mend mends.
        std::os::unix::fs::chown(&file, Some(0), None).expect("chown");
        assert_eq!(setup.start().status().models.len(), 1);
    }
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
fn keys_are_read_from_the_configured_place_and_from_credentials() {
    // Incident 99: the environment names the folder of the credentials, and systemd alone sets it for the unit; what is
    // in it must look like systemd made it.
    let setup = Setup::new();
    let (keys, credentials) = (setup.state().join("keys"), setup.state().join("credentials"));
    for folder in [&keys, &credentials] {
        std::fs::create_dir(folder).expect("folder");
        chmod(folder, 0o700);
    }
    std::fs::write(keys.join("mine.env"), format!("ANTHROPIC_API_KEY={KEY}\n")).expect("write");
    chmod(&keys.join("mine.env"), 0o600);
    std::fs::write(credentials.join("TELEGRAM_BOT_TOKEN"), TOKEN).expect("write");
    chmod(&credentials.join("TELEGRAM_BOT_TOKEN"), 0o400);
    let file = format!("[keys]\nfile = \"{}\"\n", keys.join("mine.env").display());
    let variable = credentials.display().to_string();
    let egress = setup.config(&file).variable("CREDENTIALS_DIRECTORY", &variable).start();
    let status = egress.status();
    assert_eq!(status.models[0].name.as_str(), "anthropic");
    assert_eq!(status.bots[0].problem, None);
    let setup = egress.stop();

    chmod(&credentials.join("TELEGRAM_BOT_TOKEN"), 0o444);
    let (_, said) = setup.start_refused();
    assert!(said.contains("LoadCredential=") && !said.contains(TOKEN), "{said}");
}

#[test]
fn a_key_file_in_a_work_tree_needs_a_rule_that_ignores_it() {
    let setup = setup();
    std::fs::create_dir(setup.state().join(".git")).expect("folder");
    let (setup, said) = setup.start_refused();
    let rules = setup.state().join(".gitignore");
    assert!(said.contains(&format!("mend: echo '/egress/.env' >> {}", rules.display())), "{said}");
    std::fs::write(rules, "/egress/.env\n").expect("the mend");
    assert_eq!(setup.start().status().models.len(), 1, "the mend mends");
}

#[test]
fn a_key_file_where_others_read_is_refused() {
    let setup = Setup::new();
    let folder = setup.state().join("public_html");
    std::fs::create_dir(&folder).expect("folder");
    chmod(&folder, 0o700);
    std::fs::write(folder.join("keys"), format!("ANTHROPIC_API_KEY={KEY}\n")).expect("write");
    chmod(&folder.join("keys"), 0o600);
    let file = format!("[keys]\nfile = \"{}\"\n", folder.join("keys").display());
    let (_, said) = setup.config(&file).start_refused();
    assert!(said.contains("others get to read") && said.contains("mend: mv "), "{said}");
}

#[test]
fn production_is_not_verbose() {
    // The configuration of these tests says debug.
    let (_, said) = setup().top("profile = \"production\"\n").start_refused();
    assert!(said.contains("set level = \"info\""), "{said}");
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
    for needed in ["no_new_privs", "dumpable", "rlimits", "seccomp", "landlock-fs", "key-memory"] {
        let layer = report.layers.iter().find(|layer| layer.name == needed).expect(needed);
        assert!(layer.complete, "{needed}: asked {}, enforced {}", layer.asked, layer.enforced);
    }
    let process = format!("/proc/{}", egress.child().id());
    let status = std::fs::read_to_string(format!("{process}/status")).expect("status");
    assert!(status.lines().any(|line| line == "NoNewPrivs:\t1"), "{status}");
    assert!(status.lines().any(|line| line == "Seccomp:\t2"), "{status}");
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("told");
    assert_eq!(locked.split_whitespace().next(), Some("512"), "KiB of key memory can't be swapped out");
    // Incident 109: neither is a key there. Root may read these; for its own user the files are closed.
    for file in ["environ", "cmdline"] {
        if let Ok(content) = std::fs::read(format!("{process}/{file}")) {
            assert!(!String::from_utf8_lossy(&content).contains(KEY), "{file}");
        }
    }
}
