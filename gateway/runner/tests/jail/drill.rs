//! The drill holds on this machine, and it notices when a barrier is missing.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use openclaw_confine::spawn::Identity;
use openclaw_wire::drill::{Drill, Mark};

use crate::rig::Setup;

/// Holds one as the user of the setup, on a kernel that may lack a call.
fn hold(setup: Setup) -> Drill {
    let folder = tempfile::Builder::new().prefix("drill-").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, folder.path().join(name)).unwrap();
        folder.path().join(name)
    };
    let program = copy(Path::new(env!("CARGO_BIN_EXE_openclaw-runner")), "openclaw-runner");
    copy(Path::new(env!("CARGO_BIN_EXE_skill-jail")), "skill-jail");
    let launcher = copy(&std::env::current_exe().unwrap(), "launcher");
    let mut command = match setup.without {
        None => Command::new(program),
        Some((call, errno)) => {
            let mut command = Command::new(launcher);
            command.arg("--without").arg(call.to_string()).arg(errno.to_string()).arg(program);
            command
        }
    };
    if let Some(Identity { uid, gid }) = setup.identity {
        std::os::unix::process::CommandExt::uid(&mut command, uid);
        std::os::unix::process::CommandExt::gid(&mut command, gid);
    }
    let output = command
        .arg("--drill")
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let drill: Drill = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.success(), drill.failed().is_empty());
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "something of the drill is left: {left:?}");
    drill
}

pub fn the_jail_holds_with_any_barrier_missing(setup: Setup) {
    let drill = hold(setup);
    assert_eq!(drill.failed(), [""; 0]);
    let proven = drill.probes.iter().filter(|row| row.proven()).count();
    println!("    {} probes, {proven} work outside, {} ms", drill.probes.len(), drill.took_ms);
    assert!(proven >= Drill::LEAST);
    // Leaving a barrier out is no pretence: something gets as far as the barrier alone would have stopped it.
    for (at, barrier) in drill.barriers.iter().enumerate() {
        let alone =
            drill.probes.iter().filter_map(|row| row.without.get(at)).any(|cell| cell.mark == Mark::Alone);
        // Landlock stands alone against nothing.
        assert!(alone || barrier == "Landlock", "nothing shows that {barrier} was left out");
    }
}

/// On a kernel without Landlock there is nothing to drill, and that is a failure.
pub fn a_missing_layer_fails_the_drill(setup: Setup) {
    let drill = hold(Setup { without: Some((libc::SYS_unshare, libc::EPERM)), ..setup });
    let failed = drill.failed();
    assert!(failed.iter().any(|text| text.contains("namespace")), "{failed:?}");
}
