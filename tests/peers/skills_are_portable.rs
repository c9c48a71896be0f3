//! Our skills stay what others can read: the AgentSkills reference validator (`skills-ref`) judges each `SKILL.md`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use openclaw_tests::peers;

fn validate(folder: &Path) -> Output {
    Command::new(peers::path("venv/bin/python"))
        .args(["-m", "skills_ref.cli", "validate"])
        .arg(folder)
        .output()
        .expect("python starts")
}

#[test]
fn every_skill_of_ours_is_valid_for_the_reference_validator() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad");
    fs::create_dir_all(&bad).expect("a folder");
    fs::write(bad.join("SKILL.md"), "---\nname: bad\ndescription: d\npermissions: all\n---\n")
        .expect("a file");
    let refused = validate(&bad);
    assert!(!refused.status.success(), "the validator takes everything: {refused:?}");

    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the project").to_owned();
    for shelf in ["gateway/skills", "tests/skills"] {
        let folders = fs::read_dir(root.join(shelf)).expect(shelf).flatten().map(|entry| entry.path());
        let skills: Vec<_> = folders.filter(|folder| folder.join("SKILL.md").is_file()).collect();
        assert!(!skills.is_empty(), "{shelf}");
        for skill in skills {
            let said = validate(&skill);
            assert!(said.status.success(), "{}: {}", skill.display(), String::from_utf8_lossy(&said.stderr));
        }
    }
}
