//! Trouble that a test orders for coming calls.

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The call is refused with this answer and not carried out.
    Refuse(super::Refusal),
    /// The connection is closed before the call is carried out.
    Cut,
    /// The call is carried out, and its answer is lost.
    AnswerLost,
    /// The call is not carried out and never answered.
    Stall,
    /// A proxy's error page instead of JSON, and the call is not carried out.
    Garbage(u16),
}

/// Trouble for the next calls.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Only this method; `None` for each.
    pub method: Option<&'static str>,
    /// For so many calls.
    pub times: usize,
    /// What happens to them.
    pub trouble: Trouble,
}

/// Takes the first order that fits the method.
pub fn take(orders: &mut Vec<Fault>, method: &str) -> Option<Trouble> {
    let at = orders.iter().position(|order| order.method.is_none_or(|wanted| wanted == method))?;
    let trouble = orders[at].trouble.clone();
    orders[at].times -= 1;
    if orders[at].times == 0 {
        orders.remove(at);
    }
    Some(trouble)
}
