//! Asks a model: the conversation in, words and tool calls out, streamed. Repeats what may pass, moves on to the next
//! configured model when one is exhausted. Holds no key, opens no socket, runs no tool, and logs no word of a message.

mod anthropic;
mod call;
mod draft;
mod fault;
pub mod message;
mod openai;
mod pairs;
pub mod reading;
mod rehearsal;
mod rest;
mod retry;
pub mod sse;
mod wire;
mod written;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use openclaw_wire::{config::Api, egress::ModelRoute, id::ModelName};
use tokio_util::sync::CancellationToken;

pub use call::Patience;
use fault::Fault;
pub use fault::{Failure, Kind, ModelError};
use message::{Part, Prompt, Source, Stop, ToolCall, Turn, Usage};
use openai::Dialect;
use rest::Rests;

use crate::egress::{Egress, EgressError};

/// After this time the list of models is asked for again: the operator may have added a key.
const LIST_AGE: Duration = Duration::from_secs(60);

/// What happens while a model answers. Only text is for the user's eyes before [`Models::ask`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// More of the text.
    Text(&'a str),
    /// The model reasons.
    Thinking,
    /// It is writing a call of the tool with this name, which need not exist.
    ToolCall(&'a str),
    /// What was streamed so far is void: the try failed and another one begins. Throw the draft away.
    Restart,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub stop: Stop,
    /// All tokens, those of failed tries included.
    pub usage: Usage,
    /// Who answered.
    pub source: Source,
    /// Models that were asked before and did not answer: tell the operator where [`Kind::for_operator`].
    pub failures: Vec<Failure>,
}

impl Answer {
    /// The words for the user; empty when there are only calls.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text { text } | Part::Refusal { text } => Some(text.as_str()),
            Part::Thinking { .. } | Part::ToolCall(_) | Part::Opaque { .. } => None,
        });
        texts.collect()
    }

    /// The calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        pairs::calls(&self.parts)
    }

    /// As a turn of the conversation.
    pub fn into_turn(self) -> Turn {
        Turn::Assistant { source: Some(self.source), parts: self.parts }
    }
}

/// The models that egress can reach, in the operator's order of preference. Cheap to clone.
#[derive(Clone)]
pub struct Models {
    egress: Egress,
    patience: Patience,
    /// On whose account: egress counts what a chat uses.
    chat: Option<Arc<str>>,
    known: Arc<Mutex<Known>>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Known {
    /// `None` until egress told it once.
    routes: Option<Arc<[ModelRoute]>>,
    at: Option<Instant>,
    dialects: HashMap<ModelName, Dialect>,
    rests: Rests,
}

impl Models {
    /// Knows no model yet; the first question asks egress for them.
    pub fn new(egress: Egress) -> Self {
        Self {
            egress,
            patience: Patience::default(),
            chat: None,
            known: Arc::default(),
            asking: Arc::default(),
        }
    }

    /// The same models, on the account of a chat: `bot/number`.
    pub fn on_account_of(&self, chat: &str) -> Self {
        Self { chat: Some(chat.into()), ..self.clone() }
    }

    /// With other bounds on waiting.
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The configured models, and behind them the rehearsal model, which can always be chosen.
    pub async fn list(&self) -> Result<Vec<ModelRoute>, EgressError> {
        let routes = self.routes().await?;
        let mut list = routes.to_vec();
        if !list.iter().any(|route| route.api == Api::Rehearsal) {
            list.push(rehearsal::route());
        }
        Ok(list)
    }

