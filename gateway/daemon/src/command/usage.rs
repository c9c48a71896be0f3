//! `openclaw usage`: what was spent and what may be, as egress's ledger has it. Reads only.

use anyhow::Context;
use http::Method;
use openclaw_wire::spend::Report;

use super::{
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};
use crate::spend::words;

/// Asks egress and prints what it says.
pub fn usage(place: &Place, json: bool) -> anyhow::Result<()> {
    let report: Report =
        block_on(async { Socket::egress(place).ask(Method::GET, "/spend", None::<&()>).await })?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&report).context("encode the report")?),
        false => println!("{}", clean(&words::of_all(&report))),
    }
    Ok(())
}
