//! Updates: to a good version, to one that does not come up, and with the plug pulled in the middle. Whatever happens it boots,
//! and the state is as it was.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use super::machine::{Machine, NEAR, Parts, copy, folder};
use crate::{
    inside::Inside,
    namespace::Namespace,
    tree::{repository, run},
};

const FIRST: &str = "0.0.1";
const SECOND: &str = "0.0.2";
const BROKEN: &str = "0.0.3";

#[test]
#[ignore = "make image-test"]
fn a_version_that_is_not_good_falls_back_and_no_power_cut_leaves_it_without_one() {
    let work = tempfile::tempdir_in(folder()).expect("a folder");
    let key = Key::new(&work.path().join("key"));
    // The drill has its own test, and takes minutes on an emulated processor.
    let first = built(work.path(), FIRST, &key, |root| {
        let settings = root.join("usr/lib/openclaw/openclaw.toml");
        let text = fs::read_to_string(&settings).expect("settings");
        fs::write(&settings, text.replace("drill_at_start = true", "drill_at_start = false")).expect("write");
    });
    let second = built(work.path(), SECOND, &key, |_| {});
    let broken = built(work.path(), BROKEN, &key, |root| {
        let gateway = root.join("usr/lib/openclaw/bin/openclaw");
        // It is there, it starts, and it never answers; all else is as it was.
        let serves = "#!/bin/bash\ncase $1 in serve | status) exit 1 ;; *) exec -a openclaw \"$0.real\" \"$@\" ;; esac\n";
        fs::rename(&gateway, gateway.with_extension("real")).expect("move");
        fs::write(&gateway, serves).expect("write");
        run(Command::new("chmod").arg("755").arg(&gateway));
    });
    let disk = work.path().join("disk");
    copy(&first.join(format!("openclaw_{FIRST}.raw")), &disk, 0);

    // A machine that nobody has told anything yet is one that is well.
    let mut machine = Machine::boot(&disk, &Parts::default());
    assert_eq!(version(&machine), FIRST);
    machine.shows("waits to be told who you are");
    machine.run("/usr/lib/openclaw/image/health");
    machine.run(&format!(
        "echo kept > /var/lib/openclaw/files/documents/kept; echo http://{NEAR} > /var/lib/openclaw/updates; sync"
    ));

    // Signed by somebody else: nothing of it is taken.
    let stranger = Key::new(&work.path().join("stranger"));
    stranger.sign(&second);
    {
        let _served = Served::new(&machine.network, &second);
        machine.tries("systemctl start systemd-sysupdate.service").expect_err("a stranger's signature");
        assert!(!installed(&machine, SECOND));
    }

    // The plug is pulled while the other slot is written.
    key.sign(&second);
    let served = Served::new(&machine.network, &second);
    // What the disk has taken and what the kernel still holds for it: the other slot is written as a part of the whole disk.
    let written = || -> u64 {
        let bytes = "set -- $(cat /sys/class/block/vda/stat) $(sed -n 's/^Dirty: *//p' /proc/meminfo); echo $(($7 * 512 + ${18} * 1024))";
        machine.run(bytes).trim().parse().expect("bytes")
    };
    machine.run("sync");
    let before = written();
    machine.run("systemctl start --no-block systemd-sysupdate.service");
    let deadline = Instant::now() + Duration::from_secs(600);
    while written() < before + (16 << 20) {
        assert!(
            Instant::now() < deadline,
            "nothing is written: {}",
            machine.run("journalctl -b --no-pager | tail -20")
        );
        sleep(Duration::from_millis(100));
    }
    assert!(!installed(&machine, SECOND), "it was not done yet");
    drop(served);
    drop(machine);
    println!("the plug was pulled");

    machine = Machine::boot(&disk, &Parts::default());
    assert_eq!(version(&machine), FIRST);
    kept(&machine);

    // To a good one.
    let served = Served::new(&machine.network, &second);
    update(&machine, SECOND);
    drop(served);
    machine.reboot();
    assert_eq!(version(&machine), SECOND);
    kept(&machine);
    // It was counted, and is no longer.
    waits(&machine, "systemctl is-active systemd-bless-boot.service");
    assert_eq!(kernels(&machine), [FIRST, SECOND].map(|version| format!("openclaw_{version}.efi")));

    // To one whose gateway does not answer: it comes up, finds that out, and goes back without anybody's help.
    let served = Served::new(&machine.network, &broken);
    update(&machine, BROKEN);
    drop(served);
    assert_eq!(kernels(&machine), [format!("openclaw_{SECOND}.efi"), format!("openclaw_{BROKEN}+3-0.efi"),]);
    machine.run("systemctl reboot --no-block");
    machine.comes();
    assert_eq!(version(&machine), BROKEN);
    println!("the broken version is running");
    machine.up();
    assert_eq!(version(&machine), SECOND);
    kept(&machine);
    let left = kernels(&machine);
    assert!(left.iter().any(|name| name.starts_with(&format!("openclaw_{BROKEN}+0-"))), "{left:?}");
    machine.off();
}

