//! A root filesystem of the image's suite with our programs and units in it, as a thin layer over the kept one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use openclaw_tests::gateway::dist;
use openclaw_wire::facts::FACTS;

use crate::inside::Inside;

/// The repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

/// Removed when dropped.
pub struct Tree {
    folder: tempfile::TempDir,
    root: PathBuf,
}

impl Tree {
    /// Our programs as they were built, and everything that `systemd/install` installs.
    pub fn new() -> Self {
        let base = repository().join("target/appliance/trixie");
        assert!(
            base.with_extension("made").exists(),
            "there is no {}; `make appliance` makes it",
            base.display()
        );
        // On a disk: what a skill writes to memory would not count as written.
        let folder = tempfile::tempdir_in(repository().join("target/appliance")).expect("a folder");
        for name in ["upper", "work", "root"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let root = folder.path().join("root");
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            folder.path().join("upper").display(),
            folder.path().join("work").display()
        );
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root));
        let tree = Self { folder, root };
        run(Command::new(repository().join("systemd/install")).arg(&tree.root));
        let (programs, skills) = (tree.path(&FACTS.install.programs), tree.path(&FACTS.install.skills));
        for (from, to) in [("bin", &programs), ("skills", &skills)] {
            fs::create_dir_all(to).expect("a folder");
            run(Command::new("cp").args(["-rT", "--no-preserve=ownership"]).arg(dist().join(from)).arg(to));
        }
        // What a test does not bring is there in name, so that units that start it can be read.
        fs::copy(tree.root.join("usr/bin/true"), programs.join("cloudflared")).expect("copy");
        let _unused = std::os::unix::fs::symlink(
            FACTS.install.programs.join(&FACTS.programs.gateway),
            tree.root.join("usr/bin/openclaw"),
        );
        tree.run("systemd-sysusers");
        tree
    }

    /// A path of the image in this machine's tree.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").expect("an absolute path"))
    }

    /// Runs a shell command in the tree, without booting it; gives what it said. It must succeed.
    pub fn run(&self, script: &str) -> String {
        let mounts = "mount --bind /dev $0/dev; mount -t proc proc $0/proc; mount -t tmpfs run $0/run; \
                      mount -t tmpfs tmp $0/tmp; exec chroot $0 sh -c \"$1\"";
        let root = self.root.to_str().expect("text");
        run(Command::new("unshare").args(["-m", "sh", "-ec", mounts, root, script]))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Whatever it says, the temporary folder says more when it can't be removed.
        let _said = Command::new("umount").arg("--lazy").arg(&self.root).status();
        let _kept = &self.folder;
    }
}

/// A tree whose systemd runs, in a container without a network.
pub struct Booted {
    nspawn: Child,
    leader: String,
    _tree: Tree,
}

impl Booted {
    /// Boots it and waits until systemd says that it has come up.
    pub fn new(tree: Tree) -> Self {
        // Container managers withhold what only ours asks for: Landlock, locked memory, a writable /proc/sys.
        let calls = "landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp @memlock";
        let off = [
            "systemd-networkd-wait-online.service",
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "console-getty.service",
        ];
        for unit in off {
            let _there =
                std::os::unix::fs::symlink("/dev/null", tree.root.join("etc/systemd/system").join(unit));
        }
        fs::write(tree.root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").expect("write");
        tree.run(
            "cd /usr/lib/systemd/system && systemctl preset nftables.service openclaw.target openclaw-*.socket \
             openclaw-*.timer $(grep -l '^.Install' openclaw-*.service) 2>&1",
        );
        let log = fs::File::create(tree.folder.path().join("console")).expect("a file");
        let mut nspawn = Command::new("systemd-nspawn")
            .args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--console=pipe",
                "-b",
                "-D",
            ])
            .arg(&tree.root)
            .arg(format!("--system-call-filter={calls}"))
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("systemd-nspawn starts");
        let children = format!("/proc/{0}/task/{0}/children", nspawn.id());
        let deadline = Instant::now() + Duration::from_secs(300);
        let booted = loop {
            assert!(nspawn.try_wait().expect("wait").is_none(), "systemd-nspawn ended: {}", console(&tree));
            assert!(Instant::now() < deadline, "it did not boot: {}", console(&tree));
            sleep(Duration::from_millis(200));
            let leader = fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
            let up = !leader.is_empty() && is_init(&leader);
            if up
                && said(&leader, "systemctl is-system-running --wait || true")
                    .is_ok_and(|state| matches!(state.trim(), "running" | "degraded"))
            {
                break leader;
            }
        };
        Self { nspawn, leader: booted, _tree: tree }
    }
}

impl Inside for Booted {
    fn tries(&self, script: &str) -> Result<String, String> {
        said(&self.leader, script)
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // The container's first process takes the whole of it along.
        let _gone = Command::new("kill").args(["-KILL", &self.leader]).status();
        let _ended = self.nspawn.wait();
    }
}

/// The container's own first process, in namespaces of its own, and not the one that prepares them.
fn is_init(leader: &str) -> bool {
    let own = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    own(leader, "pid") != own("self", "pid")
        && own(leader, "mnt") != own("self", "mnt")
        && fs::read_to_string(format!("/proc/{leader}/comm")).is_ok_and(|name| name.trim() == "systemd")
        && Path::new(&format!("/proc/{leader}/root/run/systemd/private")).exists()
}

fn said(leader: &str, script: &str) -> Result<String, String> {
    let output = Command::new("nsenter")
        .args(["-t", leader, "-m", "-u", "-i", "-n", "-p", "-C", "sh", "-c", script])
        .stdin(Stdio::null())
        .output()
        .expect("nsenter runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stdout) + &text(&output.stderr)),
    }
}

fn console(tree: &Tree) -> String {
    fs::read_to_string(tree.folder.path().join("console")).unwrap_or_default()
}

/// Runs a command; gives what it said on standard output. It must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
