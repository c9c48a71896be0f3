//! What `--fix` does: a fixed list of acts, none of which opens anything. Each looks again before it acts, goes by descriptor so
//! that no link leads it elsewhere, and says what it did.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt, fchown},
    },
    path::{Path, PathBuf},
};

use anyhow::Context;
use openclaw_wire::config::Config;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::{
    attest::replace,
    edit,
    run::{NoAnswer, ask},
};
use crate::audit::verdict::{Edit, Fix};

/// Carries one out; what was done.
pub fn carry_out(fix: &Fix) -> anyhow::Result<String> {
    match fix {
        Fix::Narrow { path, without } => {
            narrow(path, *without).with_context(|| format!("narrow {}", path.display()))
        }
        Fix::Owner { path, uid } => {
            owner(path, *uid).with_context(|| format!("give {} back", path.display()))
        }
        Fix::Ignore { rules, rule } => {
            ignore(rules, rule).with_context(|| format!("write {}", rules.display()))
        }
        Fix::Setting { file, edit } => {
            setting(file, edit).with_context(|| format!("change {}", file.display()))
        }
        Fix::Start { unit } => match ask("systemctl", &["restart", unit]) {
            Ok(_) => Ok(format!("systemctl restart {unit}")),
            Err(NoAnswer::Missing) => anyhow::bail!("there is no systemctl"),
            Err(NoAnswer::Failed(why)) => anyhow::bail!(why),
        },
    }
}

/// Without following a link, and without a right to read.
fn open(path: &Path) -> anyhow::Result<(File, PathBuf)> {
    let file =
        File::from(openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    anyhow::ensure!(!file.metadata()?.is_symlink(), "it is a link; look where it leads");
    // chmod(2) does not take such a descriptor, its name in /proc does.
    let name = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    Ok((file, name))
}

fn narrow(path: &Path, without: u32) -> anyhow::Result<String> {
    let (file, name) = open(path)?;
    let before = file.metadata()?.mode() & 0o7777;
    let after = before & !without;
    if after != before {
        fs::set_permissions(name, fs::Permissions::from_mode(after))?;
    }
    Ok(format!("{}: mode {before:04o} is {after:04o} now", path.display()))
}

fn owner(path: &Path, uid: u32) -> anyhow::Result<String> {
    let (file, name) = open(path)?;
    let data = file.metadata()?;
    let folder = path.parent().context("it is in no folder")?;
    anyhow::ensure!(fs::symlink_metadata(folder)?.uid() == uid, "its folder has another owner by now");
    anyhow::ensure!(data.is_dir() || data.nlink() == 1, "it has another name elsewhere");
    let before = data.uid();
    std::os::unix::fs::chown(name, Some(uid), None)?;
    Ok(format!("{}: it belonged to uid {before}, and to uid {uid} now", path.display()))
}

fn ignore(rules: &Path, rule: &str) -> anyhow::Result<String> {
    let before = match fs::read_to_string(rules) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    if before.lines().any(|line| line.trim() == rule) {
        return Ok(format!("{} has {rule} already", rules.display()));
    }
    let owner = fs::metadata(rules.parent().unwrap_or("/".as_ref()))?;
    let new = !rules.exists();
    let mut file = OpenOptions::new().append(true).create(true).open(rules)?;
    if new && rustix::process::geteuid().is_root() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    writeln!(file, "{gap}{rule}")?;
    Ok(format!("{}: added {rule}", rules.display()))
}

fn setting(path: &Path, change: &Edit) -> anyhow::Result<String> {
    let data = fs::symlink_metadata(path)?;
    anyhow::ensure!(data.is_file(), "it is no regular file");
    let before = fs::read_to_string(path)?;
    let after = edit::apply(&before, change)?;
    if after == before {
        return Ok(format!("{}: it stands there no longer", path.display()));
    }
    replace(path, &after, data.mode() & 0o777)?;
    let said = match change {
        Edit::Value { section, key, to } => {
            format!("{}: [{section}] {key} = {to}", path.display())
        }
        Edit::Strangers => {
            format!("{}: what is no number is out of the lists of people", path.display())
        }
    };
    // It says so whether or not there are other mistakes, which `config check` names.
    let rest = if Config::parse(&after, path).is_ok() {
        "; in force after a restart"
    } else {
        "; other mistakes are left: openclaw config check"
    };
    Ok(said + rest)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::carry_out;
    use crate::audit::verdict::Fix;

    #[test]
    fn a_mode_only_ever_loses_bits_and_a_link_leads_nowhere() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("write");
        for (before, without, after) in [(0o644, 0o177, 0o600), (0o600, 0o177, 0o600), (0o400, 0o022, 0o400)]
        {
            fs::set_permissions(&file, fs::Permissions::from_mode(before)).expect("mode");
            carry_out(&Fix::Narrow { path: file.clone(), without }).expect("done");
            assert_eq!(fs::metadata(&file).expect("there").mode() & 0o7777, after);
        }
        let link = dir.path().join("link");
        symlink(&file, &link).expect("link");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mode");
        let error = carry_out(&Fix::Narrow { path: link, without: 0o044 }).expect_err("a link").to_string();
        assert!(error.contains("narrow"), "{error}");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o644);
    }

    #[test]
    fn a_rule_is_added_once() {
        let dir = tempfile::tempdir().expect("dir");
        let rules = dir.path().join(".gitignore");
        fs::write(&rules, "target").expect("write");
        let fix = Fix::Ignore { rules: rules.clone(), rule: "/egress/.env".into() };
        for _ in 0..2 {
            carry_out(&fix).expect("done");
            assert_eq!(fs::read_to_string(&rules).expect("there"), "target\n/egress/.env\n");
        }
    }
}
