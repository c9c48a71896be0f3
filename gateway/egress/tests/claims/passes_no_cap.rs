//! However many calls there are at once, whatever goes wrong with them, and whenever the program is killed: what the
//! provider counts never passes a cap, and never what the ledger says.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use openclaw_wire::{
    egress::RefusalKind,
    money::Usd,
    spend::{Alert, AlertKind, CHAT, CapState, Report, Span, Whose},
};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    far::{self, Far, Seen},
    program::{Egress, Setup},
};

/// Dollars for a million tokens: a call of [`MAX`] output tokens costs at most two tenths of a cent.
pub const PRICE: &str = "[[price]]\nmodel = \"x\"\ninput = \"0.1\"\noutput = 4\n";
/// The same in nano-dollars for a token.
const INPUT: u64 = 100;
const OUTPUT: u64 = 4_000;
const MAX: u64 = 500;

pub fn body() -> Vec<u8> {
    json!({"model": "x", "max_tokens": MAX, "stream": true, "messages": [{"role": "user", "content": "hello"}]})
        .to_string()
        .into_bytes()
}

/// A provider that counts what each request costs, by itself.
pub struct Provider {
    pub far: Far,
    /// Nano-dollars.
    counted: Arc<AtomicU64>,
}

/// What it makes of a request.
#[derive(Clone, Copy)]
pub enum Mood {
    Good,
    Error,
    /// It begins to answer, and breaks off.
    Broken,
    /// It works, and hangs up without a word.
    Silent,
}

impl Provider {
    pub fn new(mood: impl Fn(u64) -> Mood + Send + Sync + 'static) -> Self {
        let counted = Arc::new(AtomicU64::new(0));
        let (sum, random) = (counted.clone(), Mutex::new(Random(0x9e37_79b9_7f4a_7c15)));
        let far = Far::start(move |seen, to| {
            let number = random.lock().expect("lock").next();
            answer(mood(number), number, seen, to, &sum);
        });
        Self { far, counted }
    }

    pub fn counted(&self) -> Usd {
        Usd::nano(self.counted.load(Ordering::SeqCst))
    }
}

fn answer(mood: Mood, number: u64, seen: &Seen, to: &mut TcpStream, sum: &AtomicU64) {
    let input = 1 + number % seen.body.len() as u64;
    let output = 1 + (number >> 20) % MAX;
    if !matches!(mood, Mood::Error) {
        sum.fetch_add(input * INPUT + output * OUTPUT, Ordering::SeqCst);
    }
    let event = |value: serde_json::Value| format!("data: {value}\n\n");
    let begin = event(
        json!({"type": "message_start", "message": {"usage": {"input_tokens": input, "output_tokens": 1}}}),
    );
    let end = event(json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": output}}));
    match mood {
        Mood::Error => far::reply(to, "529 Overloaded", "", b"{}"),
        Mood::Silent => drop(to.shutdown(std::net::Shutdown::Both)),
        Mood::Good | Mood::Broken => {
            let _ = to.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            );
            far::chunk(to, begin.as_bytes());
            if matches!(mood, Mood::Broken) {
                drop(to.shutdown(std::net::Shutdown::Both));
                return;
            }
            far::chunk(to, end.as_bytes());
            far::chunk(to, b"");
        }
    }
}

pub fn setup(far: &Far, caps: &str) -> Setup {
    Setup::model(&far.url()).config(&format!("{PRICE}{caps}"))
}

pub fn call(egress: &Egress, chat: &str) -> Option<u16> {
    egress.try_call("/r/model/m/v1/messages", &[(CHAT, chat)], &body()).map(|answer| answer.status)
}

