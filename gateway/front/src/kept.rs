//! What outlives the process, in a folder of its own that nobody else may enter: the certificate with its key, the key of the
//! account at whoever signs, and how it stands, for `openclaw doctor`. Each file is replaced as a whole or not at all.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use openclaw_wire::{
    front::{STANDING, Standing},
    whole,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::certificate::Certificate;

const CERTIFICATE: &str = "certificate.pem";
const ACCOUNT: &str = "account.json";

/// The folder.
#[derive(Debug)]
pub struct Kept(PathBuf);

impl Kept {
    /// Makes it if it is not there, and checks that it is private.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("make the folder {}", folder.display()));
            }
            _ => {}
        }
        let meta = fs::symlink_metadata(folder).with_context(|| format!("look at {}", folder.display()))?;
        let me = rustix::process::geteuid().as_raw();
        if !meta.is_dir() || meta.uid() != me || meta.mode() & 0o077 != 0 {
            bail!(
                "{} is not a folder of user {me} alone (owner {}, mode {:04o}), and keys are in it\n  mend: chown -R {me} {1} && chmod 700 {1}",
                folder.display(),
                meta.uid(),
                meta.mode() & 0o7777,
            );
        }
        Ok(Self(folder.to_owned()))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Where the standing is.
    pub fn standing(&self) -> PathBuf {
        self.0.join(STANDING)
    }

    /// The certificate of before. One that can't be used is as good as none: there will be another.
    pub fn certificate(&self) -> anyhow::Result<Option<Certificate>> {
        let Some(pem) = self.read(CERTIFICATE)? else { return Ok(None) };
        match Certificate::parse(&pem) {
            Ok(certificate) => Ok(Some(certificate)),
            Err(error) => {
                tracing::warn!(
                    "{} can't be used and is replaced: {error:#}",
                    self.0.join(CERTIFICATE).display()
                );
                Ok(None)
            }
        }
    }

    /// Keeps a certificate with its key.
    pub fn keep_certificate(&self, pem: &str) -> anyhow::Result<()> {
        self.write(CERTIFICATE, pem.as_bytes())
    }

    /// The account of before, unless it can't be read.
    pub fn account<T: DeserializeOwned>(&self) -> anyhow::Result<Option<T>> {
        let Some(text) = self.read(ACCOUNT)? else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(account) => Ok(Some(account)),
            Err(_) => {
                tracing::warn!("{} can't be read; another account is made", self.0.join(ACCOUNT).display());
                Ok(None)
            }
        }
    }

    /// Keeps an account.
    pub fn keep_account(&self, account: &impl Serialize) -> anyhow::Result<()> {
        self.write(ACCOUNT, &serde_json::to_vec(account)?)
    }

    /// Says how it stands. Nobody depends on it.
    pub fn say(&self, standing: &Standing) {
        let text = serde_json::to_vec_pretty(standing).unwrap_or_default();
        if let Err(error) = self.write(STANDING, &text) {
            tracing::warn!("{error:#}");
        }
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let path = self.0.join(name);
        whole::replace(&path, content, 0o600, None)
            .with_context(|| format!("write {}: check the free space and the folder's owner", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    use super::Kept;

    #[test]
    fn the_folder_and_its_files_are_private() {
        let dir = tempfile::tempdir().expect("dir");
        let folder = dir.path().join("front");
        let kept = Kept::open(&folder).expect("made");
        kept.keep_account(&serde_json::json!({ "a": 1 })).expect("kept");
        kept.keep_account(&serde_json::json!({ "a": 2 })).expect("kept again");
        assert_eq!(kept.account::<serde_json::Value>().expect("read").expect("there")["a"], 2);
        let mode = |path: &std::path::Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("account.json"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&folder).expect("listed").count(), 1, "nothing half done is left");

        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).expect("mode");
        let error = Kept::open(&folder).expect_err("a group may enter").to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn what_can_not_be_used_is_as_good_as_none() {
        let dir = tempfile::tempdir().expect("dir");
        let kept = Kept::open(&dir.path().join("front")).expect("made");
        assert!(kept.certificate().expect("read").is_none());
        kept.keep_certificate("no certificate").expect("kept");
        assert!(kept.certificate().expect("read").is_none());
        fs::write(kept.folder().join("account.json"), "{").expect("write");
        assert!(kept.account::<serde_json::Value>().expect("read").is_none());
    }
}
