//! The way from the book to the disk: one thread that writes what has come together, and the calls that wait for it only
//! when there is no room below the mark. A call's most is reserved before it is sent, and what is not settled stays.

use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use openclaw_wire::{
    config::Config,
    egress::{Refusal, RefusalKind},
    money::Usd,
    spend::{Alert, CapState, Raise, Report, Used},
};
use tokio::sync::{oneshot, watch};

use super::{
    book::{Book, Decision, Ticket},
    caps::Caps,
    name,
    period::Day,
    prices::{Amounts, Prices},
    reported::Toll,
    slots::{Account, Slots},
    store::Store,
};
use crate::refuse::{refusal, shown};

/// How long what is over waits for company on its way to the disk. A crash loses none of it: it stands in the slots.
const TOGETHER: Duration = Duration::from_secs(1);
/// So much does not wait.
const MANY: usize = 256;
/// Pause after a commit that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Why the ledger can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A file or folder.
    #[error("open the ledger {path}: {source}\n  mend: check the folder, its owner and the free space")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database.
    #[error("open the ledger {path}: {source}\n  mend: `openclaw doctor` looks at the disk")]
    Database {
        /// Which.
        path: std::path::PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// The ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

/// What a skill asks of whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Name of the key that goes with it; empty for none.
    pub key: &'a str,
    /// The chat; empty for none.
    pub chat: &'a str,
    /// The skill.
    pub skill: &'a str,
    /// Where to.
    pub host: &'a str,
    /// The path there.
    pub path: &'a str,
    /// Bytes that it sends at most.
    pub sent: u64,
    /// The host is the operator's own.
    pub private: bool,
}

struct Shared {
    desk: Mutex<Desk>,
    /// Wakes the writer.
    work: Condvar,
    /// Counts commits, those that failed too.
    commits: watch::Sender<u64>,
    config: Config,
    /// For requests of skills.
    prices: Prices,
}

struct Desk {
    book: Book,
    reports: Vec<oneshot::Sender<Result<Report, Refusal>>>,
    hushed: bool,
    ends: bool,
    ended: bool,
}

/// An opened ledger whose writer does not run yet: a process locks itself down while it has one thread.
pub struct Prepared {
    shared: Arc<Shared>,
    store: Store,
}

impl Ledger {
    /// Opens or makes the ledger and takes over what a former process left in it.
    pub fn prepare(path: &Path, config: &Config) -> Result<Prepared, LedgerError> {
        let file = |source| LedgerError::File { path: path.to_owned(), source };
        let database = |source| LedgerError::Database { path: path.to_owned(), source };
        let (slots, left) = Slots::open(&path.with_extension("calls")).map_err(file)?;
        let mut store = Store::open(path).map_err(database)?;
        let today = Day::now(config.spend.utc_offset);
        // The page cache, and with it the slots, outlives processes but not the kernel.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let begun = store.begin(left, boot.as_deref().map(str::trim), today).map_err(database)?;
        slots.clear().map_err(file)?;
        let book = Book::new(Caps::new(config), config.spend.utc_offset, slots, today, begun);
        let desk = Mutex::new(Desk { book, reports: Vec::new(), hushed: false, ends: false, ended: false });
        let commits = watch::Sender::new(0);
        let shared = Shared {
            desk,
            work: Condvar::new(),
            commits,
            config: config.clone(),
            prices: Prices::new(config),
        };
        Ok(Prepared { shared: Arc::new(shared), store })
    }

    /// Reserves the most that a call can cost. It may be sent when this has returned, and not before; dropping the
    /// reservation without settling it leaves the most as its cost.
    pub async fn reserve(&self, who: Account, most: Usd) -> Result<Reservation, Refusal> {
        let mut commits = self.shared.commits.subscribe();
        loop {
            let decision = {
                let mut desk = self.shared.desk();
                commits.borrow_and_update();
                let decision = desk.book.reserve(&who, most);
                if desk.book.is_urgent() {
                    self.shared.work.notify_one();
                }
                decision
            };
            match decision {
                Decision::Reserved(ticket) => {
                    return Ok(Reservation { ledger: self.clone(), ticket: Some(ticket), who, most });
                }
                Decision::Refused(refused) => return Err(*refused),
                Decision::Wait => commits.changed().await.map_err(|_| stopped())?,
            }
        }
    }

