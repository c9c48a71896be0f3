//! Port 443: who may come, TLS with them, and then [`crate::pass`]. Telegram's addresses are known before a byte is read;
//! everybody else gets as far as the answer to a challenge, while there is one.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use openclaw_wire::facts::FACTS;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{Acceptor, ResolvesServerCert},
    version::{TLS12, TLS13},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    certificate::Shown,
    challenge::{Challenges, PROTOCOL},
    pass,
};

/// Connections from Telegram's ranges; it opens at most 100 for a bot.
const CONNECTIONS: usize = 512;
/// Connections of anybody else, while a challenge is answered: they take nobody else's place.
const STRANGERS: usize = 32;
/// TLS comes about in this time, or not at all.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after the system could not give a connection (descriptors or memory are short).
pub const PAUSE: Duration = Duration::from_millis(100);

/// What stands on port 443.
pub struct Front {
    tls: Arc<ServerConfig>,
    challenges: Arc<Challenges>,
    gateway: PathBuf,
}

/// TLS 1.2 and 1.3 with the cipher suites and key exchanges that rustls calls safe, for one protocol inside.
pub fn config(shown: Arc<dyn ResolvesServerCert>, protocol: &[u8]) -> anyhow::Result<ServerConfig> {
    let mut tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    tls.alpn_protocols = vec![protocol.to_vec()];
    Ok(tls)
}

impl Front {
    /// In front of the gateway's socket.
    pub fn new(shown: Arc<Shown>, challenges: Arc<Challenges>, gateway: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { tls: Arc::new(config(shown, b"http/1.1")?), challenges, gateway })
    }

    /// Serves until `stop`; each connection is a task of `tasks`.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker, stop: CancellationToken) {
        let (telegram, strangers) =
            (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(STRANGERS)));
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("accept a connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let known = is_telegram(address);
            if !known && !self.challenges.are_by_tls() {
                continue;
            }
            let room = if known { &telegram } else { &strangers };
            let Ok(place) = room.clone().try_acquire_owned() else {
                tracing::warn!(known, "refused a connection: too many are open");
                continue;
            };
            let front = self.clone();
            tasks.spawn(async move {
                if let Err(error) = front.connection(stream, address, known).await {
                    tracing::debug!("a connection ended early: {error:#}");
                }
                drop(place);
            });
        }
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr, known: bool) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let own = stream.local_addr()?;
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let start = tokio::time::timeout(HANDSHAKE, hello).await??;
        let hello = start.client_hello();
        let asks = hello.alpn().is_some_and(|mut offered| offered.any(|protocol| protocol == PROTOCOL));
        if asks {
            // Nothing is said inside: that TLS came about with this certificate is the answer.
            let Some(tls) = self.challenges.by_tls(hello.server_name()) else { return Ok(()) };
            let mut stream = tokio::time::timeout(HANDSHAKE, start.into_stream(tls)).await??;
            return Ok(tokio::time::timeout(HANDSHAKE, stream.shutdown()).await??);
        }
        if !known {
            return Ok(());
        }
        let stream = tokio::time::timeout(HANDSHAKE, start.into_stream(self.tls.clone())).await??;
        pass::on(stream, &self.gateway, canonical(address), canonical(own)).await
    }
}

/// Whether a connection comes from Telegram's published ranges. The firewall asks first, and the gateway once more.
fn is_telegram(address: SocketAddr) -> bool {
    let address = canonical(address).ip();
    FACTS.telegram.ranges.iter().any(|range| range.contains(&address))
}

/// A socket for both families shows IPv4 in IPv6's clothes.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::is_telegram;

    #[test]
    fn telegram_is_known_in_either_form() {
        for (address, known) in [
            ("149.154.167.50:1", true),
            ("[::ffff:149.154.167.50]:1", true),
            ("91.108.8.0:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("[2001:db8::1]:1", false),
        ] {
            assert_eq!(is_telegram(address.parse().expect("an address")), known, "{address}");
        }
    }
}
