//! Where the state folder and the configuration are, by default and by `--state` and `--config`.

use std::{
    env,
    path::{Path, PathBuf},
};

use openclaw_wire::{config::Config, facts::FACTS};

use super::fault::Fault;

/// The state folder of an appliance that root starts.
const SYSTEM: &str = "/var/lib/openclaw";

/// The two paths that every command needs. Both are absolute.
#[derive(Debug, Clone)]
pub struct Place {
    /// The state folder.
    pub state: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
}

impl Place {
    /// From the options of the command line.
    pub fn new(state: Option<&Path>, config: Option<&Path>) -> Result<Self, Fault> {
        let state = match state {
            Some(path) => absolute(path)?,
            None => default_state(
                rustix::process::geteuid().is_root(),
                env::var_os("XDG_STATE_HOME").map(PathBuf::from),
                env::var_os("HOME").map(PathBuf::from),
            )?,
        };
        let config = match config {
            Some(path) => absolute(path)?,
            None => state.join(&FACTS.state.config),
        };
        Ok(Self { state, config })
    }

    /// The gateway's socket for operator commands.
    pub fn admin_socket(&self) -> PathBuf {
        self.state.join(&FACTS.state.admin_socket)
    }

    /// The socket of egress for operator commands.
    pub fn operator_socket(&self) -> PathBuf {
        self.state.join(&FACTS.state.operator_socket)
    }

    /// The key file: as the configuration names it, if it can be read, else the one in the state folder.
    pub fn keys(&self) -> PathBuf {
        let configured = Config::read(&self.config).ok().and_then(|config| config.keys.file);
        configured.unwrap_or_else(|| self.state.join(&FACTS.state.keys))
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    std::path::absolute(path).map_err(|error| {
        Fault::new(format!("make the path {} absolute: {error}", path.display()), "give an absolute path")
    })
}

/// The XDG base directory specification says that a relative `XDG_STATE_HOME` is to be ignored.
fn default_state(root: bool, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, Fault> {
    if root {
        return Ok(SYSTEM.into());
    }
    let absolute = |path: &PathBuf| path.is_absolute();
    let base = xdg.filter(absolute).or_else(|| home.filter(absolute).map(|home| home.join(".local/state")));
    base.map(|base| base.join("openclaw")).ok_or_else(|| {
        Fault::new("find the state folder: neither XDG_STATE_HOME nor HOME is set", "add --state DIR")
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    #[test]
    fn the_default_state_folder() {
        for (root, xdg, home, expected) in [
            (true, Some("/x"), Some("/root"), Some("/var/lib/openclaw")),
            (false, Some("/x"), Some("/home/a"), Some("/x/openclaw")),
            (false, Some("x"), Some("/home/a"), Some("/home/a/.local/state/openclaw")),
            (false, None, Some("/home/a"), Some("/home/a/.local/state/openclaw")),
            (false, None, Some(""), None),
            (false, None, None, None),
        ] {
            let found = super::default_state(root, xdg.map(PathBuf::from), home.map(PathBuf::from)).ok();
            assert_eq!(found, expected.map(PathBuf::from), "{root} {xdg:?} {home:?}");
        }
    }
}
