//! The decoy: a key that opens nothing, for whoever steals files. The operator puts it where thieves look (`openclaw keys
//! decoy FILE`); it is looked for like a real key, and an alarm follows when it turns up (incident 106).

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{private_file, secret::Secret};

/// The file in egress's folder.
const FILE: &str = "decoy";
/// Bytes of randomness, as much as vendors' keys have.
const RANDOM: usize = 36;
/// Longest that is read.
const LONGEST: u64 = 256;

/// The decoy, if the operator ever asked for one.
pub fn read(folder: &Path) -> anyhow::Result<Option<Secret>> {
    let Some(text) = private_file::text(&folder.join(FILE), LONGEST)? else { return Ok(None) };
    anyhow::ensure!(
        text.len() > RANDOM && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "{}: not a decoy\n  mend: remove the file",
        folder.join(FILE).display()
    );
    Ok(Some(Secret::new(&text)?))
}

/// Makes one that looks like a key, and keeps it.
pub fn make(folder: &Path) -> anyhow::Result<Secret> {
    let mut random = Zeroizing::new([0; RANDOM]);
    getrandom::fill(&mut *random).map_err(|error| anyhow::anyhow!("make a decoy: {error}"))?;
    let text = Zeroizing::new(format!("sk-{}", URL_SAFE_NO_PAD.encode(*random)));
    private_file::create(&folder.join(FILE), text.as_bytes())?;
    Ok(Secret::new(&text)?)
}

#[cfg(test)]
mod tests {
    use super::{FILE, make, read};

    #[test]
    fn it_is_made_once_and_private() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(read(dir.path()).expect("absent").is_none());
        let made = make(dir.path()).expect("made");
        assert_eq!(read(dir.path()).expect("reads").expect("there").expose(), made.expose());
        std::fs::write(dir.path().join(FILE), "short").expect("write");
        assert!(read(dir.path()).expect_err("odd").to_string().contains("mend: remove"));
    }
}
