//! Tells systemd that we are ready, how we are, and that we are alive (`sd_notify(3)`). The socket is connected
//! before the process gives up the right to open one.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

/// The way to systemd, if we run under it.
#[derive(Debug)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Connects to `NOTIFY_SOCKET`, if there is one.
    pub fn connect() -> io::Result<Self> {
        let socket = match env::var("NOTIFY_SOCKET") {
            Ok(path) => {
                let address = match path.strip_prefix('@') {
                    Some(name) => SocketAddr::from_abstract_name(name)?,
                    None => SocketAddr::from_pathname(path)?,
                };
                let socket = UnixDatagram::unbound()?;
                socket.connect_addr(&address)?;
                socket.set_nonblocking(true)?;
                Some(socket)
            }
            Err(_) => None,
        };
        let ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse() == Ok(std::process::id()));
        let watchdog = env::var("WATCHDOG_USEC").ok().filter(|_| ours).and_then(|text| text.parse().ok());
        Ok(Self { socket, watchdog: watchdog.map(Duration::from_micros) })
    }

    /// Sends a message. One that gets lost is mended by the watchdog.
    pub fn say(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::debug!("notify systemd: {error}");
        }
    }

    /// Says that we are alive, at half the asked interval, as long as the runtime turns.
    pub async fn stay_alive(&self) {
        let Some(interval) = self.watchdog.filter(|_| self.socket.is_some()) else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(interval / 2);
        loop {
            ticks.tick().await;
            self.say("WATCHDOG=1");
        }
    }
}
