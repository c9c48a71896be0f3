//! Where the third parties' programs and files are: `tests/.peers/`, filled by `tests/peers/install`. They are never
//! part of the repository. Missing ones fail the test and name the command that fetches them.

use std::path::PathBuf;

/// A file or folder of an installed peer. Panics, with what mends it, when it is not there.
pub fn path(relative: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".peers").join(relative);
    assert!(
        path.exists(),
        "the test peer {relative} is not installed. Run: tests/peers/install (it needs python3, pip, node and npm)"
    );
    path
}

/// A file of ours that drives a peer.
pub fn driver(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}
