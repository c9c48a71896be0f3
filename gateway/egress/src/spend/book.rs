//! The sums in memory: what was spent and what is reserved, for each cap of the present day and month. Every decision is
//! made here under one lock, so that no two calls can pass a cap together. Never waits, and touches no file but the slots.

mod no;
mod shown;

use std::collections::{HashMap, HashSet};

use openclaw_wire::{
    config::UtcOffset,
    egress::{Refusal, RefusalKind},
    money::Usd,
    spend::{Alert, AlertKind, CapId, CapState, Raise, Span, Used, Whose, is_near},
};
use smol_str::SmolStr;

use super::{
    caps::Caps,
    period::Day,
    slots::{Account, Record, Slots},
};
use crate::refuse::refusal;

/// Names that are told apart in a month; chats beyond share one, so that memory and disk stay bounded. Keys and skills are
/// the operator's, and as many as he made.
pub const NAMES: usize = 4096;
/// Their name.
pub const OTHERS: &str = "(others)";
/// Room that a start keeps below `high`, so that its first call need not wait for the disk.
pub const FIRST: Usd = Usd::nano(100_000_000);
/// Calls that cost nothing and wait for a disk that takes nothing; more are not counted.
const MOST_FREE: usize = 10_000;
const SPANS: [Span; 2] = [Span::Day, Span::Month];

/// Sums of a day and of its month.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// What was spent.
    pub spent: [Usd; 2],
    /// What calls under way may cost.
    pub reserved: [Usd; 2],
}

/// What was read back of the present day and month.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What was spent, by whom.
    pub spent: HashMap<Whose, [Usd; 2]>,
    /// What may have been spent, by nobody knows whom: it counts for everybody.
    pub unknown: [Usd; 2],
    /// Raised caps: how often, and by how much.
    pub raised: HashMap<CapId, (u32, Usd)>,
    /// Alerts of these periods, whether or not somebody has seen them.
    pub alerts: Vec<(Alert, bool)>,
}

/// What was found at the start.
#[derive(Debug)]
pub struct Begun {
    /// All that was ever spent.
    pub settled: Usd,
    /// The mark on the disk.
    pub high: Usd,
    /// Ids of this start's calls begin here.
    pub next_id: u64,
    /// The sums of the present day and month.
    pub loaded: Loaded,
}

/// A call that is under way.
#[derive(Debug)]
struct Open {
    record: Record,
    month: Day,
}

/// A place in the book that a call holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// `None` for a call that costs nothing.
    place: Option<usize>,
}

/// What becomes of a wish to spend.
pub enum Decision {
    /// It is reserved, and written down.
    Reserved(Ticket),
    /// It is refused.
    Refused(Box<Refusal>),
    /// The ledger has to be written first.
    Wait,
}

/// What a commit carries to the disk.
#[derive(Debug, Default)]
pub struct Batch {
    /// Calls that are over, with their places.
    pub over: Vec<(Option<usize>, Record)>,
    /// Alerts that are new.
    pub alerts: Vec<Alert>,
    /// Alerts that somebody has seen.
    pub seen: Vec<(CapId, AlertKind, u32)>,
    /// Caps that were raised: how often by now, and by how much.
    pub raised: Vec<(CapId, u32, Usd)>,
    /// All that was ever spent.
    pub settled: Usd,
    /// More than was ever sent.
    pub high: Usd,
    /// The day whose sums are wanted.
    pub roll: Option<Day>,
}

/// The book.
pub struct Book {
    caps: Caps,
    offset: UtcOffset,
    slots: Slots,
    day: Day,
    month: Day,
    tallies: HashMap<Whose, Tally>,
    unknown: [Usd; 2],
    raised: HashMap<CapId, (u32, Usd)>,
    told: HashSet<(CapId, AlertKind, u32)>,
    open: Vec<Option<Open>>,
    free: Vec<usize>,
    /// All that was ever spent, and all that is reserved now.
    settled: Usd,
    reserved: Usd,
    /// INVARIANT: on the disk stands at least this, and `settled` plus `reserved` never pass it. After a loss of power
    /// whatever is missing up to it counts as spent.
    high: Usd,
    /// What waits for more room below `high`.
    wanted: Usd,
    /// The dearest call since the last commit: so much room is kept.
    dearest: Usd,
    next_id: u64,
    /// For the next commit.
    batch: Batch,
    /// Alerts on the disk that nobody has seen.
    alerts: Vec<Alert>,
    /// Why the last commit failed.
    broken: Option<String>,
}

