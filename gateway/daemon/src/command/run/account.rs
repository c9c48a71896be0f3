//! The account that the processes run as, when root starts them. Read from `/etc/passwd`; directory services are not asked.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::command::fault::Fault;

/// An account of this machine that is not root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Numeric user.
    pub uid: u32,
    /// Its primary group; the only one that is kept.
    pub gid: u32,
    /// Its home.
    pub home: PathBuf,
}

impl Account {
    /// By name or number.
    pub fn find(user: &str) -> Result<Self, Fault> {
        let file = Path::new("/etc/passwd");
        let text = std::fs::read(file).map_err(|error| {
            Fault::new(format!("read {}: {error}", file.display()), "start as an unprivileged user")
        })?;
        let found =
            text.split(|byte| *byte == b'\n').find_map(|line| entry(line, user)).ok_or_else(|| {
                Fault::new(
                    format!("find the user {user:?}: no such line in {}", file.display()),
                    "useradd --system --create-home openclaw, then --user openclaw",
                )
            })?;
        match found.uid {
            0 => Err(Fault::new(
                format!("run as {user:?}: that is root, and no process of OpenClaw runs as root"),
                "name an unprivileged user with --user",
            )),
            _ => Ok(found),
        }
    }
}

/// passwd(5): `name:password:UID:GID:GECOS:directory:shell`.
fn entry(line: &[u8], user: &str) -> Option<Account> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let &[name, _, uid, gid, _, home, _] = fields.as_slice() else { return None };
    if user.is_empty() || (name != user.as_bytes() && uid != user.as_bytes()) {
        return None;
    }
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    Some(Account {
        uid: number(uid)?,
        gid: number(gid)?,
        home: PathBuf::from(std::ffi::OsStr::from_bytes(home)),
    })
}

#[cfg(test)]
mod tests {
    use super::{Account, entry};

    #[test]
    fn a_passwd_line_is_found_by_name_and_number() {
        let line = b"anna:x:1000:1001:Anna,,,:/home/anna:/bin/sh";
        let anna = Some(Account { uid: 1000, gid: 1001, home: "/home/anna".into() });
        for (user, expected) in
            [("anna", anna.clone()), ("1000", anna), ("ann", None), ("", None), ("x", None), ("1001", None)]
        {
            assert_eq!(entry(line, user), expected, "{user}");
        }
        assert_eq!(entry(b"broken:x:1:1", "broken"), None);
    }

    #[test]
    fn root_is_refused_by_name_and_number() {
        for user in ["root", "0"] {
            let error = Account::find(user).expect_err(user).to_string();
            assert!(error.contains("no process of OpenClaw runs as root"), "{error}");
        }
    }
}
