//! The firewall lets strangers come to a challenge for a while: openclaw-host, which is root, does that on our word.

use std::{os::unix::net::UnixStream, time::Duration};

use anyhow::{Context, bail};
use openclaw_wire::{
    config::Challenge,
    facts::FACTS,
    frame,
    front::{Open, Opened},
};

/// It starts a process and tells the kernel.
const PATIENCE: Duration = Duration::from_secs(20);

/// Has the port of a challenge opened.
pub async fn open(challenge: Challenge) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || ask(challenge)).await?
}

fn ask(challenge: Challenge) -> anyhow::Result<()> {
    let path = &FACTS.unix.host_for_front;
    let what = || format!("have the firewall opened by way of {}", path.display());
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        // Outside the appliance the firewall is somebody else's.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::info!(
                "nobody opens the firewall here; the challenge is answered if it lets the authority in"
            );
            return Ok(());
        }
        Err(error) => return Err(error).with_context(what),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    frame::write(&stream, &Open { challenge }).with_context(what)?;
    match frame::read(&stream).with_context(what)? {
        Some(Opened::For(seconds)) => {
            tracing::info!(seconds, ?challenge, "the firewall is open for the challenge");
            Ok(())
        }
        Some(Opened::Not(why)) => bail!("the firewall stays closed: {why}"),
        None => bail!("the firewall stays closed: openclaw-host said nothing"),
    }
}
