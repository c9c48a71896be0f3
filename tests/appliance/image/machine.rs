//! A virtual machine that boots the disk image as it is: firmware, boot loader, kernel, verified root. The test gets in by a
//! credential of the machine's (SMBIOS), which adds a unit that runs what is sent to it; the image itself has no such thing.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    inside::Inside,
    namespace::Namespace,
    tree::{repository, run},
};

/// The test's end of the cable, and the machine's.
pub const NEAR: &str = "198.51.100.1";
pub const FAR: &str = "198.51.100.2";

/// Runs each line that comes, base64 of a script, and says how it ended and what it said.
const AGENT: &str = r#"exec 3<>/dev/virtio-ports/agent; echo ready >&3
while read -r line <&3; do
  said=$(base64 -d <<<"$line" | bash 2>&1 | base64 -w0; exit ${PIPESTATUS[1]}); code=$?
  printf '%s %s\n' "$code" "$said" >&3
done"#;
const UNIT: &str = "[Unit]\nDescription=test agent\nAfter=dev-virtio\\x2dports-agent.device\n[Service]\nImportCredential=agent\n\
                    ExecStart=/bin/bash ${CREDENTIALS_DIRECTORY}/agent\nOOMScoreAdjust=-1000\n";

/// Whoever adds a unit of this name has it run before any skill is looked for.
const RUNNER: &str = "[Unit]\nWants=test-skill.service\nAfter=test-skill.service\n";

/// A machine that runs. Pulling its plug is dropping it.
pub struct Machine {
    qemu: Child,
    agent: Option<BufReader<UnixStream>>,
    folder: tempfile::TempDir,
    /// Everything around it.
    pub network: Namespace,
}

/// What a machine is made of, besides its disk.
#[derive(Default)]
pub struct Parts<'a> {
    /// Credentials by SMBIOS: name and content.
    pub credentials: Vec<(&'a str, &'a str)>,
    /// A second disk, which it may read.
    pub disk: Option<&'a Path>,
}

/// Where the image and what is made of it lies.
pub fn folder() -> PathBuf {
    repository().join("target/image")
}

/// The image that `make image` made.
pub fn image() -> PathBuf {
    let out = folder().join("out");
    let found = fs::read_dir(&out).ok().and_then(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|is| is == "raw"))
    });
    found.unwrap_or_else(|| panic!("there is no disk image in {}; `make image` makes it", out.display()))
}

/// A copy of a disk, with this many MiB more.
pub fn copy(disk: &Path, to: &Path, more: u64) {
    run(Command::new("cp").args(["--sparse=always"]).args([disk, to]));
    let file = fs::OpenOptions::new().write(true).open(to).expect("open");
    let size = file.metadata().expect("its size").len();
    file.set_len(size + (more << 20)).expect("grow");
}

impl Machine {
    /// Switches it on. Its disk keeps what is written to it.
    pub fn start(disk: &Path, parts: &Parts) -> Self {
        let network = Namespace::new();
        network.ip("tuntap add cable mode tap");
        network.ip(&format!("addr add {NEAR}/24 dev cable"));
        network.ip("link set cable up");
        let folder = tempfile::tempdir_in(folder()).expect("a folder");
        let socket = folder.path().join("agent");
        let vars = folder.path().join("vars");
        fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &vars).expect("copy the firmware's variables");
        let network_file = format!(
            "[Match]\nType=ether\nKind=!*\n[Network]\nAddress={FAR}/24\nGateway={NEAR}\nLinkLocalAddressing=ipv6\n"
        );
        let mut credentials = vec![
            ("systemd.extra-unit.test-agent.service", UNIT),
            ("systemd.unit-dropin.multi-user.target", "[Unit]\nWants=test-agent.service\n"),
            ("agent", AGENT),
            ("systemd.unit-dropin.openclaw-runner.service", RUNNER),
            ("network.network.50-openclaw", &network_file),
        ];
        credentials.extend(&parts.credentials);
        let mut qemu = network.command("qemu-system-x86_64");
        // With no virtualisation by the processor everything is emulated, and takes its time.
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let by_processor = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
        if by_processor && Path::new("/dev/kvm").exists() {
            qemu.args(["-machine", "q35,accel=kvm", "-cpu", "host"]);
        } else {
            qemu.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand"]);
        }
        let drive = |rest: String| ["-drive".to_owned(), rest];
        qemu.args(["-smp", "2", "-m", "2048", "-display", "none", "-monitor", "none", "-nodefaults"])
            .args(["-uuid", "6f2c1d52-5a0e-4c1b-9a43-0d6d6c7b1e01"])
            .arg("-serial")
            .arg(format!("file:{}", folder.path().join("console").display()))
            .args(drive("if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd".into()))
            .args(drive(format!("if=pflash,format=raw,file={}", vars.display())))
            .args(drive(format!("if=virtio,format=raw,cache=writeback,file={}", disk.display())))
            .args(["-netdev", "tap,id=cable,ifname=cable,script=no,downscript=no"])
            .args(["-device", "virtio-net-pci,netdev=cable"])
            .args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent"])
            .arg("-chardev")
            .arg(format!("socket,id=agent,path={},server=on,wait=off", socket.display()));
        if let Some(disk) = parts.disk {
            qemu.args(drive(format!("if=virtio,format=raw,readonly=on,file={}", disk.display())));
        }
        for (name, content) in credentials {
            let content = BASE64_STANDARD.encode(content);
            qemu.arg("-smbios").arg(format!("type=11,value=io.systemd.credential.binary:{name}={content}"));
        }
        // Patience of systemd's for a machine that is emulated, and may be kept waiting for longer than its watchdogs do.
        let patience = "systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900 systemd.service_watchdogs=no";
        qemu.arg("-smbios").arg(format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={patience}"));
        let said = fs::File::create(folder.path().join("qemu")).expect("a file");
        let qemu = qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().expect("qemu starts");
        Self { qemu, agent: None, folder, network }
    }

