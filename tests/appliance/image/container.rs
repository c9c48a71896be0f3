//! The OCI image under podman: as small as it is said to be, running without skills by default, and with them when the container
//! is given what compose.yaml names.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    process::Command,
    sync::mpsc,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::machine::folder;
use crate::{
    namespace::Namespace,
    tree::{repository, run},
};

/// What every name leads to.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);

/// What skills need of a container, in compose.yaml's words and in podman's.
const FOR_SKILLS: [(&str, &str); 3] = [
    ("seccomp=unconfined", "seccomp=unconfined"),
    ("apparmor=unconfined", "apparmor=unconfined"),
    ("systempaths=unconfined", "unmask=ALL"),
];

#[test]
#[ignore = "make image-test"]
fn the_container_answers_and_its_skills_work_when_it_is_allowed_to_make_jails() {
    let work = tempfile::tempdir_in(folder()).expect("a folder");
    let podman = Podman(work.path().to_owned());
    let (plain, script) = tags();
    // Nothing in it but programs, skills and two names.
    let names = podman.files(&plain);
    let programs = ["etc/group", "etc/passwd"].map(str::to_owned);
    let strange: Vec<_> = names
        .iter()
        .filter(|name| !name.starts_with("usr/lib/openclaw/") && !programs.contains(name))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    for name in podman.files(&script) {
        let last = name.rsplit('/').next().expect("a name");
        assert!(!["sh", "bash", "dash", "busybox", "apt", "dpkg"].contains(&last), "{name}");
    }

    // By default it runs, answers, and says why skills are off.
    let container = podman.start(&plain, &[]);
    let status = container.run(&["openclaw", "status"]);
    assert!(status.contains("OFF"), "skills are off, in plain words: {status}");
    println!("without the flags: {}", status.lines().find(|line| line.contains("OFF")).expect("the line"));
    let said = container.run(&["openclaw", "chat", "hello"]);
    assert!(said.to_lowercase().contains("rehearsal"), "{said}");
    container.tries(&["sh", "-c", "true"]).expect_err("there is no shell");
    drop(container);

    // With what compose.yaml names, they run, and the drill finds nothing open.
    let compose = fs::read_to_string(repository().join("image/compose.yaml")).expect("compose.yaml");
    let flags = FOR_SKILLS.map(|(there, here)| {
        assert!(compose.contains(&format!("- {there}\n")), "compose.yaml names {there}");
        here
    });
    let container = podman.start(&plain, &flags);
    let status = container.run(&["openclaw", "status"]);
    assert!(!status.contains("OFF"), "{status}");
    let listed = container.run(&["openclaw", "skills", "run", "read-documents", "list_documents"]);
    println!("a skill said: {}", listed.trim());
    let drilled = container.tries(&["openclaw", "security", "drill"]);
    assert!(drilled.is_ok(), "{drilled:?}");
    // Every process is the unprivileged one, with nothing of root's left.
    let users = podman.said(&["top", &container.name, "user", "capeff", "capbnd"]);
    for line in users.lines().skip(1) {
        assert!(line.contains("none") && !line.starts_with("root"), "{users}");
    }
}

/// The static programs have another C library with another resolver, behind egress's own filter of system calls.
#[test]
#[ignore = "make image-test"]
fn names_are_looked_up_in_the_container_too() {
    let work = tempfile::tempdir_in(folder()).expect("a folder");
    let podman = Podman(work.path().to_owned());
    let network = Namespace::new();
    network.ip(&format!("addr add {PUBLIC}/32 dev lo"));
    let asked = network.within(0, names);
    let came = network.within(0, || {
        let listener = TcpListener::bind((PUBLIC, 443)).expect("listen");
        let (tell, came) = mpsc::channel();
        thread::spawn(move || listener.incoming().flatten().try_for_each(|_| tell.send(())));
        came
    });
    let inside = format!("--network=ns:{}", network.path());
    let container =
        podman.start_with(&tags().0, &[&inside, "--dns=127.0.0.1", "--env=OPENAI_API_KEY=test-key-not-real"]);
    let said = container.tries(&["openclaw", "keys", "test"]);
    let question =
        asked.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("no question: {said:?}"));
    assert!(question.contains("openai"), "{question}");
    came.recv_timeout(Duration::from_secs(30))
        .unwrap_or_else(|_| panic!("nobody came to the address: {said:?}"));
}

