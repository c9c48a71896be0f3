//! A skill's manifest: whatever is accepted asks for nothing that no skill may have.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use openclaw_wire::skill::parse;

/// Said here again, so that a change of one list shows.
const NEVER: [&str; 9] =
    ["/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/root", "/var/run", "/var/lib/openclaw/egress"];
const HOME: &str = "/home/somebody";

/// Absolute, below something, and goes nowhere else than it says.
fn straight(path: &Path) -> bool {
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && parts.clone().count() > 0
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !path.to_str().is_none_or(|text| text.contains(char::is_control))
}

fuzz_target!(|text: &str| {
    let manifest = match parse(text, Path::new("skill.toml")) {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!(error.to_string().starts_with("read manifest skill.toml:"));
            return;
        }
    };
    let program = Path::new("/skills/one").join(&manifest.program);
    assert!(straight(&program) && program.starts_with("/skills/one") && program != Path::new("/skills/one/"));
    let mut seen = Vec::new();
    for grant in manifest.permissions.read.iter().chain(&manifest.permissions.write) {
        let path = grant.resolve(Path::new(HOME));
        assert!(straight(&path) && path != Path::new(HOME), "{path:?}");
        for never in NEVER {
            assert!(!path.starts_with(never) && !Path::new(never).starts_with(&path), "{path:?}");
        }
        let inside = grant.inside();
        assert!(
            straight(&inside) && inside.starts_with("/files") && inside != Path::new("/files"),
            "{inside:?}"
        );
        assert!(!seen.contains(&inside), "two folders would be one: {inside:?}");
        seen.push(inside);
    }
    let limits = &manifest.limits;
    assert!((1..=256).contains(&limits.processes) && limits.output.0 <= 8 << 20);
    assert!(limits.memory.0 > 0 && !limits.cpu.0.is_zero() && !limits.wall.0.is_zero());
    let mut names: Vec<_> = manifest.tool.iter().map(|tool| tool.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), manifest.tool.len());
    for tool in &manifest.tool {
        assert_eq!(tool.arguments["type"], "object");
        assert!(tool.roles.keys().all(|name| tool.arguments["properties"].get(name).is_some()));
    }
});