    /// Reserves the price of a skill's request, on the account of the skill, its chat and the key that goes with it.
    /// `None`: it has no `[[price]]` and costs nothing; with a key it must have one, but at the operator's own servers.
    pub async fn admit_call(&self, asked: Asked<'_>) -> Result<Option<Toll>, Refusal> {
        let Asked { key, chat, skill, host, path, sent, private } = asked;
        let Some(tariff) = self.shared.prices.of_request(host, path) else {
            return match private || key.is_empty() {
                true => Ok(None),
                false => Err(no_price(host, path)),
            };
        };
        let day = self.today();
        let most = tariff.most_of_request(day, sent);
        let [key, model, chat, skill] = [key, host, chat, skill].map(name);
        let reservation = self.reserve(Account { key, model, chat, skill }, most).await?;
        Ok(Some(Toll { reservation, tariff, day }))
    }

    /// Whether any request of a skill to this host costs something.
    pub fn costs(&self, host: &str) -> bool {
        self.shared.prices.costs(host)
    }

    /// The present day.
    pub fn today(&self) -> Day {
        Day::now(self.shared.config.spend.utc_offset)
    }

    /// What was spent, as it stands on the disk after this moment's commit.
    pub async fn report(&self) -> Result<Report, Refusal> {
        let (tell, told) = oneshot::channel();
        {
            let mut desk = self.shared.desk();
            desk.reports.push(tell);
            self.shared.work.notify_one();
        }
        told.await.map_err(|_| stopped())?
    }

    /// The caps that a status shows, as they stand.
    pub fn to_watch(&self) -> Vec<CapState> {
        self.shared.desk().book.to_watch()
    }

    /// Alerts that nobody has acknowledged; waits for one as long as it is polled, and not beyond [`Ledger::hush`].
    pub async fn alerts(&self) -> Vec<Alert> {
        let mut commits = self.shared.commits.subscribe();
        loop {
            commits.borrow_and_update();
            let (alerts, hushed) = {
                let desk = self.shared.desk();
                (desk.book.alerts().to_vec(), desk.hushed)
            };
            if hushed || !alerts.is_empty() || commits.changed().await.is_err() {
                return alerts;
            }
        }
    }

    /// A stop has begun: nobody waits for an alert any more.
    pub fn hush(&self) {
        self.shared.desk().hushed = true;
        self.shared.commits.send_modify(|_| ());
    }

    /// Somebody has seen an alert. After a crash it may come again.
    pub fn seen(&self, alert: Alert) {
        let mut desk = self.shared.desk();
        desk.book.seen(&alert);
        self.shared.work.notify_one();
    }

    /// Raises a cap by a step and gives it back as it is on the disk.
    pub async fn raise(&self, wish: &Raise) -> Result<CapState, Refusal> {
        let mut commits = self.shared.commits.subscribe();
        let mut waited = false;
        loop {
            {
                let mut desk = self.shared.desk();
                commits.borrow_and_update();
                if let (true, Some(why)) = (waited, desk.book.broken()) {
                    return Err(refusal(
                        RefusalKind::NoLedger,
                        format!("write down the raised limit: {why}"),
                        "free space on the disk of the state folder, then press again",
                    ));
                }
                if let Some(state) = desk.book.raise(wish)? {
                    return Ok(state);
                }
                self.shared.work.notify_one();
            }
            // It may be that of a batch that was taken before the wish: then the next one carries it.
            commits.changed().await.map_err(|_| stopped())?;
            waited = true;
        }
    }

