//! From a call that the model wants to the right to run it: policy decides; where it asks, the owner's answer is waited
//! for, across restarts, until the question expires.

use std::time::Duration;

use openclaw_wire::admin::{Ask, ChatEvent};
use serde_json::Value;
use tracing::info;

use super::{Engine, TERMINAL, made, now, now_ms, owner, reply::Reply};
use crate::{
    files::File,
    inbox::Lane,
    outbox::rows,
    policy::{
        Decision, Grant, Principal, Proposal, Question,
        ask::{self, Place, Standing},
        decide,
    },
    session::Admission,
    skill::Found,
    store::StoreError,
};

/// A call that the model wants.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The tool.
    pub found: &'a Found,
    /// Our id of the call.
    pub call: &'a str,
    /// Valid against its schema.
    pub arguments: &'a Value,
    /// The files that they name.
    pub files: &'a [File],
}

/// The outcome, for one call.
pub enum Permit {
    /// It may run.
    Granted(Grant),
    /// It may not, and why.
    Denied(String),
}

/// Decides about one call. Waits for the owner where policy asks; dropping the future ends the wait, not the question.
pub async fn permit(
    engine: &Engine,
    lane: &Lane,
    reply: &Reply,
    wanted: Wanted<'_>,
    who: Admission,
) -> Result<Permit, StoreError> {
    let Wanted { found, call, arguments, files } = wanted;
    let principal = match who {
        Admission::Owner(_) => Principal::Owner,
        Admission::Person(user) => Principal::Person(user),
    };
    let place = owner::place(engine, lane, who);
    let attached = made::attached(files);
    let proposal = Proposal {
        attached: &attached,
        call,
        skill: &found.skill,
        tool: &found.tool,
        arguments,
        principal,
        owner_there: place.is_some(),
    };
    loop {
        let standing = engine.store.read(|connection| ask::standing(connection, call, now()))?;
        let approval = match standing {
            Some(Standing::Open { .. }) => {
                let row = engine.leave_seat(lane).await;
                let waited = until_answered(engine, call).await;
                engine.come_back(lane, row).await;
                waited?;
                continue;
            }
            Some(Standing::Undelivered(problem)) => {
                info!(call, problem, "denied a call: the owner can't be asked");
                let why = format!("the owner has to approve it and could not be asked: {problem}");
                return Ok(Permit::Denied(why));
            }
            Some(Standing::Answered(approval)) => Some(approval),
            None => None,
        };
        match (decide(&proposal, approval.as_ref()), place) {
            (Decision::Allow(grant), _) => return Ok(Permit::Granted(grant)),
            (Decision::Deny(denial), _) => {
                info!(call, %denial, "policy denied a call");
                return Ok(Permit::Denied(denial.to_string()));
            }
            (Decision::Ask(_), None) => return Ok(Permit::Denied("there is nobody to ask".into())),
            (Decision::Ask(question), Some(chat)) => open(engine, lane, reply, call, &question, chat).await?,
        }
    }
}

/// Waits for a person, or until the question expires or can't be delivered.
async fn until_answered(engine: &Engine, call: &str) -> Result<(), StoreError> {
    loop {
        // Registered before the table is read, so that no answer falls between the two.
        let answered = engine.answered.notified();
        let standing = engine.store.read(|connection| ask::standing(connection, call, now()))?;
        let Some(Standing::Open { expires, .. }) = standing else { return Ok(()) };
        let left = Duration::from_secs((expires - now()).max(1).unsigned_abs());
        // Somebody who comes back to the terminal sees what is still open.
        let _ = tokio::time::timeout(left, answered).await;
    }
}

/// Stores the question and shows it: the row and the message in one commit.
async fn open(
    engine: &Engine,
    lane: &Lane,
    reply: &Reply,
    call: &str,
    question: &Question,
    chat: i64,
) -> Result<(), StoreError> {
    let id = random_id().map_err(|error| StoreError::Statement(format!("random number: {error}")))?;
    let terminal = lane.bot.as_str() == TERMINAL;
    let message = (!terminal).then(|| owner::question(lane, chat, &question.text, &id));
    let (bot, call, stored, id_) = (lane.bot.clone(), call.to_owned(), question.clone(), id.clone());
    let (store, sender, lane_bot) = (engine.store.clone(), engine.sender.clone(), lane.bot.clone());
    // A stop ends the wait for this at any moment; what is committed must be sent all the same.
    let opened = tokio::spawn(async move {
        store
            .write(move |tx| {
                ask::open(tx, &id_, &call, &stored, Place { bot: bot.as_str(), chat }, now())?;
                message.iter().try_for_each(|message| {
                    let rows = rows::enqueue(tx, message, now_ms())?;
                    ask::shown_by(tx, &id_, &rows)
                })
            })
            .await?;
        if !terminal {
            sender.wake(&lane_bot, openclaw_wire::id::ChatId(chat));
        }
        Ok(())
    });
    opened.await.unwrap_or(Err(StoreError::Stopped))?;
    if terminal {
        reply.chat_event(ChatEvent::Ask(Ask { id, text: question.text.clone() }));
    }
    Ok(())
}

fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
