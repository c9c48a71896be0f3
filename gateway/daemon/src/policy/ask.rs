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

/// The messages that ask, so that one which can't be delivered is known.
pub const MIGRATION_MESSAGES: &str = "
ALTER TABLE question ADD COLUMN first_message INTEGER;  -- rows of the outbox
ALTER TABLE question ADD COLUMN last_message INTEGER;
ALTER TABLE question ADD COLUMN problem TEXT;           -- why the owner was never asked
CREATE INDEX question_message ON question (first_message) WHERE answer IS NULL;
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
    /// The owner was never asked, and why.
    Undelivered(String),
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

/// Notes which rows of the outbox show a question, the first and the last of them.
pub fn shown_by(transaction: &Transaction<'_>, id: &str, rows: &[i64]) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE question SET first_message = ?2, last_message = ?3 WHERE id = ?1")?
        .execute(params![id, rows.first(), rows.last()])?;
    Ok(())
}

/// These rows of the outbox were given up: questions that they show are answered with no. Gives the calls.
pub fn undelivered(
    transaction: &Transaction<'_>,
    rows: &[i64],
    problem: &str,
) -> rusqlite::Result<Vec<String>> {
    let mut update = transaction.prepare_cached(
        "UPDATE question SET answer = 'no', problem = ?2
         WHERE answer IS NULL AND first_message <= ?1 AND last_message >= ?1 RETURNING call",
    )?;
    let mut calls = Vec::new();
    for row in rows {
        for call in update.query_map(params![row, problem], |found| found.get(0))? {
            calls.push(call?);
        }
    }
    Ok(calls)
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
        .prepare_cached("SELECT id, digest, expires, answer, problem FROM question WHERE call = ?1")?
        .query_row([call], |row| {
            let (id, digest, expires, answer): (String, String, i64, Option<String>) =
                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            if let Some(problem) = row.get(4)? {
                return Ok(Standing::Undelivered(problem));
            }
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

    use super::{
        PATIENCE, Place, Question, Standing, answer, open, shown_by, standing, undelivered, withdraw,
    };

    #[test]
    fn a_question_is_answered_once_in_time_and_in_its_place() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        connection.execute_batch(super::MIGRATION_MESSAGES).expect("migrate");
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
        connection.execute_batch(super::MIGRATION_MESSAGES).expect("migrate");
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

    #[test]
    fn a_question_that_never_arrived_is_a_no_with_its_reason() {
        let mut connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(super::MIGRATION).expect("migrate");
        connection.execute_batch(super::MIGRATION_MESSAGES).expect("migrate");
        let transaction = connection.transaction().expect("begin");
        let here = Place { bot: "a", chat: 5 };
        let question = Question { text: "t".into(), digest: "d".into() };
        for (id, call, rows) in [("q1", "c1", vec![7, 8, 9]), ("q2", "c2", vec![10]), ("q3", "c3", vec![])] {
            open(&transaction, id, call, &question, here, 0).expect("open");
            shown_by(&transaction, id, &rows).expect("shown");
        }
        assert_eq!(undelivered(&transaction, &[6, 11], "why").expect("none"), Vec::<String>::new());
        assert_eq!(undelivered(&transaction, &[8, 9], "gone").expect("one"), ["c1"]);
        let state = |call| standing(&transaction, call, 1).expect("standing");
        assert_eq!(state("c1"), Some(Standing::Undelivered("gone".into())));
        assert!(
            matches!(state("c2"), Some(Standing::Open { .. }))
                && matches!(state("c3"), Some(Standing::Open { .. }))
        );
        assert_eq!(answer(&transaction, "q1", here, true, 1).expect("answer"), None, "too late");
        assert!(answer(&transaction, "q2", here, true, 1).expect("answer").is_some());
        assert_eq!(undelivered(&transaction, &[10], "gone").expect("answered"), Vec::<String>::new());
    }
}
