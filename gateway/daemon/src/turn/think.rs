//! The model and its tools: ask, run what it may run, ask again, until it answers in words or a budget ends. Every
//! call goes through `permit` and the one executor; what was begun is stored before it runs.

use std::time::Duration;

use futures_util::future::join_all;
use openclaw_wire::skill::Effect;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Engine,
    conversation::{Conversation, text_of},
    made, now,
    permit::{self, Permit},
    reply::Reply,
};
use crate::{
    files::File,
    inbox::Lane,
    model::{
        ModelError,
        message::{Content, Part, Stop, ToolCall, ToolResult, ToolSpec, Turn},
    },
    policy::{Grant, Label, mark},
    session::{Admission, history},
    skill::{Found, calls},
    spend,
    store::StoreError,
};

/// What came of a message.
#[derive(Debug, Default)]
pub struct Thought {
    /// For the log.
    pub outcome: &'static str,
    /// For the user; empty when there is nothing to say (stopped).
    pub text: String,
    /// The text is about a failure.
    pub failed: bool,
    /// The user stopped it.
    pub stopped: bool,
    /// Tools were called.
    pub called: bool,
    /// Turns with their labels, as JSON, that are not stored yet.
    pub unstored: Vec<(String, String)>,
}

/// The message at hand while it is thought about.
struct Desk<'a> {
    engine: &'a Engine,
    lane: &'a Lane,
    row: i64,
    who: Admission,
    conversation: Conversation,
    /// Turns of this message.
    turns: Vec<Turn>,
    thought: Thought,
    reply: &'a Reply,
    stop: &'a CancellationToken,
    deadline: Instant,
    /// Tokens of this message, stored or not.
    spent: u64,
}

/// A call of the model with what policy said of it.
struct Ready<'a> {
    call: &'a ToolCall,
    id: String,
    found: Found,
    grant: Grant,
    /// Files that it names, in the order of its grant.
    files: Vec<File>,
}

/// Thinks about one message. A message that was begun before a crash goes on where its stored turns end.
#[allow(clippy::too_many_arguments)] // one place, one caller: the walk hands over what it has gathered
pub async fn think(
    engine: &Engine,
    lane: &Lane,
    row: i64,
    who: Admission,
    mut conversation: Conversation,
    user: (Turn, Vec<Label>),
    reply: &Reply,
    stop: &CancellationToken,
) -> Result<Thought, StoreError> {
    let stored = std::mem::take(&mut conversation.stored);
    let begun = !stored.is_empty();
    let mut desk = Desk {
        engine,
        lane,
        row,
        who,
        conversation,
        turns: stored,
        thought: Thought::default(),
        reply,
        stop,
        deadline: Instant::now() + Duration::from_secs(engine.config.turn.seconds),
        spent: 0,
    };
    if !begun {
        desk.conversation.tainted |= user.1.iter().any(|label| label.integrity.taints());
        desk.push(user.0, &user.1);
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => desk.stopped().await?,
        result = desk.until_words() => result?,
    }
    desk.thought.called = desk.turns.iter().any(|turn| matches!(turn, Turn::ToolResults { .. }));
    Ok(desk.thought)
}

