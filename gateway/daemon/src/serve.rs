//! Placeholder.

use crate::command::Serve;

/// Runs the gateway until it is told to stop.
pub fn run(args: Serve) -> anyhow::Result<()> {
    anyhow::bail!("serve {}: not in this build", args.state.display())
}
