//! A call's way out: redeemed at egress, once, with the id that the gateway registered there. The runner passes it on into
//! the jail and never uses it; which hosts it leads to is egress's own knowledge.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use openclaw_wire::{
    door::Door,
    egress::{Redeem, Redeemed},
    facts::FACTS,
    frame, pass,
};

/// Egress answers at once; one that does not is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// The door to egress.
#[derive(Debug)]
pub struct Egress(Door);

impl Egress {
    /// The end of a pair that was handed over, or the socket's path under systemd. `None` when there is neither.
    pub fn new(handed: Option<OwnedFd>) -> Option<Self> {
        let path = &FACTS.unix.egress_for_runner;
        match handed {
            Some(fd) => Some(Self(Door::Pair(fd))),
            None => path.exists().then(|| Self(Door::Path(path.clone()))),
        }
    }
}

/// The jail's end of its way out, and the certificate authority that answers there, as PEM. An error is for people.
pub fn redeem(egress: Option<&Egress>, call: &str) -> Result<(OwnedFd, String), String> {
    let egress = egress.ok_or("the manifest names hosts, and the runner was given no door to egress")?;
    let ask = || {
        let stream = egress.0.open()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        frame::write(&stream, &Redeem { call: call.to_owned() })?;
        match frame::read(&stream)? {
            Some(Redeemed::Open { authority }) => Ok(Ok((pass::receive(stream.as_fd())?, authority))),
            Some(Redeemed::Refused(refusal)) => Ok(Err(format!("{}; {}", refusal.message, refusal.mend))),
            None => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    };
    ask().map_err(|error: std::io::Error| format!("ask egress for the call's way out: {error}"))?
}