pub fn report(egress: &Egress) -> Report {
    let answer = egress.call("GET", "/spend", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("a report")
}

pub fn usd(text: &str) -> Usd {
    text.parse().expect(text)
}

/// 10,000 calls, a hundred at a time, against a cap of one dollar; a quarter of them fail in some way, and the program is
/// killed four times in the midst of it.
#[test]
fn ten_thousand_calls_at_once_with_failures_and_kills() {
    let provider = Provider::new(|number| match (number >> 40) % 20 {
        0 | 1 => Mood::Error,
        2 => Mood::Broken,
        3 => Mood::Silent,
        _ => Mood::Good,
    });
    let caps = "[spend]\nday = 1\nmonth = 1\nkey_day = \"none\"\nkey_month = \"none\"\nchat_day = \"none\"\nchat_month = \"none\"\n";
    let mut state = setup(&provider.far, caps);
    let (good, refused, lost) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    const ROUNDS: u64 = 5;
    for round in 0..ROUNDS {
        let egress = state.start();
        // Until it is killed the ledger is ahead of the provider at any moment.
        let before = report(&egress).today.total.cost;
        assert!(before >= provider.counted(), "round {round}: {before} after {}", provider.counted());
        let begun = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..100 {
                let (egress, begun, good, refused, lost) = (&egress, &begun, &good, &refused, &lost);
                scope.spawn(move || {
                    for _ in 0..20 {
                        begun.fetch_add(1, Ordering::SeqCst);
                        match call(egress, &format!("main/{thread}")) {
                            Some(402) => refused.fetch_add(1, Ordering::SeqCst),
                            Some(200) => good.fetch_add(1, Ordering::SeqCst),
                            _ => lost.fetch_add(1, Ordering::SeqCst),
                        };
                    }
                });
            }
            if round < ROUNDS - 1 {
                while begun.load(Ordering::SeqCst) < 1200 + 150 * round as usize {
                    std::thread::sleep(Duration::from_millis(1));
                }
                egress.child().signal(Signal::KILL).expect("signal");
            }
        });
        assert!(provider.counted() <= usd("1"), "round {round}: the provider counted {}", provider.counted());
        state = match round {
            _ if round < ROUNDS - 1 => egress.end().1,
            _ => egress.stop(),
        };
    }
    let egress = state.start();
    let report = report(&egress);
    let (ledger, counted) = (report.today.total.cost, provider.counted());
    let [good, refused, lost] = [good, refused, lost].map(AtomicUsize::into_inner);
    eprintln!(
        "provider {counted}, ledger {ledger}; {good} answered, {refused} refused, {lost} failed or lost"
    );
    assert!(counted <= ledger && ledger <= usd("1"), "provider {counted}, ledger {ledger}");
    assert!(refused > 0 && good > 100, "the cap was met, and calls were made: {refused}, {good}");
    assert!(counted > usd("0.3"), "most of the cap was of use: {counted}");
    assert!(report.today.lines.iter().all(|line| !line.model.is_empty()), "a kill loses no record of a call");
    assert!(report.today.total.failed > 0 && report.today.total.cut > 0);
}

/// Answers that came whole, and errors: the ledger knows each to the nano-dollar, also when the program is killed before
/// the ledger was written.
#[test]
fn after_a_kill_the_ledger_equals_the_providers_count() {
    let provider = Provider::new(|number| if (number >> 40) % 5 == 0 { Mood::Error } else { Mood::Good });
    let mut state = setup(&provider.far, "[spend]\nday = 50\nkey_day = \"none\"\nchat_day = \"none\"\n");
    for round in 0..4 {
        let egress = state.start();
        std::thread::scope(|scope| {
            for thread in 0..10 {
                let egress = &egress;
                scope.spawn(move || {
                    for _ in 0..25 {
                        call(egress, &format!("main/{thread}")).expect("an answer");
                    }
                });
            }
        });
        let counted = provider.counted();
        state = match round % 2 {
            0 => {
                egress.child().signal(Signal::KILL).expect("signal");
                egress.end().1
            }
            _ => egress.stop(),
        };
        let egress = state.start();
        let report = report(&egress);
        assert_eq!(report.today.total.cost, counted, "round {round}");
        assert_eq!(report.today.total.calls, 250 * (round + 1));
        let of_chats: Usd = report.month.lines.iter().map(|line| line.used.cost).sum();
        assert_eq!((report.month.total.cost, of_chats), (counted, counted));
        let cap = report.caps.iter().find(|cap| cap.cap.whose == Whose::All && cap.cap.span == Span::Day);
        assert_eq!(cap.map(|cap| (cap.spent, cap.reserved)), Some((counted, Usd::ZERO)));
        state = egress.stop();
    }
}

