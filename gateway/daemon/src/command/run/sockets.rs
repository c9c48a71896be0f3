//! The sockets of a run: what listens, and the doors between the processes. The supervisor keeps every end, so a process
//! that is started again finds the connections that waited for it.

use std::{
    fs, io,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use openclaw_wire::{
    config::{Config, Listen, Page, Updates},
    door,
};

use crate::command::{fault::Fault, place::Place};

/// How long a process that was killed may still hold its sockets while the kernel takes it apart.
const DYING: Duration = Duration::from_secs(2);

/// Every socket, each with the name under which its process is given it.
pub struct Sockets {
    /// For the gateway.
    pub gateway: Vec<(&'static str, OwnedFd)>,
    /// For egress.
    pub egress: Vec<(&'static str, OwnedFd)>,
    /// For the runner.
    pub runner: Vec<(&'static str, OwnedFd)>,
    /// With the status page: the supervisor's own ends, by which the gateway is given listening sockets and asks for drills.
    pub page: Option<(OwnedFd, OwnedFd)>,
}

impl Sockets {
    /// Makes them all.
    pub fn make(config: &Config, place: &Place) -> Result<Self, Fault> {
        let door = || {
            door::pair().map_err(|error| {
                Fault::new(
                    format!("make a socket pair: {error}"),
                    "raise the limit of open files (ulimit -n)",
                )
            })
        };
        let (gateway_egress, egress_gateway) = door()?;
        let (gateway_runner, runner_gateway) = door()?;
        let (runner_egress, egress_runner) = door()?;
        let admin = listen_unix(&place.admin_socket(), 0o600)?;
        let operator = listen_unix(&place.operator_socket(), 0o600)?;
        let mut gateway = vec![("admin", admin), ("egress", gateway_egress), ("runner", gateway_runner)];
        // Without a bot that wants a webhook nothing listens on a port.
        if config.telegram.bot.iter().any(|bot| bot.updates == Updates::Webhook) {
            gateway.push(("webhook", webhook(&config.webhook.listen)?));
        }
        let page = match config.admin.listen {
            Page::Off => None,
            Page::Vpn | Page::Loopback(_) => {
                let ((page, gateway_page), (drill, gateway_drill)) = (door()?, door()?);
                gateway.extend([("page", gateway_page), ("drill", gateway_drill)]);
                Some((page, drill))
            }
        };
        Ok(Self {
            page,
            gateway,
            egress: vec![("gateway", egress_gateway), ("runner", egress_runner), ("operator", operator)],
            runner: vec![("gateway", runner_gateway), ("egress", runner_egress)],
        })
    }
}

fn webhook(listen: &Listen) -> Result<OwnedFd, Fault> {
    match listen {
        Listen::Tcp(address) => TcpListener::bind(address).map(OwnedFd::from).map_err(|error| {
            Fault::new(
                format!("listen on {address} for the webhook: {error}"),
                "stop what uses that port, or choose another one as `listen` in section [webhook]",
            )
        }),
        // The tunnel may run as another user of the same group.
        Listen::Unix(path) => listen_unix(path, 0o660),
    }
}

/// Binds a path. A socket file that nobody answers is left over from a run that was killed, and is replaced; anything
/// else that stands there is not ours to remove.
fn listen_unix(path: &Path, mode: u32) -> Result<OwnedFd, Fault> {
    let wrong =
        |error: io::Error, mend: &str| Fault::new(format!("listen on {}: {error}", path.display()), mend);
    let gone = Instant::now() + DYING;
    while UnixStream::connect(path).is_ok() && Instant::now() < gone {
        sleep(Duration::from_millis(50));
    }
    match fs::symlink_metadata(path) {
        Ok(facts) if !facts.file_type().is_socket() => {
            return Err(wrong(io::ErrorKind::AlreadyExists.into(), "move away what stands there"));
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
                .map_err(|error| wrong(error, "remove that left-over socket file yourself"))?,
            _ => {
                return Err(Fault::new(
                    format!("listen on {}: another process answers there", path.display()),
                    "stop that process",
                ));
            }
        },
        Err(_) => {}
    }
    // sockaddr_un has room for 108 bytes, the last one zero (unix(7)).
    let mend = match path.as_os_str().len() > 107 {
        true => "choose a shorter --state: a socket's path can have at most 107 bytes",
        false => "make its folder, and let this user write to it",
    };
    // INVARIANT: the supervisor's umask is 077, so nobody else can connect before the mode is set.
    let listener = UnixListener::bind(path).map_err(|error| wrong(error, mend))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| wrong(error, mend))?;
    Ok(listener.into())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::MetadataExt, net::UnixStream},
        path::Path,
    };

    use openclaw_wire::config::Config;

    use super::{Sockets, listen_unix};
    use crate::command::place::Place;

    #[test]
    fn a_left_over_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("s");
        let first = listen_unix(&path, 0o600).expect("first");
        assert_eq!(fs::metadata(&path).expect("socket").mode() & 0o777, 0o600);
        let error = listen_unix(&path, 0o600).expect_err("living").to_string();
        assert!(error.contains("another process answers"), "{error}");
        drop(first);
        let _second = listen_unix(&path, 0o600).expect("left over");
        UnixStream::connect(&path).expect("connects to the new one");
    }

    #[test]
    fn what_is_no_socket_is_kept() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("s");
        fs::write(&path, "mine").expect("write");
        listen_unix(&path, 0o600).expect_err("refused");
        assert_eq!(fs::read_to_string(&path).expect("kept"), "mine");
    }

    #[test]
    fn a_path_that_is_too_long_says_so() {
        let dir = tempfile::tempdir().expect("dir");
        let error = listen_unix(&dir.path().join("x".repeat(120)), 0o600).expect_err("long").to_string();
        assert!(error.contains("at most 107 bytes"), "{error}");
    }

    #[test]
    fn no_port_is_opened_unless_a_bot_wants_a_webhook() {
        let names = |config: &str| {
            let dir = tempfile::tempdir().expect("dir");
            fs::create_dir(dir.path().join("gateway")).expect("folder");
            fs::create_dir(dir.path().join("egress")).expect("folder");
            let place = Place::new(Some(dir.path()), None).expect("place");
            let config = Config::parse(config, Path::new("t")).expect("config");
            let sockets = Sockets::make(&config, &place).expect("sockets");
            sockets.gateway.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let webhook = "[webhook]\nlisten = \"127.0.0.1:0\"\n[[telegram.bot]]\nname = \"a\"\nupdates = ";
        assert_eq!(names(""), ["admin", "egress", "runner"]);
        assert_eq!(names(&format!("{webhook}\"poll\"")), ["admin", "egress", "runner"]);
        assert_eq!(names(&format!("{webhook}\"webhook\"")), ["admin", "egress", "runner", "webhook"]);
    }
}
