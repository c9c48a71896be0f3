//! The programs under users of their own, as systemd starts them: doors with owners and modes in `/run/openclaw`, state,
//! configuration and granted folders as `systemd/tmpfiles.d` makes them. Needs root, which plays systemd and the operator.

use std::{
    fs,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt, chown},
            net::{UnixDatagram, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use openclaw_confine::spawn::{Child, Start};
use openclaw_wire::{admin::Status, facts::FACTS};
use rustix::process::Signal;
use tokio::{process::Command, time::Instant};

use super::{PATIENCE, Role, Setup, dist};

/// Group of those that read the configuration. Neither it nor the users have names on any machine.
const GROUP: u32 = 61_000;
/// In the folder of the doors.
const NOTIFY: &str = "notify.sock";
/// What systemd does around a program: its own view of `/run`, its user, no right to anybody else's new files.
const UNIT: &str = "umask 077 && mount -t tmpfs none /run && mkdir /run/openclaw && chmod 755 /run/openclaw && \
                    mount --bind \"$0\" /run/openclaw && user=$1 group=$2 && shift 2 && \
                    exec setpriv --reuid $user --regid $user --groups $group --no-new-privs -- \"$@\"";

/// Running.
pub struct Apart {
    setup: Setup,
    programs: Vec<(Role, Child)>,
    front: Option<Child>,
    /// systemd's, which few words go to. A program that has one knows that its doors are paths.
    _notify: UnixDatagram,
}

impl Role {
    /// The user that it has here, and that user's only group besides [`GROUP`].
    pub fn user(self) -> u32 {
        match self {
            Self::Gateway => GROUP + 1,
            Self::Egress => GROUP + 2,
            Self::Runner => GROUP + 3,
        }
    }
}

/// The user of openclaw-front, which is there in direct mode only.
pub const FRONT: u32 = GROUP + 4;

impl Apart {
    /// Starts all three and waits until they serve.
    pub async fn start(setup: Setup) -> Self {
        setup.write();
        let state = setup.state().to_owned();
        own(&state, 0, 0, 0o755);
        own(&state.join(&FACTS.state.config), 0, GROUP, 0o640);
        for (folder, role) in [("gateway", Role::Gateway), ("egress", Role::Egress)] {
            let folder = state.join(folder);
            fs::create_dir_all(&folder).expect("a folder of the state");
            own(&folder, role.user(), role.user(), 0o700);
        }
        own(&state.join(&FACTS.state.keys), Role::Egress.user(), Role::Egress.user(), 0o600);
        grant(&setup.home());
        let run = setup.home().with_file_name("run");
        fs::create_dir(&run).expect("a folder");
        own(&run, 0, 0, 0o755);
        let door = |path: &Path, owner: Role| {
            socket(&run.join(path.file_name().expect("a socket has a name")), owner)
        };
        let config = state.join(&FACTS.state.config);
        let (skills, more) = (dist().join("skills"), dist().join("test-skills"));
        let notify = UnixDatagram::bind(run.join(NOTIFY)).expect("a socket");
        own(&run.join(NOTIFY), 0, 0, 0o777);
        let mut apart = Self { setup, programs: Vec::new(), front: None, _notify: notify };
        apart.spawn(
            Role::Egress,
            &run,
            &[
                "--config".into(),
                config.clone(),
                "--state".into(),
                state.clone(),
                "--bundled".into(),
                skills.clone(),
            ],
            [
                ("gateway", door(&FACTS.unix.egress_for_gateway, Role::Gateway)),
                ("runner", door(&FACTS.unix.egress_for_runner, Role::Runner)),
                ("front", socket_of(&run.join("egress-front.sock"), FRONT, FRONT, 0o600)),
                ("operator", socket(&state.join(&FACTS.state.operator_socket), Role::Egress)),
            ],
        );
        let shelves = ["--skills".into(), skills, "--skills".into(), more];
        let runner =
            ["--config".into(), config, "--state".into(), state.clone(), "--home".into(), apart.setup.home()];
        apart.spawn(
            Role::Runner,
            &run,
            &[runner.as_slice(), &shelves].concat(),
            [("gateway", door(&FACTS.unix.runner_for_gateway, Role::Gateway))],
        );
        let webhook = run.join("front/webhook.sock");
        fs::create_dir(run.join("front")).expect("a folder");
        own(&run.join("front"), Role::Gateway.user(), FRONT, 0o750);
        let gateway = ["serve".into(), "--state".into(), state.clone()];
        apart.spawn(
            Role::Gateway,
            &run,
            &[gateway.as_slice(), &shelves].concat(),
            [
                ("admin", socket(&state.join(&FACTS.state.admin_socket), Role::Gateway)),
                ("front", socket_of(&webhook, Role::Gateway.user(), FRONT, 0o660)),
            ],
        );
        apart.ready().await;
        apart
    }

    fn spawn<const N: usize>(
        &mut self,
        role: Role,
        run: &Path,
        arguments: &[PathBuf],
        sockets: [(&str, OwnedFd); N],
    ) {
        let child = self.unit(role.user(), role.program(), run, arguments, sockets);
        self.programs.push((role, child));
    }

    /// Starts openclaw-front with these listening sockets, and does not wait for its certificate.
    pub fn front(&mut self, https: OwnedFd, challenge: OwnedFd) {
        let state = self.setup.state().to_owned();
        let folder = state.join(&FACTS.state.front);
        let _there = fs::create_dir(&folder);
        own(&folder, FRONT, FRONT, 0o700);
        let run = self.setup.home().with_file_name("run");
        let config = state.join(&FACTS.state.config);
        let arguments = ["--config".into(), config, "--state".into(), state];
        let sockets = [("https", https), ("challenge", challenge)];
        self.front = Some(self.unit(FRONT, &FACTS.programs.front, &run, &arguments, sockets));
    }

    /// Where openclaw-front connects to the gateway.
    pub fn webhook(&self) -> PathBuf {
        self.setup.home().with_file_name("run").join("front/webhook.sock")
    }

    fn unit<const N: usize>(
        &self,
        user: u32,
        program: &str,
        run: &Path,
        arguments: &[PathBuf],
        sockets: [(&str, OwnedFd); N],
    ) -> Child {
        let log =
            fs::OpenOptions::new().append(true).create(true).open(self.setup.log_path()).expect("the log");
        let mut start = Start::new("/usr/bin/unshare")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("NOTIFY_SOCKET", run.join(NOTIFY).to_string_lossy())
            .standard(2, log.into())
            .arg("--mount")
            .arg("/bin/sh")
            .arg("-c")
            .arg(UNIT)
            .arg(run)
            .arg(user.to_string())
            .arg(GROUP.to_string())
            .arg(dist().join("bin").join(program));
        start = arguments.iter().fold(start, |start, argument| start.arg(argument));
        start = sockets.into_iter().fold(start, |start, (name, fd)| start.fd(name, fd));
        start.spawn().expect("unshare starts")
    }

    async fn ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = self.operator(&["status", "--json"], "").await;
            if let Ok(status) = serde_json::from_slice::<Status>(&done.stdout)
                && self.setup.complete(&status)
            {
                return;
            }
            assert!(Instant::now() < deadline, "not ready after {PATIENCE:?}:\n{}", self.setup.log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// What it was set up with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Process id of a program.
    pub fn pid(&self, role: Role) -> u32 {
        self.programs.iter().find(|(each, _)| *each == role).expect("all three run").1.id()
    }

    /// An operator's command, as root, with this standard input.
    pub async fn operator(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(dist().join("bin").join(&FACTS.programs.gateway));
        command.args(arguments).arg("--state").arg(self.setup.state()).current_dir("/").env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("openclaw starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that reads nothing may have ended.
        let _unread = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
        let done = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        done.unwrap_or_else(|_| panic!("openclaw {arguments:?} did not end")).expect("waited")
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for child in self.programs.iter_mut().map(|(_, child)| child).chain(&mut self.front) {
            // It may be gone already.
            let _gone = child.signal(Signal::KILL);
            let _gone = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the log ---\n{}\n---", self.setup.log());
        }
    }
}

fn own(path: &Path, user: u32, group: u32, mode: u32) {
    chown(path, Some(user), Some(group)).expect("chown");
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("mode");
}

/// What `~` means in a manifest is the operator's, and open to the runner's group.
fn grant(path: &Path) {
    let group = Role::Runner.user();
    if !path.is_dir() {
        return own(path, 0, group, 0o660);
    }
    own(path, 0, group, 0o2770);
    for entry in fs::read_dir(path).expect("a folder").flatten() {
        grant(&entry.path());
    }
}

/// A door that its owner alone may open.
fn socket(path: &Path, owner: Role) -> OwnedFd {
    socket_of(path, owner.user(), owner.user(), 0o600)
}

fn socket_of(path: &Path, user: u32, group: u32, mode: u32) -> OwnedFd {
    let listener = UnixListener::bind(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    own(path, user, group, mode);
    listener.into()
}
