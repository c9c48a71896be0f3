//! `openclaw-host`: the one act that needs root while the appliance runs. On the word of openclaw-front it lets everybody come
//! to the port of an ACME challenge, by an element of the firewall's set that expires by itself. Which port, and for how long,
//! is in the facts; there is nothing else that can be said to it.
//!
//! Its socket unit starts one for each connection; it answers and ends.

use std::{
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use openclaw_confine::{Inherited, peer};
use openclaw_wire::{
    facts::FACTS,
    frame,
    front::{Open, Opened},
};

/// Whoever connects asks at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// What systemd calls the connection of `Accept=yes` (sd_listen_fds_with_names(3)).
const CONNECTION: &str = "connection";

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openclaw-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> anyhow::Result<()> {
    let mut inherited = Inherited::take().context("take over the connection")?;
    let Arguments { nft, seconds } = arguments()?;
    let Some(stream) = inherited.take_fd(CONNECTION).map(UnixStream::from) else {
        bail!("no connection was handed over\n  mend: leave it to openclaw-host.socket to start it");
    };
    // The socket's owner, and nobody besides, root included.
    let address = stream.local_addr().context("ask where it came in")?;
    let path = address.as_pathname().context("the connection came in by no path")?;
    let owner = std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.uid();
    let peer = peer::credentials(&stream).context("ask who connected")?;
    if peer.uid != owner {
        bail!("refused user {}: only user {owner}, whose {} is, may ask", peer.uid, path.display());
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let Some(Open { challenge }) = frame::read(&stream).context("read what is asked")? else {
        bail!("it was asked nothing");
    };
    let port = challenge.port();
    let answer = match open(&nft, port, seconds) {
        Ok(()) => Opened::For(seconds),
        Err(error) => Opened::Not(format!("{error:#}")),
    };
    eprintln!("openclaw-host: port {port}: {answer:?}");
    frame::write(&stream, &answer).context("answer")
}

/// One transaction. An element that is there would keep its old time, so it goes first, and so that it can go it comes.
fn open(nft: &Path, port: u16, seconds: u64) -> anyhow::Result<()> {
    let set = "inet openclaw challenge";
    let rules = format!(
        "add element {set} {{ {port} timeout 1s }}\ndelete element {set} {{ {port} }}\n\
         add element {set} {{ {port} timeout {seconds}s }}\n"
    );
    let mut child = Command::new(nft)
        .args(["--file", "-"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", nft.display()))?;
    std::io::Write::write_all(&mut child.stdin.take().context("its input")?, rules.as_bytes())?;
    let done = child.wait_with_output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!(
            "nft: {}; does openclaw-firewall.service run?",
            said.lines().next().unwrap_or("it does not say why")
        );
    }
    Ok(())
}

struct Arguments {
    nft: PathBuf,
    seconds: u64,
}

/// `--nft FILE [--seconds N]`, from its unit; the second is for tests.
fn arguments() -> anyhow::Result<Arguments> {
    const USAGE: &str = "usage: openclaw-host --nft FILE (its systemd unit starts it)";
    let given: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| given.chunks(2).find(|pair| pair[0] == name).and_then(|pair| pair.get(1));
    Ok(Arguments {
        nft: value("--nft").context(USAGE)?.into(),
        seconds: value("--seconds").map_or(Ok(FACTS.direct.open), |text| text.parse())?,
    })
}