    /// Switches it on and waits until it has come up.
    pub fn boot(disk: &Path, parts: &Parts) -> Self {
        let mut machine = Self::start(disk, parts);
        machine.up();
        machine
    }

    /// Waits until it is up, with everything started that should.
    pub fn up(&mut self) {
        self.comes();
        self.tries("systemctl is-system-running --wait").unwrap_or_else(|state| {
            let why =
                "systemctl --failed --plain --no-legend; journalctl -b --no-pager -p warning | tail -40";
            let why = self.tries(why).unwrap_or_default();
            panic!("the machine is {state}: {why}")
        });
    }

    /// Waits until it can be asked: for the first time, or again after a reboot that it makes itself.
    pub fn comes(&mut self) {
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(1800);
        loop {
            let ended = self.qemu.try_wait().expect("wait");
            assert!(ended.is_none() && Instant::now() < deadline, "it did not come up: {}", self.console());
            if let Some(agent) = self.agent.as_mut() {
                let mut line = String::new();
                match agent.read_line(&mut line) {
                    Ok(1..) if line.trim_end().ends_with("ready") => break,
                    Ok(0) => self.agent = None,
                    _ => {}
                }
            } else if let Ok(stream) = UnixStream::connect(self.folder.path().join("agent")) {
                stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
                self.agent = Some(BufReader::new(stream));
            } else {
                sleep(Duration::from_millis(200));
            }
        }
        println!("it answers after {} s", begun.elapsed().as_secs());
    }

    /// Has it restart, by an order from inside.
    pub fn reboot(&mut self) {
        self.run("systemctl reboot --no-block");
        self.up();
    }

    /// Has it end by itself.
    pub fn off(mut self) {
        let _said = self.tries("systemctl poweroff --no-block");
        let deadline = Instant::now() + Duration::from_secs(300);
        while self.qemu.try_wait().expect("wait").is_none() {
            assert!(Instant::now() < deadline, "it does not go off: {}", self.console());
            sleep(Duration::from_millis(200));
        }
    }

    /// What it wrote to its serial console, the end of it.
    pub fn console(&self) -> String {
        let read = |name| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&[read("qemu"), read("console")].concat()).into_owned();
        let start = text.char_indices().rev().nth(6000).map_or(0, |(at, _)| at);
        text[start..].to_owned()
    }

    /// Waits until these words stand there: what is on the console is written by whoever waits for a login, after all else.
    pub fn shows(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(300);
        while !self.whole_console().contains(words) {
            assert!(Instant::now() < deadline, "{words:?} is not on the console: {}", self.console());
            sleep(Duration::from_millis(200));
        }
    }

    /// The same, all of it.
    pub fn whole_console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("console")).unwrap_or_default())
            .into_owned()
    }
}

impl Inside for Machine {
    fn tries(&self, script: &str) -> Result<String, String> {
        use ErrorKind::{Interrupted, TimedOut, WouldBlock};
        let mut stream = self.agent.as_ref().expect("it is up").get_ref();
        writeln!(stream, "{}", BASE64_STANDARD.encode(script)).expect("send");
        let mut line = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(1800);
        // One byte at a time: nothing of a later line is taken away from whoever waits for it.
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1..) => line.push(byte[0]),
                Ok(0) => return Err("the machine went away".into()),
                // Interrupted too: with a time limit, a read does not go on by itself when whoever waits was stopped for a while.
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted) => {
                    assert!(Instant::now() < deadline, "{script}: no end of it");
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let (code, said) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let said = BASE64_STANDARD.decode(said).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        if code == "0" { Ok(said) } else { Err(said) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // As if somebody pulled the plug.
        let _gone = self.qemu.kill();
        let _ended = self.qemu.wait();
    }
}