impl Book {
    /// On the sums that were read back.
    pub fn new(caps: Caps, offset: UtcOffset, slots: Slots, day: Day, begun: Begun) -> Self {
        let Begun { settled, high, next_id, loaded } = begun;
        let mut book = Self {
            caps,
            offset,
            slots,
            day,
            month: day.month().0,
            tallies: HashMap::new(),
            unknown: [Usd::ZERO; 2],
            raised: HashMap::new(),
            told: HashSet::new(),
            open: Vec::new(),
            free: Vec::new(),
            settled,
            reserved: Usd::ZERO,
            high,
            wanted: Usd::ZERO,
            dearest: FIRST,
            next_id,
            batch: Batch::default(),
            alerts: Vec::new(),
            broken: None,
        };
        book.turn_to(day, loaded);
        book
    }

    /// Reserves the most that a call can cost, or says why not.
    pub fn reserve(&mut self, who: &Account, most: Usd) -> Decision {
        if most == Usd::ZERO {
            return Decision::Reserved(Ticket { place: None });
        }
        let today = Day::now(self.offset);
        if today != self.day {
            self.batch.roll = Some(today);
            return self.wait();
        }
        let who = self.told_apart(who);
        let whose = whose(&who);
        for (one, span) in whose.iter().flat_map(|one| SPANS.map(|span| (one, span))) {
            let Some(sums) = self.sums(one, span) else { continue };
            if sums.spent.plus(sums.reserved).plus(most) > sums.limit {
                let state = self.shown(one, span, &sums);
                self.tell(AlertKind::Reached, state.clone());
                return Decision::Refused(Box::new(no::room(&state, most)));
            }
        }
        let total = self.settled.plus(self.reserved).plus(most);
        if total > self.high {
            self.wanted = self.wanted.plus(most);
            return self.wait();
        }
        let place = self.free.pop().unwrap_or(self.open.len());
        let used = Used { cost: most, ..Used::default() };
        let record = Record { id: self.next_id, day: self.day.0, who, used, over: false };
        if let Err(error) = self.slots.write(place, &record) {
            self.free.push(place);
            return Decision::Refused(no::ledger(&error.to_string()));
        }
        self.next_id += 1;
        if place == self.open.len() {
            self.open.push(None);
        }
        self.open[place] = Some(Open { record, month: self.month });
        self.reserved = self.reserved.plus(most);
        self.dearest = self.dearest.max(most);
        for one in whose {
            let tally = self.tallies.entry(one).or_default();
            tally.reserved = tally.reserved.map(|sum| sum.plus(most));
        }
        Decision::Reserved(Ticket { place: Some(place) })
    }

    /// A call is over. `who` counts for calls that cost nothing; the others are on record.
    pub fn settle(&mut self, ticket: Ticket, who: &Account, used: Used) {
        let Some((place, Open { record, month })) =
            ticket.place.and_then(|place| Some((place, self.open.get_mut(place)?.take()?)))
        else {
            if self.batch.over.len() < MOST_FREE {
                let who = self.told_apart(who);
                for one in whose(&who) {
                    self.tallies.entry(one).or_default();
                }
                let record = Record { id: 0, day: Day::now(self.offset).0, who, used, over: true };
                self.batch.over.push((None, record));
            }
            return;
        };
        let most = record.used.cost;
        let record = Record { used, over: true, ..record };
        // Without it the call counts with its most after a crash.
        if let Err(error) = self.slots.write(place, &record) {
            tracing::warn!(%error, "write down what a call has cost");
        }
        self.reserved = self.reserved.minus(most);
        self.settled = self.settled.plus(used.cost);
        let here = [record.day() == self.day, month == self.month];
        for one in whose(&record.who) {
            let tally = self.tallies.entry(one.clone()).or_default();
            for at in (0..2).filter(|at| here[*at]) {
                tally.reserved[at] = tally.reserved[at].minus(most);
                tally.spent[at] = tally.spent[at].plus(used.cost);
            }
            self.tell_if_near(&one);
        }
        self.batch.over.push((Some(place), record));
    }

    /// Whether a commit should not wait for company.
    pub fn is_urgent(&self) -> bool {
        let batch = &self.batch;
        self.wanted > Usd::ZERO
            || batch.roll.is_some()
            || !batch.alerts.is_empty()
            || !batch.raised.is_empty()
            // The next calls find room without waiting for it.
            || self.settled.plus(self.reserved).plus(self.dearest) > self.high
    }

