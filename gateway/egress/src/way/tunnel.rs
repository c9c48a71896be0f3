//! A tunnel, for software that pins certificates: the name in its TLS hello must be the host of the manifest; after that
//! bytes pass unread, but counted.

use std::io;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{call::Call, denial::Why, place::Place};

/// A hello is one or two records.
const HELLO: usize = 32 << 10;
/// One read.
const BUFFER: usize = 16 << 10;

/// Reads until the TLS hello is whole; returns what was read, for the far end. An error is a denial.
pub async fn hello(near: &mut (impl AsyncRead + Unpin), place: &Place) -> Result<Vec<u8>, Why> {
    let refused = |said: &str| Why::ServerName(place.clone(), said.to_owned());
    let (mut acceptor, mut read) = (Acceptor::default(), Vec::new());
    loop {
        let mut buffer = vec![0; 4096];
        let length = near.read(&mut buffer).await.unwrap_or(0);
        if length == 0 || read.len() + length > HELLO {
            return Err(refused("nothing"));
        }
        read.extend_from_slice(&buffer[..length]);
        let mut fresh = &buffer[..length];
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh).map_err(|_| refused("no TLS"))?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    return match name {
                        Some(name) if name == place.host => Ok(read),
                        Some(name) => Err(refused(&name)),
                        None => Err(refused("no host")),
                    };
                }
                Err(_) => return Err(refused("no TLS")),
            }
        }
    }
}

/// Carries both directions until both have ended, one fails, or the call's budget does.
pub async fn carry(
    near: impl AsyncRead + AsyncWrite,
    far: impl AsyncRead + AsyncWrite,
    call: &Call,
) -> io::Result<()> {
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let out = one(near_read, far_write, |length| call.sends(length));
    let back = one(far_read, near_write, |length| call.receives(length));
    let done = tokio::try_join!(out, back);
    match done {
        Ok(_) => Ok(()),
        Err(Ended::Budget(why)) => {
            call.denied(&why);
            Ok(())
        }
        Err(Ended::Io(error)) => Err(error),
    }
}

enum Ended {
    Io(io::Error),
    Budget(Why),
}

async fn one(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: impl Fn(usize) -> Result<(), Why>,
) -> Result<(), Ended> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await.map_err(Ended::Io)?;
        if length == 0 {
            return to.shutdown().await.map_err(Ended::Io);
        }
        count(length).map_err(Ended::Budget)?;
        to.write_all(&buffer[..length]).await.map_err(Ended::Io)?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};

    use super::{Place, Why, hello};

    fn client(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(crate::way::out::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("name");
        let mut wire = Vec::new();
        let mut client = ClientConnection::new(Arc::new(config), name).expect("client");
        client.write_tls(&mut wire).expect("memory");
        wire
    }

    #[tokio::test]
    async fn the_name_in_the_hello_must_be_the_host() {
        let place = Place { host: "pinned.example.com".into(), port: 443 };
        let good = client("pinned.example.com");
        assert_eq!(hello(&mut good.as_slice(), &place).await.expect("its own"), good);
        for (bytes, said) in [
            (client("other.example.com"), "other.example.com"),
            (client("127.0.0.1"), "no host"),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no TLS"),
            (good[..20].to_vec(), "nothing"),
        ] {
            let why = hello(&mut bytes.as_slice(), &place).await.expect_err(said);
            assert_eq!(why, Why::ServerName(place.clone(), said.to_owned()));
        }
    }
}