/// A name server on loopback that knows one address for everything; tells what it was asked.
fn names() -> mpsc::Receiver<String> {
    let socket = UdpSocket::bind("127.0.0.1:53").expect("bind");
    let (tell, asked) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = &buffer[..length];
            let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
            let of_ipv4 = question.get(end - 4..end - 2) == Some(&[0, 1]);
            // RFC 1035, section 4.1: the header with one answer or none, the question, and a record that points at its name.
            let mut answer = [&question[..2], &[0x81, 0x80, 0, 1, 0, u8::from(of_ipv4), 0, 0, 0, 0]].concat();
            answer.extend(&question[12..end]);
            if of_ipv4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(PUBLIC.octets());
            }
            let _gone = socket.send_to(&answer, from);
            let _gone = tell.send(String::from_utf8_lossy(&question[12..end]).into_owned());
        }
    });
    asked
}

#[test]
#[ignore = "make image-test"]
fn the_container_is_small_enough() {
    let index: Value = read(&folder().join("oci/index.json"));
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest").replace(':', "/");
    let manifest: Value = read(&folder().join("oci/blobs").join(digest));
    let bytes: u64 = manifest["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .filter_map(|layer| layer["size"].as_u64())
        .sum();
    println!("the container is {:.1} MB compressed, at most 40", bytes as f64 / 1e6);
    assert!(bytes <= 40_000_000);
}

fn read(path: &Path) -> Value {
    let text =
        fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; `make image` makes it", path.display()));
    serde_json::from_slice(&text).expect("JSON")
}

/// The two tags.
fn tags() -> (String, String) {
    let index = read(&folder().join("oci/index.json"));
    let tag = |number: usize| {
        let name = &index["manifests"][number]["annotations"]["org.opencontainers.image.ref.name"];
        name.as_str().expect("a tag").to_owned()
    };
    (tag(0), tag(1))
}

/// podman with a storage of its own.
struct Podman(std::path::PathBuf);

impl Podman {
    fn command(&self) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.0.join("storage")).arg("--runroot").arg(self.0.join("run")).args([
            "--storage-driver=vfs",
            "--runtime=runc",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
        ]);
        command
    }

    fn said(&self, arguments: &[&str]) -> String {
        run(self.command().args(arguments))
    }

    fn pull(&self, tag: &str) -> String {
        let said = self.said(&["pull", "--quiet", &format!("oci:{}:{tag}", folder().join("oci").display())]);
        said.trim().to_owned()
    }

    /// Every file of an image.
    fn files(&self, tag: &str) -> BTreeSet<String> {
        let image = self.pull(tag);
        let mounted = self.said(&["image", "mount", &image]);
        let found =
            run(Command::new("find").arg(mounted.trim()).args(["!", "-type", "d", "-printf", "%P\\n"]));
        self.said(&["image", "unmount", &image]);
        found.lines().map(str::to_owned).collect()
    }

    /// A container as compose.yaml describes it but without a network, with these further options of security.
    fn start(&self, tag: &str, security: &[&str]) -> Container<'_> {
        let options: Vec<_> = security.iter().map(|option| format!("--security-opt={option}")).collect();
        let options: Vec<_> = options.iter().map(String::as_str).chain(["--network=none"]).collect();
        self.start_with(tag, &options)
    }

    fn start_with(&self, tag: &str, options: &[&str]) -> Container<'_> {
        let image = self.pull(tag);
        let mut command = self.command();
        // podman's own limits are more than a root without CAP_SYS_RESOURCE, such as a virtual machine's guest, may give.
        command.args(["run", "--detach", "--read-only"]);
        command.args(["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096"]);
        command.args(["--tmpfs", "/tmp:mode=1777,size=64m", "--volume", "/var/lib/openclaw"]);
        command.args([
            "--cap-drop=all",
            "--cap-add=SETUID,SETGID,SETPCAP",
            "--security-opt=no-new-privileges",
        ]);
        command.args(options);
        let name = run(command.arg(&image)).trim().to_owned();
        let container = Container { podman: self, name };
        let deadline = Instant::now() + Duration::from_secs(300);
        while container.tries(&["openclaw", "status"]).is_err() {
            let logs = || self.command().args(["logs", &container.name]).output().expect("logs");
            assert!(Instant::now() < deadline, "it does not answer: {:?}", logs());
            sleep(Duration::from_millis(500));
        }
        container
    }
}

/// A container that runs.
struct Container<'a> {
    podman: &'a Podman,
    name: String,
}

impl Container<'_> {
    fn tries(&self, arguments: &[&str]) -> Result<String, String> {
        let output =
            self.podman.command().args(["exec", "--user", "openclaw", &self.name]).args(arguments).output();
        let output = output.expect("podman runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(text + &String::from_utf8_lossy(&output.stderr)),
        }
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.tries(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _gone =
            self.podman.command().args(["rm", "--force", "--volumes", "--time", "5", &self.name]).output();
    }
}
