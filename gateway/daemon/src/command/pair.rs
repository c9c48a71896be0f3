//! `openclaw pair`: a one-time code that makes whoever sends it to the bot the owner. Only who can open the admin
//! socket gets one.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use http::Method;
use openclaw_wire::admin::PairCode;

use super::{
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};

/// Asks the gateway for a code and prints it.
pub fn pair(place: &Place, json: bool) -> anyhow::Result<()> {
    let code: PairCode =
        block_on(async { Socket::gateway(place).ask(Method::POST, "/pair", None::<&()>).await })?;
    if json {
        println!("{}", serde_json::to_string(&code).context("encode the code")?);
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?.as_secs();
    println!("{}", clean(&explain(&code, now)));
    Ok(())
}

fn explain(code: &PairCode, now: u64) -> String {
    let to = match code.bots.as_slice() {
        [] => "your bot".to_owned(),
        bots => bots.iter().map(|bot| format!("@{bot}")).collect::<Vec<_>>().join(" or "),
    };
    let minutes = code.expires.saturating_sub(now).div_ceil(60);
    format!(
        "Send /start {} to {to} in a private chat, within {minutes} minutes. It works once.\n\
         Whoever sends it becomes the owner: show it to nobody.",
        code.code
    )
}

#[cfg(test)]
mod tests {
    use openclaw_wire::admin::PairCode;

    #[test]
    fn the_explanation_says_what_to_send_to_whom_until_when() {
        let mut code = PairCode { code: "ABCD-1234".into(), expires: 1_000 + 590, bots: vec![] };
        let text = super::explain(&code, 1_000);
        assert!(text.contains("/start ABCD-1234 to your bot") && text.contains("10 minutes"), "{text}");
        code.bots = vec!["a_bot".into(), "b_bot".into()];
        assert!(
            super::explain(&code, 9_999).contains("@a_bot or @b_bot in a private chat, within 0 minutes")
        );
    }
}
