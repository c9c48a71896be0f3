use std::collections::HashSet;

use openclaw_wire::{
    config::{Config, UtcOffset},
    money::Usd,
    spend::{Span, Used, Whose},
};

use super::{Account, Book, Caps, Day, Decision, Slots, Ticket};
use crate::spend::store::Store;

struct Desk {
    store: Store,
    book: Book,
    dir: tempfile::TempDir,
}

fn config() -> Config {
    Config::parse("[spend]\nday = 1\nmonth = 2\nchat_day = 'none'\nchat_month = 'none'", "t".as_ref())
        .expect("good")
}

/// As a process starts on what another one left, on a day, after the same or another start of the machine.
fn open(dir: tempfile::TempDir, boot: &str, day: Day) -> Desk {
    let (slots, left) = Slots::open(&dir.path().join("calls")).expect("slots");
    let mut store = Store::open(&dir.path().join("db")).expect("store");
    let begun = store.begin(left, Some(boot), day).expect("begins");
    slots.clear().expect("clears");
    let book = Book::new(Caps::new(&config()), UtcOffset::default(), slots, day, begun);
    Desk { store, book, dir }
}

fn today() -> Day {
    Day::now(UtcOffset::default())
}

fn cents(cents: u64) -> Usd {
    Usd::nano(cents * 10_000_000)
}

fn who(chat: &str) -> Account {
    Account { key: "K".into(), model: "m".into(), chat: chat.into(), ..Account::default() }
}

impl Desk {
    fn commit(&mut self) {
        let batch = self.book.take(false);
        let loaded = self.store.commit(&batch).expect("commits");
        self.book.committed(batch, loaded);
    }

    fn reserve(&mut self, chat: &str, most: Usd) -> Option<Ticket> {
        loop {
            match self.book.reserve(&who(chat), most) {
                Decision::Reserved(ticket) => return Some(ticket),
                Decision::Refused(_) => return None,
                Decision::Wait => self.commit(),
            }
        }
    }

    fn settle(&mut self, ticket: Ticket, cost: Usd) {
        self.book.settle(ticket, &who("x"), Used { calls: 1, cost, ..Used::default() });
    }

    /// Spent and reserved, of the day.
    fn sums(&self, whose: &Whose) -> (Usd, Usd) {
        self.book.state(whose, Span::Day).map(|state| (state.spent, state.reserved)).expect("a limit")
    }
}

#[test]
fn a_kill_loses_nothing_and_counts_nothing_twice() {
    let mut desk = open(tempfile::tempdir().expect("dir"), "boot", today());
    let (a, b, _under_way) =
        (desk.reserve("a", cents(10)), desk.reserve("b", cents(20)), desk.reserve("c", cents(30)));
    desk.settle(a.expect("fits"), cents(3));
    desk.commit();
    desk.settle(b.expect("fits"), cents(4));
    assert_eq!(desk.sums(&Whose::All), (cents(7), cents(30)));
    // Twice, as when it is killed again before the slots are cleared.
    let copy = std::fs::read(desk.dir.path().join("calls")).expect("the slots");
    let desk = open(desk.dir, "boot", today());
    assert_eq!(desk.sums(&Whose::All), (cents(37), Usd::ZERO));
    std::fs::write(desk.dir.path().join("calls"), copy).expect("the slots of before");
    let desk = open(desk.dir, "boot", today());
    assert_eq!(desk.sums(&Whose::All), (cents(37), Usd::ZERO));
    let used = desk.store.report(today()).expect("reads").today.total;
    assert_eq!((used.calls, used.cut, used.cost), (3, 1, cents(37)));
}

#[test]
fn after_a_loss_of_power_what_may_have_been_sent_counts_for_everybody() {
    let mut desk = open(tempfile::tempdir().expect("dir"), "boot", today());
    let mut sent = Usd::ZERO;
    for _ in 0..5 {
        let ticket = desk.reserve("a", cents(10)).expect("fits");
        desk.settle(ticket, cents(9));
        sent = sent.plus(cents(9));
    }
    // Everything that was not waited for is gone.
    std::fs::write(desk.dir.path().join("calls"), "").expect("the slots are lost");
    let desk = open(desk.dir, "another boot", today());
    let (spent, reserved) = desk.sums(&Whose::All);
    assert!(spent >= sent && spent <= cents(100) && reserved == Usd::ZERO, "{spent} after {sent}");
    let of_key = desk.sums(&Whose::Key("K".into())).0;
    assert_eq!(of_key, spent, "nobody knows whose it was");
    let lines = desk.store.report(today()).expect("reads").today.lines;
    assert!(lines.iter().any(|line| line.model.is_empty()), "{lines:?}");

    // After an orderly end nothing is missing, so nothing counts.
    let mut desk = desk;
    let batch = desk.book.take(true);
    desk.store.commit(&batch).expect("commits");
    let desk = open(desk.dir, "a third boot", today());
    assert_eq!(desk.sums(&Whose::All).0, spent);
}