    /// Writes everything and ends the writer. Calls that are still under way count with their most.
    pub fn end(&self) {
        let mut desk = self.shared.desk();
        desk.ends = true;
        self.shared.work.notify_one();
        let until = Instant::now() + Duration::from_secs(5);
        while !desk.ended && Instant::now() < until {
            desk = self
                .shared
                .work
                .wait_timeout(desk, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Prepared {
    /// Starts the writer's thread.
    pub fn start(self) -> io::Result<Ledger> {
        let shared = self.shared.clone();
        thread::Builder::new().name("ledger".into()).spawn(move || shared.write(self.store))?;
        Ok(Ledger { shared: self.shared })
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, mut store: Store) {
        let mut desk = self.desk();
        loop {
            // Nothing to do, then something that waits for company, then too long or too much.
            let mut since = None;
            while !(desk.ends
                || desk.book.is_urgent()
                || !desk.reports.is_empty()
                || desk.book.waiting() >= MANY)
            {
                let waited = since.map(|since: Instant| since.elapsed());
                desk = match waited {
                    None if desk.book.waiting() == 0 => {
                        self.work.wait(desk).unwrap_or_else(PoisonError::into_inner)
                    }
                    None => {
                        since = Some(Instant::now());
                        desk
                    }
                    Some(waited) if waited >= TOGETHER => break,
                    Some(waited) => {
                        let timeout = self.work.wait_timeout(desk, TOGETHER - waited);
                        timeout.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
            let ends = desk.ends;
            let batch = desk.book.take(ends);
            let reports = std::mem::take(&mut desk.reports);
            drop(desk);

            let done = store.commit(&batch);
            let report = (!reports.is_empty()).then(|| store.report(Day::now(self.config.spend.utc_offset)));
            desk = self.desk();
            match done {
                Ok(loaded) => desk.book.committed(batch, loaded),
                Err(error) => {
                    tracing::error!(%error, "the ledger can't be written; nothing that costs money is sent");
                    desk.book.failed(batch, error.to_string());
                }
            }
            self.commits.send_modify(|count| *count = count.wrapping_add(1));
            match report {
                Some(Ok(report)) => {
                    let caps = desk.book.states();
                    for tell in reports {
                        let _gone = tell.send(Ok(Report { caps: caps.clone(), ..report.clone() }));
                    }
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "read the ledger");
                    for tell in reports {
                        let _gone = tell.send(Err(unread(&error)));
                    }
                }
                None => {}
            }
            if ends {
                desk.ended = true;
                self.work.notify_all();
                return;
            }
            if desk.book.broken().is_some() {
                drop(desk);
                thread::sleep(AGAIN);
                desk = self.desk();
            }
        }
    }
}

/// Free only on purpose.
fn no_price(host: &str, path: &str) -> Refusal {
    let place = shown(path);
    let mend = format!(
        "add its price in dollars (0 if it costs nothing) to openclaw.toml and start again:\n\
         [[price]]\nhost = \"{host}\"\npath = {place}\ncall = "
    );
    refusal(
        RefusalKind::NotPriced,
        format!("the price of a request with a key to {host} at {place} is not known"),
        mend,
    )
}

fn unread(error: &rusqlite::Error) -> Refusal {
    refusal(
        RefusalKind::NoLedger,
        format!("read what was spent: {error}"),
        "ask again; `openclaw doctor` looks at the disk",
    )
}

fn stopped() -> Refusal {
    refusal(RefusalKind::NoLedger, "the ledger has stopped", "start the appliance again")
}

/// The most that a call can cost, reserved. What is not settled costs its most.
pub struct Reservation {
    ledger: Ledger,
    ticket: Option<Ticket>,
    who: Account,
    most: Usd,
}

impl Reservation {
    /// The call is over: what it really cost, and how it ended. `used.calls` is set here.
    pub fn settle(mut self, used: Used) {
        self.over(used);
    }

    fn over(&mut self, used: Used) {
        let Some(ticket) = self.ticket.take() else { return };
        let used = Used { calls: 1, ..used };
        if used.cost > self.most {
            tracing::warn!(cost = %used.cost, most = %self.most, model = self.who.model.as_str(), "a call cost more than it could");
        }
        let mut desk = self.ledger.shared.desk();
        let first = desk.book.waiting() == 0;
        desk.book.settle(ticket, &self.who, used);
        // The writer sleeps while nothing waits, and wakes by itself once something does.
        if first || desk.book.is_urgent() || desk.book.waiting() == MANY {
            self.ledger.shared.work.notify_one();
        }
    }
}

impl Reservation {
    /// A skill's request is over. One that was not sent, or that the far end refused, costs nothing.
    pub fn settle_call(self, sent: bool) {
        let used = match sent {
            true => Used { cost: self.most, ..Used::default() },
            false => Used { failed: 1, ..Used::default() },
        };
        self.settle(used);
    }

    /// A skill's request is over, and its answer said what it used.
    pub(super) fn settle_reported(self, used: &Amounts, cost: Usd) {
        self.settle(Used { input: used.input, output: used.output, cost, ..Used::default() });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.over(Used { cut: 1, cost: self.most, ..Used::default() });
    }
}

#[cfg(test)]
mod tests;
