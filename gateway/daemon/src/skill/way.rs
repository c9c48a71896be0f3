//! A call's way out, from the gateway's side: registered at egress before the call runs, closed after it, whatever came of
//! it. Never says which hosts: it only hands over the URLs among the arguments that a manifest asks about.

use std::collections::BTreeMap;

use openclaw_wire::{
    egress::{Denial, OpenCall},
    runner::Call,
    skill::{HostGrant, Reach},
};

use crate::egress::Egress;

/// A registered call; none for one without hosts.
pub struct Way(Option<Registered>);

/// Closed when dropped, so that a turn which is given up leaves no way out behind.
struct Registered {
    egress: Egress,
    call: String,
    closed: bool,
}

/// Registers a call whose manifest names hosts, on the account of this chat. An error is for the model.
pub async fn open(egress: &Egress, call: &Call, chat: &str, hosts: &[HostGrant]) -> Result<Way, String> {
    if hosts.is_empty() {
        return Ok(Way(None));
    }
    let named = hosts.iter().filter_map(|grant| match &grant.reach {
        Reach::Argument(name) => Some((name.clone(), call.arguments.get(name)?.as_str()?.to_owned())),
        Reach::Host(_) => None,
    });
    let wish = OpenCall {
        call: call.id.clone(),
        skill: call.skill.clone(),
        digest: call.digest.clone(),
        chat: chat.to_owned(),
        urls: named.collect::<BTreeMap<_, _>>(),
    };
    match egress.open_call(&wish).await {
        Ok(()) => Ok(Way(Some(Registered { egress: egress.clone(), call: wish.call, closed: false }))),
        Err(error) => Err(format!("{} has no way out and was not run: {error}", call.tool)),
    }
}

impl Way {
    /// Ends it, and tells what was denied.
    pub async fn close(mut self) -> Vec<Denial> {
        let Some(registered) = &mut self.0 else { return Vec::new() };
        registered.closed = true;
        match registered.egress.close_call(registered.call.clone()).await {
            Ok(closed) => closed.denials,
            Err(error) => {
                tracing::warn!(%error, "could not close a call's way out; it ends with its jail");
                Vec::new()
            }
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let (egress, call) = (self.egress.clone(), std::mem::take(&mut self.call));
        tokio::spawn(async move {
            if let Err(error) = egress.close_call(call).await {
                tracing::warn!(%error, "could not close a call's way out; it ends with its jail");
            }
        });
    }
}