    /// Changes that wait for a commit.
    pub fn waiting(&self) -> usize {
        self.batch.over.len() + self.batch.seen.len() + usize::from(self.is_urgent())
    }

    /// What the next commit carries. Until it is done, no call may pass the lower of the two marks.
    pub fn take(&mut self, ends: bool) -> Batch {
        let total = self.settled.plus(self.reserved);
        // So much more than is known to be needed: after a loss of power it counts as spent. At an end there is no need.
        let room = if ends { Usd::ZERO } else { self.wanted.plus(self.dearest.times(2)) };
        let high = total.plus(room);
        self.dearest = Usd::nano(self.dearest.as_nano() / 2);
        self.high = self.high.min(high);
        Batch { settled: self.settled, high, ..std::mem::take(&mut self.batch) }
    }

    /// The commit is done.
    pub fn committed(&mut self, batch: Batch, loaded: Option<(Day, Loaded)>) {
        self.broken = None;
        self.high = batch.high;
        self.wanted = Usd::ZERO;
        self.free.extend(batch.over.iter().filter_map(|(place, _)| *place));
        for (cap, times, added) in batch.raised {
            self.raised.insert(cap, (times, added));
        }
        self.alerts.extend(batch.alerts);
        if let Some((day, loaded)) = loaded {
            self.turn_to(day, loaded);
        }
    }

    /// The commit failed: everything waits for the next.
    pub fn failed(&mut self, mut batch: Batch, error: String) {
        self.broken = Some(error);
        self.wanted = Usd::ZERO;
        let newer = std::mem::take(&mut self.batch);
        batch.over.extend(newer.over);
        batch.alerts.extend(newer.alerts);
        batch.seen.extend(newer.seen);
        // Whoever waits for these is told, and may ask again.
        (batch.raised, batch.roll) = (newer.raised, newer.roll);
        self.batch = batch;
    }

    /// Why nothing can be written, if so.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Raises a cap by a step, if it still stands as the owner saw it. `None` until a commit has written it; the cap when it
    /// stands otherwise by now, on the disk.
    pub fn raise(&mut self, wish: &Raise) -> Result<Option<CapState>, Refusal> {
        let cap = &wish.cap;
        let Some(state) = self.state(&cap.whose, cap.span).filter(|state| state.cap.period == cap.period)
        else {
            let why = format!("there is no limit for {} in {}", cap.whose, crate::refuse::shown(&cap.period));
            return Err(refusal(RefusalKind::BadRequest, why, "its day or month is over"));
        };
        if state.raised != wish.raised {
            return Ok(Some(state));
        }
        if self.batch.raised.iter().any(|(other, ..)| other == cap) {
            return Ok(None);
        }
        let base = self.caps.limit(&cap.whose, cap.span).unwrap_or_default();
        let added = state.limit.minus(base);
        let step = self.caps.step(base, added);
        if step == Usd::ZERO {
            let why =
                format!("the limit for {} is at the operator's ceiling, {}", cap.whose, state.limit.shown());
            let mend = "the operator sets it in openclaw.toml: [spend] or [[cap]]";
            return Err(refusal(RefusalKind::CapReached, why, mend));
        }
        // While a batch with the same is on its way to the disk, the next one writes it again: the same number.
        self.batch.raised.push((cap.clone(), state.raised + 1, added.plus(step)));
        Ok(None)
    }

    /// Alerts on the disk that nobody has seen.
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// Somebody has seen an alert.
    pub fn seen(&mut self, seen: &Alert) {
        let before = self.alerts.len();
        self.alerts.retain(|alert| key(alert) != key(seen));
        if self.alerts.len() < before {
            self.batch.seen.push(key(seen));
        }
    }