impl Desk<'_> {
    async fn until_words(&mut self) -> Result<(), StoreError> {
        let budget = &self.engine.config.turn;
        let mut steps =
            self.turns.iter().filter(|turn| matches!(turn, Turn::Assistant { .. })).count() as u32;
        loop {
            if let Some(calls) = self.open_calls() {
                self.run(calls).await?;
                continue;
            }
            if let Some(done @ Turn::Assistant { .. }) = self.turns.last() {
                // The crash fell between the last answer and its commit; nothing is left but to say it.
                let text = text_of(done);
                return self.say("answered", text);
            }
            if steps > budget.steps || self.spent > budget.tokens {
                return self.fail(
                    "over budget",
                    "I stopped: this took more steps or tokens than one message may use.".into(),
                );
            }
            let last = steps + 1 >= budget.steps;
            match self.ask(last).await {
                Ok(stop) => {
                    let turn = self.turns.last().expect("ask has pushed the answer");
                    let (text, calls) = (text_of(turn), has_calls(turn));
                    match (calls, stop) {
                        (true, _) => {}
                        (false, Stop::MaxTokens) => {
                            return self.say(
                                "cut short",
                                format!("{text}\n\n(The answer was cut at its longest allowed length.)"),
                            );
                        }
                        (false, _) if text.trim().is_empty() => {
                            return self.fail(
                                "empty answer",
                                "The model gave an empty answer. Please try again.".into(),
                            );
                        }
                        (false, _) => return self.say("answered", text),
                    }
                }
                Err(Some(error)) => {
                    warn!(row = self.row, %error, "the model gave no answer");
                    self.engine.operators_matter(self.lane, &error.failures).await;
                    return self.fail("model failed", error.sentence().into());
                }
                Err(None) => {
                    return self.fail(
                        "out of time",
                        "I stopped: this took longer than one message may take.".into(),
                    );
                }
            }
            steps += 1;
        }
    }

    /// One model call; its answer is pushed. `Err(None)` when the time is up.
    async fn ask(&mut self, last: bool) -> Result<Stop, Option<ModelError>> {
        let tools = self.engine.tools().into_iter().map(|found| ToolSpec {
            name: found.tool.name.as_str().to_owned(),
            description: found.tool.description.clone(),
            schema: found.tool.arguments.clone(),
        });
        let instructions = &self.engine.config.session.instructions;
        let prompt = self.conversation.prompt(instructions, &self.turns, tools.collect(), last);
        let choice = self.conversation.model();
        let mut show = |event: crate::model::Event<'_>| self.reply.event(event);
        let models = self.engine.models.on_account_of(&spend::account(self.lane));
        let asking = models.ask(&prompt, choice.as_ref(), self.stop, &mut show);
        let answer = tokio::time::timeout_at(self.deadline, asking).await.map_err(|_| None)?.map_err(Some)?;
        self.engine.operators_matter(self.lane, &answer.failures).await;
        self.spent += answer.usage.total();
        let (labels, stop) = (vec![Label::model(self.conversation.tainted); answer.parts.len()], answer.stop);
        self.push(answer.into_turn(), &labels);
        Ok(stop)
    }

    /// The calls of the last turn, if they wait for results.
    fn open_calls(&self) -> Option<Vec<ToolCall>> {
        let Some(Turn::Assistant { parts, .. }) = self.turns.last() else { return None };
        let calls: Vec<_> = parts
            .iter()
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some(call.clone()),
                _ => None,
            })
            .collect();
        (!calls.is_empty()).then_some(calls)
    }

    /// Runs the calls of one answer: what only reads all at once, what has an effect one after the other.
    async fn run(&mut self, calls: Vec<ToolCall>) -> Result<(), StoreError> {
        self.store().await?;
        let mut results: Vec<Option<(ToolResult, Label)>> = Vec::new();
        let mut ready: Vec<(usize, Ready<'_>)> = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            let id = format!("{}{}", calls_of(self.row), call.id);
            match self.prepare(call, &id).await? {
                Ok((grant, found, files)) => {
                    ready.push((at, Ready { call, id, found, grant, files }));
                    results.push(None);
                }
                Err(result) => results.push(Some(result)),
            }
        }
        let (reads, effects): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|(_, one)| one.found.tool.effect == Effect::Read);
        let read = join_all(reads.into_iter().map(async |(at, one)| (at, self.execute(one).await))).await;
        for (at, result) in read {
            results[at] = Some(result?);
        }
        for (at, one) in effects {
            results[at] = Some(self.execute(one).await?);
        }
        let (results, labels): (Vec<_>, Vec<_>) = results.into_iter().flatten().unzip();
        if labels.iter().any(|label| label.integrity.taints()) {
            self.conversation.tainted = true;
            self.reply.taint();
        }
        self.push(Turn::ToolResults { results }, &labels);
        self.store().await
    }

    /// Whether a call may run; if not, what the model is told instead.
    async fn prepare(
        &mut self,
        call: &ToolCall,
        id: &str,
    ) -> Result<Result<(Grant, Found, Vec<File>), (ToolResult, Label)>, StoreError> {
        let refuse = |text: String| Ok(Err(self.result(call, &text, true)));
        if let Some(invalid) = &call.invalid {
            return refuse(invalid.reason.clone());
        }
        let found = match self.engine.tool(&call.name) {
            Ok(found) => found,
            Err(why) => return refuse(why),
        };
        if let Err(error) = found.validate(&call.arguments) {
            return refuse(error);
        }
        let state = self.engine.store.read(|connection| calls::state(connection, id))?;
        match state {
            calls::State::Finished(text) => match serde_json::from_str(&text) {
                Ok(result) => return Ok(Err((result, Label::returned(&found.skill.id, &call.id)))),
                Err(_) => return refuse("The result of this call was lost.".into()),
            },
            calls::State::Started if found.tool.effect != Effect::Read => {
                super::owner::tell(
                    self.engine,
                    self.lane,
                    format!("The assistant was interrupted while it ran {}. It may have happened; it was not run again.", call.name),
                )
                .await?;
                return refuse("This call was interrupted. It may have happened. It was not run again; do not repeat it without asking.".into());
            }
            calls::State::Started | calls::State::New => {}
        }
        let files = match made::named(self.engine, self.lane, &found, &call.arguments)? {
            Ok(files) => files,
            Err(why) => return refuse(why),
        };
        let waited = Instant::now();
        let wanted = permit::Wanted { found: &found, call: id, arguments: &call.arguments, files: &files };
        let permit = permit::permit(self.engine, self.lane, self.reply, wanted, self.who).await?;
        self.deadline += waited.elapsed();
        match permit {
            Permit::Granted(grant) => Ok(Ok((grant, found, files))),
            Permit::Denied(why) => {
                info!(row = self.row, tool = call.name, "denied a call");
                Ok(Err(self.result(call, &format!("Denied: {why}."), true)))
            }
        }
    }

    /// Runs one granted call between its two rows.
    async fn execute(&self, ready: Ready<'_>) -> Result<(ToolResult, Label), StoreError> {
        let Ready { call, id, found, grant, files } = ready;
        let (skill, tool, row, at) = (found.skill.id.clone(), call.name.clone(), self.row, now());
        let attached = match made::open(self.engine, &files).await {
            Ok(attached) => attached,
            Err(why) => return Ok(self.result(call, &why, true)),
        };
        let (call_id, skill_name) = (id.clone(), skill.to_string());
        let first = self
            .engine
            .store
            .write(move |tx| calls::start(tx, &call_id, row, &skill_name, &tool, at))
            .await?;
        if !first && found.tool.effect != Effect::Read {
            return Ok(self.result(call, "This call was started before; it was not run again.", true));
        }
        self.reply.tool(&call.name);
        let started = Instant::now();
        let chat = spend::account(self.lane);
        let granted = (grant, chat.as_str(), &found);
        let ran = made::run(self.engine, self.lane, granted, attached, self.stop).await?;
        let (output, made, lost) = ran.into_parts();
        let (output, label) = output.into_labelled(Label::returned(&skill, &call.id));
        info!(row, call = id, %skill, error = output.is_error, elapsed_ms = started.elapsed().as_millis() as u64, "ran a tool");
        self.engine.denied(self.lane, &output.denials).await;
        let text = mark::untrusted(&format!("output of {skill}"), &output.text);
        let end = calls::End { failed: output.is_error, reason: output.reason };
        let ending = made::Ending { call: id, inbox: row, by: skill.to_string(), end };
        let result = made::store(self.engine, made, ending, |files| {
            let sent = if files.is_empty() { "" } else { " The user gets them with your answer." };
            let note = made::note(files, lost).map(|note| Content::text(mark::plain(&note) + sent));
            let result = ToolResult {
                call_id: call.id.clone(),
                content: [Content::text(text)].into_iter().chain(note).collect(),
                is_error: output.is_error,
            };
            let stored = serde_json::to_string(&result).unwrap_or_default();
            (result, stored)
        });
        Ok((result.await?, label))
    }

    fn result(&self, call: &ToolCall, text: &str, is_error: bool) -> (ToolResult, Label) {
        let result = ToolResult {
            call_id: call.id.clone(),
            content: vec![Content::text(mark::plain(text))],
            is_error,
        };
        // A note of ours, but it may repeat what the model wrote into the call: never better than the model's words.
        (result, Label::model(self.conversation.tainted))
    }

    fn push(&mut self, turn: Turn, labels: &[Label]) {
        let json = serde_json::to_string(&turn).expect("turns are plain data");
        let labels = serde_json::to_string(labels).expect("labels are plain data");
        self.thought.unstored.push((json, labels));
        self.turns.push(turn);
    }

    /// Stores what is not stored yet: before a call runs, and after it ran.
    async fn store(&mut self) -> Result<(), StoreError> {
        let unstored = std::mem::take(&mut self.thought.unstored);
        if unstored.is_empty() {
            return Ok(());
        }
        let (lane, row) = (self.lane.clone(), self.row);
        self.engine
            .store
            .write(move |tx| {
                let session = history::open(tx, lane.bot.as_str(), lane.chat.0, lane.topic)?;
                unstored.iter().try_for_each(|(turn, labels)| history::append(tx, session, row, turn, labels))
            })
            .await
    }

    fn say(&mut self, outcome: &'static str, text: String) -> Result<(), StoreError> {
        (self.thought.outcome, self.thought.text) = (outcome, text);
        Ok(())
    }

    fn fail(&mut self, outcome: &'static str, text: String) -> Result<(), StoreError> {
        self.thought.failed = true;
        // The conversation goes on after a failure; the model should know that there was one.
        self.push(
            Turn::Assistant { source: None, parts: vec![Part::Text { text: format!("({text})") }] },
            &[Label::model(false)],
        );
        self.say(outcome, text)
    }

    /// What had an effect and was cut off may have happened: chat, owner and model are told.
    async fn stopped(&mut self) -> Result<(), StoreError> {
        self.thought.stopped = true;
        let row = self.row;
        let tools = self.engine.store.write(move |tx| calls::stopped(tx, row, now())).await?;
        let reads = |tool: &String| {
            self.engine.catalog.find(tool).is_some_and(|found| found.tool.effect == Effect::Read)
        };
        let effects: Vec<String> = tools.into_iter().filter(|tool| !reads(tool)).collect();
        let (mut said, mut text) = (String::new(), "(The user stopped this answer.)".to_owned());
        if !effects.is_empty() {
            warn!(row, tools = ?effects, "stopped while it ran: it may have happened");
            said = format!("{} was stopped while it ran. It may have happened.", effects.join(", "));
            text = format!("(The user stopped this answer. {said})");
            if !self.engine.access().owners().any(|owner| owner.0 == self.lane.chat.0) {
                super::owner::tell(self.engine, self.lane, format!("In chat {}: {said}", self.lane.chat))
                    .await?;
            }
        }
        self.push(Turn::Assistant { source: None, parts: vec![Part::Text { text }] }, &[Label::model(false)]);
        self.say("stopped", said)
    }
}

/// What the ids of all calls of a message begin with.
pub fn calls_of(row: i64) -> String {
    format!("{row}-")
}

fn has_calls(turn: &Turn) -> bool {
    matches!(turn, Turn::Assistant { parts, .. } if parts.iter().any(|part| matches!(part, Part::ToolCall(_))))
}