fn version(machine: &Machine) -> String {
    machine.run(". /usr/lib/os-release && printf %s $IMAGE_VERSION")
}

/// The state is as it was, and there is a gateway to use it.
fn kept(machine: &Machine) {
    assert_eq!(machine.run("cat /var/lib/openclaw/files/documents/kept"), "kept\n");
    machine.run("openclaw status");
}

fn kernels(machine: &Machine) -> Vec<String> {
    machine.run("ls /boot/EFI/Linux").lines().map(str::to_owned).collect()
}

fn installed(machine: &Machine, version: &str) -> bool {
    machine.run("ls /boot/EFI/Linux").contains(version)
}

fn update(machine: &Machine, to: &str) {
    let told = machine.tries("systemctl start systemd-sysupdate.service");
    assert!(told.is_ok(), "{}", machine.run("journalctl -b --no-pager -u systemd-sysupdate | tail -30"));
    assert!(installed(machine, to));
}

fn waits(machine: &Machine, script: &str) {
    let deadline = Instant::now() + Duration::from_secs(600);
    while machine.tries(script).is_err() {
        assert!(
            Instant::now() < deadline,
            "{script}: {}",
            machine.run("journalctl -b --no-pager | tail -30")
        );
        sleep(Duration::from_secs(1));
    }
}

/// A version of the image, with something changed in its root; the folder with the disk and what an update fetches.
fn built(work: &Path, version: &str, key: &Key, change: impl Fn(&Path)) -> PathBuf {
    let name = work.file_name().expect("a name").to_str().expect("text");
    let (root, out) = (format!("target/image/{name}/root"), format!("target/image/{name}/{version}"));
    let script = |name: &str| {
        let mut command = Command::new(repository().join("image").join(name));
        command.env("IMAGE_UPDATES_KEY", key.0.join("public"));
        command
    };
    run(script("root").args([&root, version]));
    change(&repository().join(&root));
    run(script("disk").args([&root, version, &out]));
    let out = repository().join(out);
    if version != FIRST {
        run(Command::new("sh")
            .current_dir(&out)
            .args(["-euc", "rm *.raw; sha256sum *.root *.verity *.efi > SHA256SUMS"]));
    }
    key.sign(&out);
    println!("built {version}");
    out
}

/// A key that signs versions.
struct Key(PathBuf);

impl Key {
    fn new(folder: &Path) -> Self {
        fs::create_dir(folder).expect("a folder");
        let new = Self(folder.to_owned());
        run(Command::new("chmod").arg("700").arg(folder));
        run(new.gpg().args(["--passphrase", "", "--quick-generate-key", "test", "ed25519", "sign"]));
        run(new.gpg().arg("--output").arg(folder.join("public")).args(["--export", "test"]));
        new
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.0).args(["--batch", "--yes", "--quiet"]);
        // The agent that it needs belongs to this folder and ends with it.
        command.args(["--pinentry-mode", "loopback"]);
        command
    }

    fn sign(&self, out: &Path) {
        if out.join("SHA256SUMS").exists() {
            let list = out.join("SHA256SUMS");
            run(self.gpg().arg("--output").arg(out.join("SHA256SUMS.gpg")).arg("--detach-sign").arg(list));
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ended = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "all"]).status();
    }
}

/// A server of files around the machine, until dropped.
struct Served(Child);

impl Served {
    fn new(network: &Namespace, folder: &Path) -> Self {
        let server = network
            .command("python3")
            .args(["-m", "http.server", "--bind", NEAR, "80", "--directory"])
            .arg(folder)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("a server");
        let deadline = Instant::now() + Duration::from_secs(30);
        while !network.connects(&format!("{NEAR}:80")) {
            assert!(Instant::now() < deadline, "the server does not come");
            sleep(Duration::from_millis(100));
        }
        Self(server)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}
