//! A third party's server on loopback, for as long as a test lasts.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use openclaw_tests::peers;

/// How long its start may take, in tenths of a second.
const PATIENCE: usize = 1200;

/// Ends with the test.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// A program of the peers' Python, which will listen on this port; what it writes goes into `folder`.
    pub fn start(
        program: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
        port: u16,
        folder: &Path,
    ) -> Self {
        let log = folder.join("log");
        let file = File::create(&log).expect("a log");
        let child = Command::new(peers::path("venv/bin").join(program))
            .args(arguments)
            .envs(environment.iter().copied())
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("python starts");
        let mut server = Self { child, log };
        for _ in 0..PATIENCE {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            assert!(server.child.try_wait().expect("a child").is_none(), "it ended: {}", server.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not listen: {}", server.log());
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