    /// Asks the chosen model, or the first; then the others in their order, if it can't answer; those that rest after a
    /// failure come last. An unknown choice counts as none. The rehearsal model answers only if it was chosen, is configured, or nothing else is.
    ///
    /// `on_event` is called as the answer streams. It must not block. Dropping the future, or `cancel`, ends the
    /// provider's work as well.
    pub async fn ask(
        &self,
        prompt: &Prompt,
        choice: Option<&ModelName>,
        cancel: &CancellationToken,
        on_event: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Answer, ModelError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ModelError::alone(Kind::Cancelled)),
            answer = self.ask_in_order(prompt, choice, on_event) => answer,
        }
    }

    async fn ask_in_order(
        &self,
        prompt: &Prompt,
        choice: Option<&ModelName>,
        on_event: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<Answer, ModelError> {
        let routes = self.routes().await.map_err(|error| {
            let fault = Fault::from(error);
            tracing::warn!(detail = fault.detail, "egress does not tell its models");
            ModelError::alone(fault.kind)
        })?;
        let mut usage = Usage::default();
        let mut failures = Vec::new();
        for route in self.rested_first(in_order(&routes, choice)) {
            if route.api == Api::Rehearsal {
                let reply = rehearsal::answer(prompt, &mut *on_event).await;
                return Ok(answer(&route, reply, usage, failures));
            }
            if let Some(problem) = &route.problem {
                failures.push(Failure {
                    detail: Some(problem.clone()),
                    ..failure(&route, Kind::Blocked.into(), 0)
                });
                continue;
            }
            match self.ask_one(&route, prompt, &mut usage, on_event).await {
                Ok(reply) => {
                    self.lock().rests.answered(&route.name);
                    return Ok(answer(&route, reply, usage, failures));
                }
                Err(failure) => {
                    self.lock().rests.failed(&route.name, failure.kind, Instant::now(), self.patience.rest);
                    let goes_on = failure.kind.moves_on();
                    failures.push(failure);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        Err(ModelError::new(failures, usage))
    }

    fn rested_first(&self, mut routes: Vec<ModelRoute>) -> Vec<ModelRoute> {
        let (known, now) = (self.lock(), Instant::now());
        routes.sort_by_key(|route| known.rests.rests(&route.name, now)); // Stable: else the order stays.
        routes
    }

    /// Asks one model until it answers or is not to be asked again.
    async fn ask_one(
        &self,
        route: &ModelRoute,
        prompt: &Prompt,
        usage: &mut Usage,
        on_event: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<call::Reply, Failure> {
        let mut tries = 0;
        let mut dialect = self.dialect(route);
        loop {
            tries += 1;
            let mut shown = false;
            let mut show = |event: Event<'_>| {
                shown |= matches!(event, Event::Text(_));
                on_event(event);
            };
            let tried = call::once(self, route, dialect, prompt, &mut show, usage).await;
            let fault = match tried {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            if shown {
                on_event(Event::Restart);
            }
            let other = fault.field.filter(|_| fault.kind == Kind::Rejected && tries <= 2);
            let pause = match other.and_then(|field| dialect.without(field)) {
                Some(learned) => {
                    dialect = learned;
                    self.lock().dialects.insert(route.name.clone(), learned);
                    Some(Duration::ZERO)
                }
                None => retry::pause(tries, fault.kind, fault.advice, retry::dice()),
            };
            tracing::warn!(
                model = route.name.as_str(),
                kind = ?fault.kind,
                status = fault.status,
                code = fault.code,
                request = fault.request,
                detail = fault.detail,
                tries,
                again_in_ms = pause.map(|pause| pause.as_millis() as u64),
                "the model did not answer"
            );
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failure(route, fault, tries)),
            }
        }
    }

    fn dialect(&self, route: &ModelRoute) -> Dialect {
        self.lock().dialects.get(&route.name).copied().unwrap_or_else(|| Dialect::of(route))
    }

    /// The list, at most [`LIST_AGE`] old if egress answers; one caller asks, the others go on with the old one.
    async fn routes(&self) -> Result<Arc<[ModelRoute]>, EgressError> {
        let old = {
            let known = self.lock();
            let fresh = known.at.is_some_and(|at| at.elapsed() < LIST_AGE);
            match &known.routes {
                Some(routes) if fresh => return Ok(routes.clone()),
                old => old.clone(),
            }
        };
        let _one = match (self.asking.try_lock(), &old) {
            (Ok(guard), _) => guard,
            (Err(_), Some(old)) => return Ok(old.clone()),
            (Err(_), None) => {
                let guard = self.asking.lock().await;
                if let Some(routes) = &self.lock().routes {
                    return Ok(routes.clone());
                }
                guard
            }
        };
        match (self.egress.status().await, old) {
            (Ok(status), _) => Ok(self.learn(status.models)),
            (Err(error), Some(old)) => {
                tracing::warn!(%error, "egress does not tell its models; the list of before is used");
                self.lock().at = Some(Instant::now());
                Ok(old)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Takes over what egress told.
    pub fn learn(&self, models: Vec<ModelRoute>) -> Arc<[ModelRoute]> {
        let routes: Arc<[ModelRoute]> = models.into();
        let mut known = self.lock();
        let old = known.routes.clone();
        // Another server may stand behind a name now.
        known.dialects.retain(|name, _| {
            let find = |routes: &[ModelRoute]| routes.iter().find(|route| route.name == *name).cloned();
            find(&routes) == old.as_deref().and_then(find)
        });
        known.routes = Some(routes.clone());
        known.at = Some(Instant::now());
        routes
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The chosen one first, then the others in the operator's order; the rehearsal model alone, or not at all.
fn in_order(routes: &[ModelRoute], choice: Option<&ModelName>) -> Vec<ModelRoute> {
    let rehearsal = rehearsal::route();
    if routes.is_empty() {
        return vec![rehearsal];
    }
    let chosen = choice.and_then(|name| routes.iter().find(|route| route.name == *name));
    match chosen {
        Some(chosen) if chosen.api == Api::Rehearsal => vec![chosen.clone()],
        None if choice == Some(&rehearsal.name) => vec![rehearsal],
        _ => {
            let others = routes.iter().filter(|route| Some(*route) != chosen);
            chosen.into_iter().chain(others).cloned().collect()
        }
    }
}

fn answer(route: &ModelRoute, reply: call::Reply, usage: Usage, failures: Vec<Failure>) -> Answer {
    let source = Source { route: route.name.clone(), api: route.api, model: route.model.clone() };
    Answer { parts: reply.parts, stop: reply.stop, usage, source, failures }
}

fn failure(route: &ModelRoute, fault: Fault, tries: u32) -> Failure {
    Failure {
        model: route.name.clone(),
        kind: fault.kind,
        status: fault.status,
        code: fault.code,
        request: fault.request,
        detail: fault.detail,
        tries,
    }
}
