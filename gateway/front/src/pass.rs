//! Bytes to the gateway and back, unread. Before the first of them stands where they come from (the PROXY protocol, version 2:
//! https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), which the gateway believes this process' user alone.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context;
use proxy_header::{ProxiedAddress, ProxyHeader};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

/// When the gateway has said its last word, the other side has so long to take it and to close. What it still sends is read
/// until then: closing over unread bytes would tear the answer away (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Passes a connection on until either side has ended it. How slow and how large a request may be is the gateway's affair.
pub async fn on(
    stream: impl AsyncRead + AsyncWrite,
    gateway: &Path,
    from: SocketAddr,
    to: SocketAddr,
) -> anyhow::Result<()> {
    let mut near = UnixStream::connect(gateway)
        .await
        .with_context(|| format!("connect to the gateway at {}; does it run?", gateway.display()))
        .inspect_err(|error| tracing::warn!("{error:#}"))?;
    near.write_all(&header(from, to)?).await?;
    let (mut far_read, mut far_write) = tokio::io::split(stream);
    let (mut near_read, mut near_write) = near.split();
    let said = CancellationToken::new();
    let up = async {
        let _sent = tokio::io::copy(&mut far_read, &mut near_write).await;
        let _closed = near_write.shutdown().await;
        let _rest = tokio::io::copy(&mut far_read, &mut tokio::io::sink()).await;
    };
    let down = async {
        let _sent = tokio::io::copy(&mut near_read, &mut far_write).await;
        let _closed = far_write.shutdown().await;
        said.cancel();
    };
    let gone = async {
        said.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(up, down) } => {}
        () = gone => {}
    }
    Ok(())
}

/// What stands before the first byte. A socket for both families has both addresses in one of them.
fn header(from: SocketAddr, to: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    ProxyHeader::with_address(ProxiedAddress::stream(from, to))
        .encode_v2(&mut bytes)
        .map_err(|error| anyhow::anyhow!("say where it comes from: {error:?}"))?;
    Ok(bytes)
}
