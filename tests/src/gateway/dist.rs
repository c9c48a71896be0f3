//! The finished folder that the tests run: `bin` and `skills`, assembled from what cargo built, or the one that
//! `OPENCLAW_DIST` names (a release build).

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use openclaw_wire::{facts::FACTS, skill};

/// The folder, made once for each test program. It holds `bin`, `skills` (bundled), and `test-skills`.
pub fn dist() -> &'static Path {
    static DIST: OnceLock<PathBuf> = OnceLock::new();
    DIST.get_or_init(assemble)
}

/// Where cargo put what it built: a test is in target/<profile>/deps, the bench beside the programs.
pub fn built() -> PathBuf {
    let own = env::current_exe().expect("own path");
    let folder = own.parent().expect("a program is in a folder");
    if folder.ends_with("deps") { folder.parent().expect("target/<profile>") } else { folder }.to_owned()
}

fn assemble() -> PathBuf {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in a folder of the workspace");
    let built = built();
    // Below /tmp and readable for all: the programs run as another user.
    let to = env::temp_dir().join(format!("openclaw-tests-dist-{}", std::process::id()));
    remove_old();
    if let Some(given) = env::var_os("OPENCLAW_DIST") {
        copy_folder(&Path::new(&given).join("bin"), &to.join("bin"));
        copy_folder(&Path::new(&given).join("skills"), &to.join("skills"));
    } else {
        build(root);
        let programs = &FACTS.programs;
        let programs = [
            &programs.gateway,
            &programs.egress,
            &programs.runner,
            &programs.front,
            &programs.host,
            &programs.jail,
            &programs.mcp,
        ];
        for program in programs {
            place(&built.join(program), &to.join("bin").join(program));
        }
        assemble_skills(&root.join("gateway/skills"), &built, &to.join("skills"));
    }
    assemble_skills(&Path::new(env!("CARGO_MANIFEST_DIR")).join("skills"), &built, &to.join("test-skills"));
    to
}

/// Folders of test programs that are gone.
fn remove_old() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("openclaw-tests-dist-").and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What cargo builds for a test are only this crate's own programs; the others are built here, once.
fn build(root: &Path) {
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--quiet", "--workspace", "--bins", "--locked"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status().expect("cargo starts");
    assert!(status.success(), "the programs under test do not build");
}

fn assemble_skills(from: &Path, built: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder of the dist");
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let folder = entry.expect("listed").path();
        let manifest = folder.join("skill.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let parsed = skill::parse(&text, &manifest).expect("the manifest is good");
        let name = folder.file_name().expect("a folder has a name");
        let target = to.join(name);
        place(&manifest, &target.join("skill.toml"));
        place(&folder.join("SKILL.md"), &target.join("SKILL.md"));
        let program = parsed.program.file_name().expect("a program has a name");
        place(&built.join(program), &target.join(&parsed.program));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("listed").path();
        let target = to.join(path.file_name().expect("listed entries have names"));
        match path.is_dir() {
            true => copy_folder(&path, &target),
            false => place(&path, &target),
        }
    }
}

fn place(from: &Path, to: &Path) {
    let parent = to.parent().expect("a file has a folder");
    fs::create_dir_all(parent).expect("make a folder of the dist");
    let _ = fs::set_permissions(parent, fs::Permissions::from_mode(0o755));
    fs::copy(from, to).unwrap_or_else(|e| panic!("copy {} to {}: {e}", from.display(), to.display()));
}