#[test]
fn a_new_day_has_its_own_sums_and_the_month_goes_on() {
    let today = today();
    // The clock was a day behind when it started; on the first of a month that was another month.
    let mut desk = open(tempfile::tempdir().expect("dir"), "boot", Day(today.0 - 1));
    let yesterday = desk.book.day;
    let ticket = {
        // As if it had begun before midnight.
        let (most, place) = (cents(40), 0);
        let used = Used { cost: most, ..Used::default() };
        let record = super::Record { id: 1, day: yesterday.0, who: who("a"), used, over: false };
        desk.book.open.push(Some(super::Open { record, month: yesterday.month().0 }));
        desk.book.reserved = most;
        Ticket { place: Some(place) }
    };
    assert!(
        matches!(desk.book.reserve(&who("b"), cents(10)), Decision::Wait),
        "the sums of today are wanted"
    );
    let batch = desk.book.take(false);
    let loaded = desk.store.commit(&batch).expect("commits");
    // Settled between the reading and the turning.
    desk.settle(ticket, cents(25));
    desk.book.committed(batch, loaded);
    assert_eq!(desk.book.day, today);
    assert_eq!(desk.sums(&Whose::All), (Usd::ZERO, Usd::ZERO));
    let month = desk.book.state(&Whose::All, Span::Month).expect("a limit");
    let same = yesterday.month() == today.month();
    assert_eq!(month.spent, if same { cents(25) } else { Usd::ZERO });
    assert!(desk.reserve("b", cents(10)).is_some());
}

#[test]
fn while_nothing_can_be_written_nothing_is_sent_and_then_it_goes_on() {
    let mut desk = open(tempfile::tempdir().expect("dir"), "boot", today());
    let mut reserved = 0;
    let refused = loop {
        match desk.book.reserve(&who("a"), cents(10)) {
            Decision::Reserved(_) => reserved += 1,
            Decision::Refused(refused) => break refused,
            Decision::Wait => {
                let batch = desk.book.take(false);
                desk.book.failed(batch, "the disk is full".into());
            }
        }
    };
    assert_eq!(refused.kind, openclaw_wire::egress::RefusalKind::NoLedger);
    assert!(refused.message.contains("the disk is full") && reserved <= 2, "{refused:?}, {reserved}");
    desk.commit();
    assert!(desk.reserve("a", cents(10)).is_some());
}

/// Chats beyond the bound share a name, in memory, on the disk and after a restart, in calls that cost something and in
/// those that cost nothing; a key keeps its own, and with it its limit.
#[test]
fn names_of_chats_stay_bounded_on_the_disk_too() {
    let mut desk = open(tempfile::tempdir().expect("dir"), "boot", today());
    for number in 0..super::NAMES + 500 {
        let chat = format!("c{number}");
        let most = Usd::nano(u64::from(number % 2 == 0));
        let ticket = desk.reserve(&chat, most).expect("fits");
        desk.book.settle(ticket, &who(&chat), Used { calls: 1, cost: most, ..Used::default() });
    }
    let late = Account { key: "LATE".into(), ..who("another") };
    assert!(matches!(desk.book.reserve(&late, Usd::nano(1)), Decision::Reserved(_)));
    assert!(desk.book.tallies.contains_key(&Whose::Key("LATE".into())), "keys are told apart");
    desk.commit();
    let names = |desk: &Desk| {
        let other = rusqlite::Connection::open(desk.dir.path().join("db")).expect("opens");
        other
            .query_row("SELECT count(DISTINCT chat) FROM spent", [], |row| row.get::<_, u32>(0))
            .expect("a count")
    };
    let spent = desk.sums(&Whose::All).0;
    assert!(
        names(&desk) as usize <= super::NAMES && desk.book.tallies.len() <= super::NAMES + 3,
        "{}",
        names(&desk)
    );
    assert!(desk.book.tallies.contains_key(&Whose::Chat(super::OTHERS.into())));
    // As a release left it that wrote every name.
    let other = rusqlite::Connection::open(desk.dir.path().join("db")).expect("opens");
    other
        .execute_batch(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
             INSERT INTO spent SELECT {}, 'K', 'm', 'old' || i, '', 1, 0, 0, 0, 0, 0, 0 FROM n",
            today().0
        ))
        .expect("writes");
    let desk = open(desk.dir, "boot", today());
    assert!(desk.book.tallies.len() <= super::NAMES + 3, "{}", desk.book.tallies.len());
    assert_eq!(
        desk.sums(&Whose::All).0,
        spent.plus(Usd::nano(1)),
        "with the one under way, and nothing lost"
    );
}

/// Any order of reserving, settling and committing: the caps hold at every step, and the mark is never passed.
#[test]
fn no_order_of_calls_passes_a_cap() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) % below
    };
    let mut desk = open(tempfile::tempdir().expect("dir"), "boot", today());
    let mut open_calls: Vec<(Ticket, Usd)> = Vec::new();
    let (mut cost_of_all, mut refused, mut places) = (Usd::ZERO, 0, HashSet::new());
    for _ in 0..20_000 {
        match random(10) {
            0..5 => {
                let most = Usd::nano(1 + random(3_000_000));
                match desk.reserve(&format!("c{}", random(5)), most) {
                    Some(ticket) => {
                        assert!(places.insert(ticket.place), "two calls hold one place");
                        open_calls.push((ticket, most));
                    }
                    None => refused += 1,
                }
            }
            5..9 if !open_calls.is_empty() => {
                let at = usize::try_from(random(open_calls.len() as u64)).expect("small");
                let (ticket, most) = open_calls.swap_remove(at);
                places.remove(&ticket.place);
                let cost = Usd::nano(random(most.as_nano() + 1) / 8);
                cost_of_all = cost_of_all.plus(cost);
                desk.settle(ticket, cost);
            }
            _ => desk.commit(),
        }
        let (spent, reserved) = desk.sums(&Whose::All);
        let open: Usd = open_calls.iter().map(|(_, most)| *most).sum();
        assert_eq!((spent, reserved), (cost_of_all, open));
        assert!(spent.plus(reserved) <= cents(100), "{spent} and {reserved}");
        assert!(desk.book.settled.plus(desk.book.reserved) <= desk.book.high, "the mark");
    }
    assert!(refused > 100, "the cap was met");
}
