//! Ten thousand calls that are all under way at the same moment, against a cap of one dollar, with a provider that fails, breaks
//! off and hangs up, and a program that is killed in the midst of it.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use openclaw_wire::money::Usd;
use rustix::process::Signal;

use crate::{
    passes_no_cap::{Mood, Provider, call, report, setup, usd},
    program::Egress,
};

/// Calls at the same moment.
const CALLS: usize = 10_000;
/// Of a thread that sends one call.
const STACK: usize = 256 << 10;

/// Opens when everybody is there.
#[derive(Default)]
struct Gate {
    here: Mutex<usize>,
    opened: Condvar,
    /// The first call that the provider sees is under way until the program was killed, however fast the others are.
    first: AtomicBool,
    killed: (Mutex<bool>, Condvar),
}

/// A program that is not killed in this time is not going to be, and the test says so.
const PATIENCE: Duration = Duration::from_secs(120);

impl Gate {
    fn arrive(&self) {
        *self.here.lock().expect("lock") += 1;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let here = self.here.lock().expect("lock");
        drop(self.opened.wait_while(here, |here| *here < CALLS).expect("lock"));
        if !self.first.swap(true, Ordering::SeqCst) {
            let killed = self.killed.0.lock().expect("lock");
            drop(self.killed.1.wait_timeout_while(killed, PATIENCE, |killed| !*killed).expect("lock"));
        }
    }

    fn killed(&self) {
        *self.killed.0.lock().expect("lock") = true;
        self.killed.1.notify_all();
    }
}

/// What became of them.
struct Tally {
    good: AtomicUsize,
    refused: AtomicUsize,
    other: AtomicUsize,
    lost: AtomicUsize,
}

/// All calls at once: the provider answers none before all have begun. The program is killed after so many good answers.
fn all_at_once(egress: &Egress, gate: &Gate, kill_after: Option<usize>) -> Tally {
    let zero = || AtomicUsize::new(0);
    let tally = Tally { good: zero(), refused: zero(), other: zero(), lost: zero() };
    thread::scope(|scope| {
        for number in 0..CALLS {
            let tally = &tally;
            let one = move || {
                gate.arrive();
                let kind = match call(egress, &format!("main/{}", number % 100)) {
                    Some(200) => &tally.good,
                    Some(402) => &tally.refused,
                    Some(_) => &tally.other,
                    None => &tally.lost,
                };
                let count = kind.fetch_add(1, Ordering::SeqCst) + 1;
                if std::ptr::eq(kind, &tally.good) && Some(count) == kill_after {
                    egress.child().signal(Signal::KILL).expect("signal");
                    gate.killed();
                }
            };
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, one).expect("a thread");
        }
    });
    tally
}

#[test]
fn ten_thousand_calls_under_way_at_once_pass_no_cap() {
    let gate = Arc::new(Gate::default());
    let opens = gate.clone();
    let provider = Provider::new(move |number| {
        opens.wait();
        match (number >> 40) % 20 {
            0 | 1 => Mood::Error,
            2 => Mood::Broken,
            3 => Mood::Silent,
            _ => Mood::Good,
        }
    });
    let caps = "[spend]\nday = 1\nmonth = 1\nkey_day = \"none\"\nkey_month = \"none\"\nchat_day = \"none\"\nchat_month = \"none\"\n";
    let egress = setup(&provider.far, caps).start();
    let killed = all_at_once(&egress, &gate, Some(20));
    let state = egress.end().1;
    let first = provider.counted();
    assert!(first <= usd("1"), "the provider counted {first}");
    assert!(killed.lost.load(Ordering::SeqCst) > 0, "it was killed in the midst of them");

    let egress = state.start();
    let ledger = report(&egress).today.total.cost;
    assert!(first <= ledger && ledger <= usd("1"), "provider {first}, ledger {ledger}");
    *gate.here.lock().expect("lock") = 0;
    let whole = all_at_once(&egress, &gate, None);
    let egress = egress.stop().start();
    let (report, counted) = (report(&egress), provider.counted());
    let ledger = report.today.total.cost;
    let [good, refused, other, lost] =
        [whole.good, whole.refused, whole.other, whole.lost].map(AtomicUsize::into_inner);
    eprintln!(
        "provider {first}, then {counted}, ledger {ledger}; {good} answered, {refused} refused, {other} failed, {lost} lost"
    );
    assert_eq!(good + refused + other + lost, CALLS);
    assert!(counted <= ledger && ledger <= usd("1"), "provider {counted}, ledger {ledger}");
    // What was under way when it was killed counts as spent, so that may have been all.
    let made = killed.good.into_inner() + good;
    assert!(made >= 20 && refused > 1000, "calls were made, and the cap was met: {made}, {refused}");
    let unknown: Usd =
        report.today.lines.iter().filter(|line| line.model.is_empty()).map(|line| line.used.cost).sum();
    assert_eq!(unknown, Usd::ZERO, "a kill loses no record of a call");
}