/// A cap of one chat stops that chat alone; near the cap and at it there is one alert each, until somebody has seen it.
#[test]
fn alerts_come_once_for_each_cap_and_survive_a_kill() {
    let provider = Provider::new(|_| Mood::Good);
    let caps = "[spend]\nday = 50\nkey_day = \"none\"\nkey_month = \"none\"\nchat_day = \"0.01\"\nchat_month = \"none\"\nceiling = 2\n";
    let mut egress = setup(&provider.far, caps).start();
    assert_eq!(call(&egress, "main/2"), Some(200));
    let mut calls = 0;
    while call(&egress, "main/1") == Some(200) {
        calls += 1;
    }
    assert!(calls > 3, "{calls}");
    let refusal = egress.try_call("/r/model/m/v1/messages", &[(CHAT, "main/1")], &body()).expect("answered");
    assert_eq!(refusal.header("x-openclaw-refused"), Some("cap_reached"));
    refusal.refused(RefusalKind::CapReached);
    assert_eq!(call(&egress, "main/2"), Some(200), "another chat goes on");

    let chat = Whose::Chat("main/1".into());
    let alerts = |egress: &Egress| -> Vec<Alert> {
        let found: Vec<Alert> =
            serde_json::from_slice(&egress.call("GET", "/spend/alerts", "").body).expect("alerts");
        found.into_iter().filter(|alert| alert.state.cap.whose == chat).collect()
    };
    let wait_for = |egress: &Egress, count: usize| loop {
        let found = alerts(egress);
        // Each is committed by itself, so the first may be there before the second.
        if found.len() >= count && found.iter().any(|alert| alert.kind == AlertKind::Reached) {
            return found;
        }
    };
    let kinds = |alerts: &[Alert]| alerts.iter().map(|alert| alert.kind).collect::<Vec<_>>();
    for _ in 0..2 {
        let found = wait_for(&egress, 1);
        assert!(kinds(&found).contains(&AlertKind::Reached), "{found:?}");
        egress.child().signal(Signal::KILL).expect("signal");
        egress = egress.end().1.start();
    }
    let found = wait_for(&egress, 1);
    let reached = found.iter().find(|alert| alert.kind == AlertKind::Reached).expect("there");
    for alert in &found {
        let seen = serde_json::to_string(alert).expect("json");
        assert_eq!(egress.call("POST", "/spend/alerts", &seen).status, 204);
    }
    let (_, state) = (egress.child().signal(Signal::TERM), egress.end().1);
    egress = state.start();
    assert_eq!(call(&egress, "main/1"), Some(402), "still at its cap");

    // The owner raises it: once for each tap, and not beyond the operator's ceiling.
    let raise = |raised: u32| {
        let wish = json!({"of": "chat", "name": "main/1", "span": "day", "period": reached.state.cap.period, "raised": raised});
        egress.call("POST", "/spend/raise", &wish.to_string())
    };
    let limit = |answer: &crate::program::Answer| {
        serde_json::from_slice::<CapState>(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text())).limit
    };
    assert_eq!(limit(&raise(0)), usd("0.015"));
    assert_eq!(limit(&raise(0)), usd("0.015"), "the same tap again");
    assert_eq!(call(&egress, "main/1"), Some(200), "it goes on");
    assert_eq!(limit(&raise(1)), usd("0.02"));
    raise(2).refused(RefusalKind::CapReached);
    while call(&egress, "main/1") == Some(200) {}
    let again = wait_for(&egress, 1);
    assert!(
        again.iter().all(|alert| alert.kind == AlertKind::Reached && alert.state.raised == 2),
        "{again:?}"
    );
    let state = egress.stop();
    assert_eq!(
        report(&state.start()).caps.iter().find(|cap| cap.cap.whose == chat).map(|cap| cap.limit),
        Some(usd("0.02"))
    );
}

/// xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
