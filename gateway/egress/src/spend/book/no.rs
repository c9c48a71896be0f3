//! Why a call may not be paid, in words.

use openclaw_wire::{
    egress::{Refusal, RefusalKind},
    money::Usd,
    spend::{CapState, Span},
};

use crate::refuse::refusal;

/// The cap leaves less than the call may cost.
pub fn room(state: &CapState, most: Usd) -> Refusal {
    let span = match state.cap.span {
        Span::Day => "day",
        Span::Month => "month",
    };
    let message = format!(
        "the {span}'s spending limit for {} is {}: {} is spent and {} reserved, and this call may cost {}",
        state.cap.whose,
        state.limit.shown(),
        state.spent.shown(),
        state.reserved.shown(),
        most.shown()
    );
    let mend = format!("wait for the next {span}, or raise the limit: [spend] and [[cap]] in openclaw.toml");
    refusal(RefusalKind::CapReached, message, mend)
}

/// The disk takes nothing.
pub fn ledger(why: &str) -> Box<Refusal> {
    let message = format!("write down what a call may cost, before it is sent: {why}");
    Box::new(refusal(
        RefusalKind::NoLedger,
        message,
        "free space on the disk of the state folder; `openclaw doctor` looks at it",
    ))
}
