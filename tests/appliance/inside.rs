//! A booted appliance, in a container or in a virtual machine, where commands are run.

/// Somewhere to run commands in.
pub trait Inside {
    /// Runs a shell command; gives what it said, as an error where it failed.
    fn tries(&self, script: &str) -> Result<String, String>;

    /// As `tries`, for one that must succeed.
    fn run(&self, script: &str) -> String {
        self.tries(script).unwrap_or_else(|said| panic!("{script}: {said}"))
    }
}
