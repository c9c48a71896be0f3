//! Accounts of this machine: the one that the processes run as, when root starts them, and the tunnel's. Read from
//! `/etc/passwd`; directory services are not asked.

use std::{os::unix::ffi::OsStrExt, path::PathBuf};

use crate::command::fault::Fault;

const PASSWD: &str = "/etc/passwd";

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
        let found = look_up(user, "start as an unprivileged user")?.ok_or_else(|| {
            Fault::new(
                format!("find the user {user:?}: no such line in {PASSWD}"),
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

/// The number of a user who may connect to us: root too, and a number without a name, as there are in containers.
pub fn number_of(user: &str) -> Result<u32, Fault> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let mend = "write the user's number instead of its name (`id -u NAME` shows it)";
    match look_up(user, mend)? {
        Some(account) => Ok(account.uid),
        None => Err(Fault::new(format!("find the user {user:?}: no such line in {PASSWD}"), mend)),
    }
}

fn look_up(user: &str, mend: &str) -> Result<Option<Account>, Fault> {
    let text = std::fs::read(PASSWD).map_err(|error| Fault::new(format!("read {PASSWD}: {error}"), mend))?;
    Ok(text.split(|byte| *byte == b'\n').find_map(|line| entry(line, user)))
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
    use super::{Account, entry, number_of};

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

    #[test]
    fn a_peer_is_known_by_its_name_or_by_any_number() {
        assert_eq!(number_of("root").ok(), Some(0));
        assert_eq!(number_of("4000000").ok(), Some(4_000_000));
        for user in ["no-such-user-here", "", "-1", "4294967296"] {
            let error = number_of(user).expect_err(user).to_string();
            assert!(error.contains("id -u NAME"), "{error}");
        }
    }
}
