//! What the time of a refusal tells about the secret: nothing (incident 10). Noise of the machine can only hide a
//! difference, so what is told apart is told apart for a reason.

use std::{hint::black_box, time::Instant};

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;

use super::*;

/// Measurements of each kind in a round.
const SAMPLES: usize = 2_000;
/// Rounds. A difference that is there is there in each of them.
const ROUNDS: usize = 5;

/// First and third quartile of each kind's times, in nanoseconds; measured in turns, so that whatever else the machine
/// does meets both alike.
fn quartiles(mut one: impl FnMut(), mut other: impl FnMut()) -> [(u128, u128); 2] {
    let mut times = [Vec::with_capacity(SAMPLES), Vec::with_capacity(SAMPLES)];
    for round in 0..2 * SAMPLES {
        // 0 1 1 0 0 1 1 0: neither is always the first of a pair.
        let kind = (round / 2 + round) % 2;
        let started = Instant::now();
        if kind == 0 {
            one()
        } else {
            other()
        }
        times[kind].push(started.elapsed().as_nanos());
    }
    times.map(|mut times| {
        times.sort_unstable();
        (times[times.len() / 4], times[times.len() * 3 / 4])
    })
}

/// In how many rounds the quartiles do not overlap.
fn told_apart(mut round: impl FnMut() -> [(u128, u128); 2]) -> usize {
    (0..ROUNDS).filter(|_| matches!(round(), [one, other] if one.1 < other.0 || other.1 < one.0)).count()
}

/// The method sees a comparison that stops at the first difference, and sees nothing in ours: neither in the digests nor
/// in the whole gate, with a secret that is wrong in its first or in its last character.
#[tokio::test]
async fn the_time_does_not_tell_where_a_secret_is_wrong() {
    const LONG: usize = 256 << 10;
    let long = |wrong: usize| {
        let mut bytes = vec![7_u8; LONG];
        bytes[wrong] = 8;
        bytes
    };
    let (right, first, last) = (vec![7_u8; LONG], long(0), long(LONG - 1));
    let early_exit = |guess: &[u8]| assert!(black_box(&right[..]) != black_box(guess));
    let seen = told_apart(|| quartiles(|| early_exit(&first), || early_exit(&last)));
    assert!(seen > 0, "the method does not see what is there");

    let right = Digest::new([7; 32]);
    let wrong = |place: usize| {
        let mut bytes = [7; 32];
        bytes[place] = 8;
        Digest::new(bytes)
    };
    let (first, last) = (wrong(0), wrong(31));
    let compare =
        |guess: &Digest| (0..100).for_each(|_| assert!(!black_box(&right).matches(black_box(guess))));
    let seen = told_apart(|| quartiles(|| compare(&first), || compare(&last)));
    assert!(seen < ROUNDS, "the time tells where two digests differ");

    let secret = "abcdefghijklmnopqrstuvwxyz0123456789_-ABCDE";
    let gate = gate(secret);
    let (first, last) = (format!("X{}", &secret[1..]), format!("{}X", &secret[..secret.len() - 1]));
    let passed = request(secret).await.admitted(&gate);
    assert_eq!(passed.map(|bot| bot.to_string()), Ok("main".into()), "and is no longer throttled");
    let mut seen = 0;
    for _ in 0..ROUNDS {
        let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            firsts.push(request(&first).await);
            lasts.push(request(&last).await);
        }
        let refused = |requests: &mut Vec<Shot>| {
            let request = requests.pop().expect("one for each measurement");
            assert_eq!(request.admitted(&gate), Err(Refusal::Secret));
        };
        let [one, other] = quartiles(|| refused(&mut firsts), || refused(&mut lasts));
        seen += usize::from(one.1 < other.0 || other.1 < one.0);
    }
    assert!(seen < ROUNDS, "the time tells where a secret is wrong");
}

fn gate(secret: &str) -> Gate {
    let secrets = Arc::<Secrets>::default();
    secrets.set(HashMap::from([(
        "main".parse().expect("name"),
        Digest::new(Sha256::digest(secret).into()).into(),
    )]));
    let source = Source { from: From::Tunnel, ranges: FACTS.telegram.ranges.clone(), users: Vec::new() };
    Gate::new(source, secrets, MOST, Duration::from_secs(1))
}

/// A head as the gate gets it, once.
struct Shot {
    headers: HeaderMap,
    shown: Arc<Shown>,
}

impl Shot {
    fn admitted(self, gate: &Gate) -> Result<BotName, Refusal> {
        let peer = Peer::Tcp(Ipv4Addr::LOCALHOST.into());
        gate.admit(peer, &Method::POST, "/telegram/main", &self.headers, &self.shown)
    }
}

async fn request(secret: &str) -> Shot {
    let line = format!("{SECRET}: {secret}\r\n").into_bytes();
    let shown = Arc::new(Shown::default());
    let mut scrubbed = Scrubbed::new(std::io::Cursor::new(line), Arc::clone(&shown));
    let mut line = String::new();
    scrubbed.read_to_string(&mut line).await.expect("text");
    let value = line.split_once(": ").expect("a header").1.trim_end();
    let mut headers = HeaderMap::new();
    headers.insert(SECRET, value.parse().expect("a value"));
    headers.insert("cf-connecting-ip", http::HeaderValue::from_static("149.154.160.1"));
    Shot { headers, shown }
}