    fn turn_to(&mut self, day: Day, loaded: Loaded) {
        (self.day, self.month, self.unknown, self.raised) =
            (day, day.month().0, loaded.unknown, loaded.raised);
        self.tallies =
            loaded.spent.into_iter().map(|(one, spent)| (one, Tally { spent, ..Tally::default() })).collect();
        // What is under way, and what was settled while the sums were read.
        for open in self.open.iter().flatten() {
            let (here, sum) = ([open.record.day() == day, open.month == self.month], open.record.used.cost);
            for one in whose(&open.record.who) {
                let tally = self.tallies.entry(one).or_default();
                (0..2)
                    .filter(|at| here[*at])
                    .for_each(|at| tally.reserved[at] = tally.reserved[at].plus(sum));
            }
        }
        for (_, record) in &self.batch.over {
            let (here, sum) = ([record.day() == day, record.day().month().0 == self.month], record.used.cost);
            for one in whose(&record.who) {
                let tally = self.tallies.entry(one).or_default();
                (0..2).filter(|at| here[*at]).for_each(|at| tally.spent[at] = tally.spent[at].plus(sum));
            }
        }
        self.told = self.batch.alerts.iter().map(key).collect();
        for (alert, seen) in loaded.alerts {
            self.told.insert(key(&alert));
            if !seen && !self.alerts.contains(&alert) {
                self.alerts.push(alert);
            }
        }
        for one in self.tallies.keys().cloned().collect::<Vec<_>>() {
            self.tell_if_near(&one);
        }
    }

    fn tell_if_near(&mut self, whose: &Whose) {
        for span in SPANS {
            let near = |sums: &Sums| sums.spent > Usd::ZERO && is_near(sums.spent, sums.limit);
            if let Some(sums) = self.sums(whose, span).filter(near) {
                self.tell(AlertKind::Near, self.shown(whose, span, &sums));
            }
        }
    }

    /// Once for each cap, period and kind; a cap that was raised can be reached again.
    fn tell(&mut self, kind: AlertKind, state: CapState) {
        let alert = Alert { kind, state };
        if self.told.insert(key(&alert)) {
            self.batch.alerts.push(alert);
        }
    }

    /// As it goes into the book and into every record: a gateway that was taken over can name any chat.
    fn told_apart(&self, who: &Account) -> Account {
        let mut who = who.clone();
        let known = || self.tallies.contains_key(&Whose::Chat(who.chat.clone()));
        if self.tallies.len() >= NAMES && !who.chat.is_empty() && !known() {
            who.chat = SmolStr::new_static(OTHERS);
        }
        who
    }

    /// While nothing can be written nobody waits; the writer tries again.
    fn wait(&self) -> Decision {
        self.broken.as_deref().map_or(Decision::Wait, |why| Decision::Refused(no::ledger(why)))
    }

    /// `None` without a limit.
    fn sums(&self, whose: &Whose, span: Span) -> Option<Sums> {
        let base = self.caps.limit(whose, span)?;
        let at = usize::from(span == Span::Month);
        let tally = self.tallies.get(whose).copied().unwrap_or_default();
        let everybodys = if *whose == Whose::All { Usd::ZERO } else { self.unknown[at] };
        let (raised, added) = match self.raised.is_empty() {
            true => Default::default(),
            false => self.raised.get(&self.id(whose, span)).copied().unwrap_or_default(),
        };
        let (spent, reserved) = (tally.spent[at].plus(everybodys), tally.reserved[at]);
        Some(Sums { base, limit: base.plus(added), spent, reserved, raised })
    }

    fn shown(&self, whose: &Whose, span: Span, sums: &Sums) -> CapState {
        CapState {
            cap: self.id(whose, span),
            spent: sums.spent,
            reserved: sums.reserved,
            limit: sums.limit,
            // An amount that was raised under another configuration stays.
            ceiling: self.caps.ceiling(sums.base).max(sums.limit),
            next: sums.limit.plus(self.caps.step(sums.base, sums.limit.minus(sums.base))),
            raised: sums.raised,
        }
    }

    fn id(&self, whose: &Whose, span: Span) -> CapId {
        CapId { whose: whose.clone(), span, period: self.day.name(span) }
    }
}

/// A cap in numbers.
#[derive(Debug, Clone, Copy)]
struct Sums {
    /// What the configuration says.
    base: Usd,
    limit: Usd,
    spent: Usd,
    reserved: Usd,
    raised: u32,
}

fn key(alert: &Alert) -> (CapId, AlertKind, u32) {
    let raised = if alert.kind == AlertKind::Near { 0 } else { alert.state.raised };
    (alert.state.cap.clone(), alert.kind, raised)
}

fn whose(who: &Account) -> Vec<Whose> {
    let named = [
        (!who.key.is_empty()).then(|| Whose::Key(who.key.clone())),
        (!who.chat.is_empty()).then(|| Whose::Chat(who.chat.clone())),
        (!who.skill.is_empty()).then(|| Whose::Skill(who.skill.clone())),
    ];
    std::iter::once(Whose::All).chain(named.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests;
