//! What openclaw-front says before the first byte of a connection: where it comes from, by the PROXY protocol, version 2
//! (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). Read from that process' user alone.

use std::{io, net::IpAddr};

use http::HeaderValue;
use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// "Come by TLS alone, for a year" (RFC 6797).
pub const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The fixed part of the header, and where in it the length of the rest is.
const FIXED: usize = 16;
const LENGTH: std::ops::Range<usize> = 14..16;
/// Longest rest that is read: two addresses of IPv6 are 36 bytes, and openclaw-front says nothing besides.
const REST: usize = 216;

/// Reads the header and not a byte more; gives the sender's address.
pub async fn sender(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<IpAddr> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut bytes = vec![0; FIXED];
    stream.read_exact(&mut bytes).await?;
    let rest = usize::from(u16::from_be_bytes([bytes[LENGTH.start], bytes[LENGTH.start + 1]]));
    if rest > REST {
        return Err(wrong("it says too much"));
    }
    bytes.resize(FIXED + rest, 0);
    stream.read_exact(&mut bytes[FIXED..]).await?;
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let (header, length) =
        ProxyHeader::parse(&bytes, config).map_err(|_| wrong("it does not speak the PROXY protocol"))?;
    match header.proxied_address() {
        Some(address) if length == bytes.len() => Ok(address.source.ip()),
        _ => Err(wrong("it names no sender")),
    }
}

#[cfg(test)]
mod tests {
    use proxy_header::{ProxiedAddress, ProxyHeader};

    use super::sender;

    #[tokio::test]
    async fn the_header_is_read_and_nothing_after_it() {
        let said = |from: &str, to: &str| {
            let (from, to) = (from.parse().expect("an address"), to.parse().expect("an address"));
            let mut bytes = Vec::new();
            let address = ProxiedAddress::stream(from, to);
            ProxyHeader::with_address(address).encode_v2(&mut bytes).expect("encodes");
            bytes
        };
        for (from, to) in
            [("149.154.167.50:4321", "192.0.2.1:443"), ("[2001:db8::1]:4321", "[2001:db8::2]:443")]
        {
            let bytes = [said(from, to).as_slice(), b"POST"].concat();
            let mut stream = bytes.as_slice();
            let address = sender(&mut stream).await.expect("said");
            assert_eq!(address, from.parse::<std::net::SocketAddr>().expect("an address").ip());
            assert_eq!(stream, b"POST");
        }
        let good = said("149.154.167.50:4321", "192.0.2.1:443");
        let mut local = Vec::new();
        ProxyHeader::with_local().encode_v2(&mut local).expect("encodes");
        let mut long = good.clone();
        long[14] = 0xff;
        long.resize(70_000, 0);
        for wrong in [
            b"PROXY TCP4 149.154.167.50 192.0.2.1 4321 443\r\n".to_vec(),
            b"POST /telegram/main HTTP/1.1\r\n\r\n".to_vec(),
            good[..good.len() - 1].to_vec(),
            local,
            long,
            Vec::new(),
        ] {
            sender(&mut wrong.as_slice()).await.expect_err("nobody is named");
        }
    }
}
