//! Policy: whether a tool call that the model wants may happen. The model is assumed to obey whoever wrote last.
//! Pure: plain arguments in, a decision out; no I/O, no clock, no database (but for the table of open questions, which
//! [`ask`] owns). Nothing else makes a [`Grant`].

pub mod label;
pub mod hygiene;
pub mod decide;
pub mod mark;
pub mod ask;

pub use decide::{Attached, Decision, Denial, Grant, Principal, Proposal, Question, decide};
pub use label::{Confidentiality, Integrity, Label, Origin};
