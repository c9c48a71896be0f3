//! `openclaw admin`: the tokens of the status page. A token is made here and shown once; the gateway is told its digest. And the
//! hand-over of a listening socket, which a unit of systemd starts.

use anyhow::Context;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Subcommand;
use http::Method;
use openclaw_confine::Inherited;
use openclaw_wire::{
    admin::{PageToken, Scope, Status},
    door::Door,
    facts::FACTS,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    fault::Fault,
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};
use crate::page;

/// Bytes of a token.
const LENGTH: usize = 32;

/// What to do about the status page.
#[derive(Subcommand)]
pub enum AdminVerb {
    /// Print a new token to log in with; the one before it is wrong from now on
    Token {
        /// One that is good for /metrics alone, as `Authorization: Bearer`
        #[arg(long)]
        metrics: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the token away: whoever is logged in by it is out at once
    Revoke {
        /// The one for /metrics
        #[arg(long)]
        metrics: bool,
    },
    /// Hand the gateway the listening socket "page", as openclaw-page.service does
    #[command(hide = true)]
    HandOver,
}

/// Carries it out.
pub fn admin(verb: &AdminVerb, place: &Place) -> anyhow::Result<()> {
    match verb {
        AdminVerb::Token { metrics, json } => token(scope(*metrics), *json, place),
        AdminVerb::Revoke { metrics } => revoke(scope(*metrics), place),
        AdminVerb::HandOver => hand_over(),
    }
}

fn scope(metrics: bool) -> Scope {
    if metrics { Scope::Metrics } else { Scope::Operator }
}

fn token(scope: Scope, json: bool, place: &Place) -> anyhow::Result<()> {
    let mut random = Zeroizing::new([0; LENGTH]);
    getrandom::fill(&mut *random).context("get random numbers")?;
    let token = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*random));
    let hex = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let status = tell(&PageToken { scope, sha256: Some(hex) }, place)?;
    if json {
        let all = json!({ "token": *token, "scope": scope, "listens": status.page.listens });
        println!("{}", serde_json::to_string(&all).context("encode the token")?);
        return Ok(());
    }
    println!(
        "{}\n\nIt is shown this once; whoever has it {}.",
        *token,
        match scope {
            Scope::Operator => "can log in to the status page",
            Scope::Metrics => "can read /metrics (Authorization: Bearer TOKEN)",
        }
    );
    match status.page.listens.as_slice() {
        [] => println!("The page listens nowhere yet: openclaw doctor says why."),
        all => println!("The page: {}", clean(&all.join(", "))),
    }
    Ok(())
}

fn revoke(scope: Scope, place: &Place) -> anyhow::Result<()> {
    tell(&PageToken { scope, sha256: None }, place)?;
    println!("There is no such token any more.");
    Ok(())
}

fn tell(token: &PageToken, place: &Place) -> anyhow::Result<Status> {
    block_on(async {
        let gateway = Socket::gateway(place);
        gateway.tell(Method::POST, "/page/token", Some(token)).await?;
        gateway.ask(Method::GET, "/status", None::<&()>).await
    })
}

/// The socket was made by systemd, bound to its interface; the gateway looks at it again.
fn hand_over() -> anyhow::Result<()> {
    let mut inherited = Inherited::take().context("take over the socket")?;
    let socket = inherited.take_fd("page").ok_or_else(|| {
        Fault::new("hand a socket over: none named \"page\" was given", "let openclaw-page.socket start it")
    })?;
    let door = Door::Path(FACTS.unix.page_for_listeners.clone());
    page::over(&door, &socket).map_err(|error| {
        Fault::new(
            format!("hand the gateway a listening socket: {error}"),
            "set listen = \"vpn\" in section [admin] of openclaw.toml; the gateway's log says why it refused one",
        )
    })?;
    Ok(())
}
