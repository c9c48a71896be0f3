//! Pairing: a one-time code from the operator's command makes whoever sends it to the bot an owner. Only the command
//! makes codes; of a code only its digest is stored; it works once, for ten minutes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use openclaw_wire::id::UserId;
use rusqlite::{Connection, Transaction, params};
use sha2::{Digest, Sha256};

/// The stage's tables.
pub const MIGRATION: &str = "
CREATE TABLE pairing (digest BLOB PRIMARY KEY, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE owner (user INTEGER PRIMARY KEY, since INTEGER NOT NULL);
";

/// Seconds that a code works.
pub const VALID: i64 = 600;

/// Characters of a code: no 0, O, 1, I or L. 31^10 is more than 49 bits, for ten minutes.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
const LENGTH: usize = 10;

/// Codes that one stranger may try while a code works: a few typing errors.
const TRIES: u32 = 5;
/// Strangers whose tries are counted. When so many guess at once, newcomers wait.
const STRANGERS: usize = 1024;

/// Tries of strangers: until when they count (unix seconds), and how many.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<UserId, (i64, u32)>>);

impl Guesses {
    /// Counts a try. `false`: it was one too many, and the code must not be looked at.
    pub fn allows(&self, user: UserId, now: i64) -> bool {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tries.len() >= STRANGERS || tries.get(&user).is_some_and(|(until, _)| *until <= now) {
            tries.retain(|_, (until, _)| *until > now);
        }
        if tries.len() >= STRANGERS && !tries.contains_key(&user) {
            return false;
        }
        let (_, count) = tries.entry(user).or_insert((now + VALID, 0));
        *count = count.saturating_add(1);
        *count <= TRIES
    }
}

/// A new code.
pub fn code() -> Result<String, getrandom::Error> {
    let mut code = String::with_capacity(LENGTH);
    while code.len() < LENGTH {
        let mut bytes = [0; 2 * LENGTH];
        getrandom::fill(&mut bytes)?;
        // Bytes past the largest multiple of 31 would make some characters likelier.
        let fair = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % 31]));
        code.extend(fair.take(LENGTH - code.len()));
    }
    Ok(code)
}

/// Makes a code work, and every earlier one stop.
pub fn offer(transaction: &Transaction<'_>, code: &str, now: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM pairing", [])?;
    transaction.execute("INSERT INTO pairing VALUES (?1, ?2)", params![digest(code), now + VALID])?;
    Ok(())
}

/// Redeems a code: the user becomes an owner, the code is gone. `false` when it is unknown, used or too old.
pub fn redeem(transaction: &Transaction<'_>, code: &str, user: UserId, now: i64) -> rusqlite::Result<bool> {
    let found = transaction
        .execute("DELETE FROM pairing WHERE digest = ?1 AND expires > ?2", params![digest(code), now])?;
    if found == 1 {
        transaction.execute("INSERT OR IGNORE INTO owner VALUES (?1, ?2)", params![user.0, now])?;
    }
    Ok(found == 1)
}

/// Everybody who paired.
pub fn owners(connection: &Connection) -> rusqlite::Result<Vec<UserId>> {
    connection.prepare("SELECT user FROM owner")?.query_map([], |row| Ok(UserId(row.get(0)?)))?.collect()
}

fn digest(code: &str) -> [u8; 32] {
    Sha256::digest(code.trim().to_ascii_uppercase()).into()
}

#[cfg(test)]
mod tests {
    use openclaw_wire::id::UserId;
    use rusqlite::Connection;

    use super::{Guesses, STRANGERS, TRIES, VALID, code, offer, owners, redeem};

    #[test]
    fn a_code_works_once_in_time_and_only_the_newest() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let [first, second, third] = [(); 3].map(|()| code().expect("random"));
        let redeem = |code: &str, user, now| redeem(&transaction, code, UserId(user), now).expect("redeem");
        offer(&transaction, &first, 0).expect("offer");
        offer(&transaction, &second, 0).expect("offer");
        assert!(!redeem(&first, 1, 1), "replaced");
        assert!(redeem(&second.to_lowercase(), 2, 1));
        assert!(!redeem(&second, 3, 1), "used");
        offer(&transaction, &third, 0).expect("offer");
        assert!(!redeem(&third, 4, VALID), "too old");
        assert!(!redeem("", 5, 1));
        assert_eq!(owners(&transaction).expect("owners"), [UserId(2)]);
    }

    #[test]
    fn a_stranger_has_a_few_tries_and_memory_is_bounded() {
        let guesses = Guesses::default();
        assert!((0..TRIES).all(|_| guesses.allows(UserId(1), 0)));
        assert!(!guesses.allows(UserId(1), VALID - 1));
        assert!(guesses.allows(UserId(2), VALID - 1), "others are not affected");
        assert!(guesses.allows(UserId(1), VALID), "the code has expired, and so have the tries");
        for user in 0..2 * STRANGERS as i64 {
            guesses.allows(UserId(user), VALID);
        }
        assert_eq!(guesses.0.lock().expect("lock").len(), STRANGERS);
        assert!(guesses.allows(UserId(-1), 2 * VALID));
    }

    #[test]
    fn codes_differ_and_have_their_length() {
        let codes: std::collections::HashSet<_> = (0..100).map(|_| code().expect("random")).collect();
        assert!(codes.len() == 100 && codes.iter().all(|code| code.len() == super::LENGTH));
    }
}
