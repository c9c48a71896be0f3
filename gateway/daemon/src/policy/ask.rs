//! Questions to the owner: stored, so that they survive a restart; answered once, by the owner, before they expire.
//! The button carries a random id and nothing else; what it stands for is looked up here.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::Question;

/// The stage's table.
pub const MIGRATION: &str = "
CREATE TABLE question (
    id TEXT PRIMARY KEY,                    -- random, what the button carries
    call TEXT NOT NULL UNIQUE,              -- the tool call that waits for the answer
    digest TEXT NOT NULL,                   -- of what was shown
    bot TEXT NOT NULL,
    chat INTEGER NOT NULL,                  -- where it was shown, and only there it can be answered
    expires INTEGER NOT NULL,               -- unix seconds
    answer TEXT                             -- yes, no; NULL while it is open
);
";

/// How long the owner has to answer, in seconds.
pub const PATIENCE: i64 = 600;

/// The owner's answer to one question. Only this module makes one, from the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    digest: String,
    yes: bool,
}

impl Approval {
    /// Whether it approves exactly what has this digest.
    pub fn approves(&self, digest: &str) -> bool {
        self.yes && self.digest == digest
    }

    #[cfg(test)]
    pub(super) fn for_tests(digest: &str, yes: bool) -> Self {
        Self { digest: digest.to_owned(), yes }
    }
}

/// Where a question stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Asked, not answered; until then.
    Open {
        /// What the button carries.
        id: String,
        /// Unix seconds.
        expires: i64,
    },
    /// Answered, or expired, which is a no.
    Answered(Approval),
}

/// Where a question is shown.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Through which bot (`terminal` for the operator's own chat).
    pub bot: &'a str,
    /// In which chat.
    pub chat: i64,
}

/// Stores a new question. `id` is random, of at least 128 bits.
pub fn open(
    transaction: &Transaction<'_>,
    id: &str,
    call: &str,
    question: &Question,
    place: Place<'_>,
    now: i64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO question (id, call, digest, bot, chat, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![id, call, question.digest, place.bot, place.chat, now + PATIENCE])?;
    Ok(())
}

/// Records the owner's answer: once, in time, in the place where it was asked. Gives the call that it is about.
pub fn answer(
    transaction: &Transaction<'_>,
    id: &str,
    place: Place<'_>,
    yes: bool,
    now: i64,
) -> rusqlite::Result<Option<String>> {
    transaction
        .prepare_cached(
            "UPDATE question SET answer = ?2
             WHERE id = ?1 AND answer IS NULL AND expires > ?3 AND bot = ?4 AND chat = ?5 RETURNING call",
        )?
        .query_row(params![id, if yes { "yes" } else { "no" }, now, place.bot, place.chat], |row| row.get(0))
        .optional()
}

/// Takes back the open questions about calls whose ids begin with `calls`: their turn is over, so that a late press must
/// not be told that it allows something.
pub fn withdraw(transaction: &Transaction<'_>, calls: &str) -> rusqlite::Result<()> {
    // Ids are ASCII; the bound is behind everything that begins so.
    transaction
        .prepare_cached(
            "UPDATE question SET answer = 'no' WHERE answer IS NULL AND call >= ?1 AND call < ?1 || '~'",
        )?
        .execute([calls])?;
    Ok(())
}

/// How the question about a call stands; `None` when it was never asked.
pub fn standing(connection: &Connection, call: &str, now: i64) -> rusqlite::Result<Option<Standing>> {
    connection
        .prepare_cached("SELECT id, digest, expires, answer FROM question WHERE call = ?1")?
        .query_row([call], |row| {
            let (id, digest, expires, answer): (String, String, i64, Option<String>) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(match answer {
                None if expires > now => Standing::Open { id, expires },
                answer => Standing::Answered(Approval { digest, yes: answer.as_deref() == Some("yes") }),
            })
        })
        .optional()
}

/// Forgets questions that expired a day ago.
pub fn forget(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<usize> {
    transaction.execute("DELETE FROM question WHERE expires < ?1", [now - 86_400])
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{PATIENCE, Place, Question, Standing, answer, open, standing, withdraw};

    #[test]
    fn a_question_is_answered_once_in_time_and_in_its_place() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let (here, there) = (Place { bot: "a", chat: 5 }, Place { bot: "a", chat: 6 });
        let question = Question { text: "t".into(), digest: "d".into() };
        open(&transaction, "q1", "c1", &question, here, 0).expect("open");
        open(&transaction, "q2", "c2", &question, here, 0).expect("open");

        assert_eq!(answer(&transaction, "nope", here, true, 1).expect("answer"), None, "unknown");
        assert_eq!(answer(&transaction, "q1", there, true, 1).expect("answer"), None, "another chat");
        assert_eq!(answer(&transaction, "q2", here, true, PATIENCE).expect("answer"), None, "too late");
        assert_eq!(answer(&transaction, "q1", here, true, 1).expect("answer").as_deref(), Some("c1"));
        assert_eq!(answer(&transaction, "q1", here, true, 1).expect("answer"), None, "twice");

        let state = |call| standing(&transaction, call, PATIENCE).expect("standing");
        assert!(
            matches!(state("c1"), Some(Standing::Answered(approval)) if approval.approves("d") && !approval.approves("e"))
        );
        assert!(
            matches!(state("c2"), Some(Standing::Answered(approval)) if !approval.approves("d")),
            "expired is a no"
        );
        assert_eq!(state("c3"), None);
    }

    #[test]
    fn a_question_whose_turn_is_over_can_no_longer_be_answered() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let here = Place { bot: "a", chat: 5 };
        let question = Question { text: "t".into(), digest: "d".into() };
        for (id, call) in [("q1", "7-abc"), ("q2", "77-abc")] {
            open(&transaction, id, call, &question, here, 0).expect("open");
        }
        withdraw(&transaction, "7-").expect("withdraw");
        assert_eq!(answer(&transaction, "q1", here, true, 1).expect("answer"), None);
        assert_eq!(answer(&transaction, "q2", here, true, 1).expect("answer").as_deref(), Some("77-abc"));
    }
}
