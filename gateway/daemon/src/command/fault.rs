//! What a command tells the operator when it fails: what was attempted, on what, what mends it; and the exit code.

use std::fmt;

/// The command failed, or found something that is wrong.
pub const FAILED: u8 = 1;
/// Nothing runs on this state folder that could answer.
pub const NOT_RUNNING: u8 = 3;
/// An audit found nothing that is wrong, and could not see everything.
pub const NOT_KNOWN: u8 = 4;

/// A failure that knows its mend.
#[derive(Debug)]
pub struct Fault {
    what: String,
    mend: String,
    /// The exit code of the command.
    pub code: u8,
}

impl Fault {
    /// A failure with exit code [`FAILED`].
    pub fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into(), code: FAILED }
    }

    /// The same with another exit code.
    pub fn code(self, code: u8) -> Self {
        Self { code, ..self }
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.mend.is_empty() {
            true => Ok(()),
            false => write!(f, "\n  mend: {}", self.mend),
        }
    }
}

/// The exit code that belongs to an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Fault>().map_or(FAILED, |fault| fault.code)
}
