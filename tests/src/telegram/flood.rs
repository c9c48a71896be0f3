//! Telegram's published rates: about one message a second in a chat (short bursts pass), 20 a minute in a group, 30 a
//! second over all. Source: https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this

use std::{collections::HashMap, time::Instant};

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Seconds until a token is there; `None` takes one.
    fn take(&mut self, per_second: f64, burst: f64) -> Option<u64> {
        let now = Instant::now();
        self.tokens = (self.tokens + now.duration_since(self.at).as_secs_f64() * per_second).min(burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(((1.0 - self.tokens) / per_second).ceil().max(1.0) as u64)
    }
}

/// The limiter of one bot.
#[derive(Default)]
pub struct Flood {
    chats: HashMap<i64, Bucket>,
    all: Option<Bucket>,
}

impl Flood {
    /// Counts a message to a chat; the error is `retry_after` in seconds.
    pub fn count(&mut self, chat: i64) -> Result<(), u64> {
        let (per_second, burst) = if chat < 0 { (20.0 / 60.0, 20.0) } else { (1.0, 3.0) };
        let fresh = |tokens| Bucket { tokens, at: Instant::now() };
        let waits = [
            self.chats.entry(chat).or_insert_with(|| fresh(burst)).take(per_second, burst),
            self.all.get_or_insert_with(|| fresh(30.0)).take(30.0, 30.0),
        ];
        waits.into_iter().flatten().max().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::Flood;

    #[test]
    fn a_burst_passes_and_then_each_chat_waits_for_itself() {
        let mut flood = Flood::default();
        assert!((0..3).all(|_| flood.count(1).is_ok()));
        assert_eq!(flood.count(1), Err(1));
        assert_eq!(flood.count(2), Ok(()));
        assert!((0..20).all(|_| flood.count(-5).is_ok()));
        assert!(flood.count(-5).is_err());
    }
}
