//! How fast Telegram lets a bot write, as a generic cell rate algorithm: per chat, and per bot over all chats. Also
//! keeps the pauses that Telegram ordered. Never sleeps: callers pass the time and are told how long to wait.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use openclaw_wire::{
    config::Telegram,
    id::{BotName, ChatId},
};
use tokio::time::Instant;

/// Chats that got "too many requests" within [`SHARED_WINDOW`] from which on the whole bot pauses: the answer doesn't
/// say whether it is about the chat or the bot.
const SHARED_CHATS: usize = 3;
/// See [`SHARED_CHATS`].
const SHARED_WINDOW: Duration = Duration::from_secs(10);
/// Chats whose pace is remembered before those that are idle are forgotten.
const CHATS: usize = 1024;

/// A steady rate and how much may be sent at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time between two messages, in the long run.
    pub every: Duration,
    /// Messages at once.
    pub burst: u32,
}

/// Limits. The defaults are what <https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>
/// names: about one message per second in a chat with short bursts, 20 per minute in a group, 30 per second in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Of a bot, over all its chats.
    pub bot: Rate,
    /// In a private chat.
    pub private: Rate,
    /// In a group or channel.
    pub group: Rate,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(30, 60, 20)
    }
}

impl From<&Telegram> for Pace {
    fn from(config: &Telegram) -> Self {
        Self::new(config.per_second, config.per_chat_minute, config.per_group_minute)
    }
}

impl Pace {
    /// From numbers of messages: per second over all chats of a bot, per minute in a private chat, and in a group.
    pub fn new(per_second: u32, per_chat_minute: u32, per_group_minute: u32) -> Self {
        let minute = Duration::from_secs(60);
        let (second, chat, group) = (per_second.max(1), per_chat_minute.max(1), per_group_minute.max(1));
        // What is sent at once counts too: never more than `group` in any minute. 20: 5 at once, then one every 4 s.
        let burst = (group / 4).max(1);
        let steady = group.saturating_sub(burst).max(1);
        Self {
            bot: Rate { every: Duration::from_secs(1) / second, burst: (second / 3).max(1) },
            private: Rate { every: minute / chat, burst: (chat / 20).max(1) },
            group: Rate { every: minute / steady, burst },
        }
    }
}

/// When one rate was used up to.
#[derive(Debug, Clone, Copy)]
struct Cell {
    /// When all that was taken will have been paid for.
    paid: Instant,
    /// Ordered by Telegram.
    pause: Instant,
}

impl Cell {
    fn new(now: Instant) -> Self {
        Self { paid: now, pause: now }
    }

    /// How long until one more may be taken.
    fn wait(&self, rate: Rate, now: Instant) -> Duration {
        let credit = rate.every * rate.burst.max(1);
        let paced = (self.paid.max(now) + rate.every).saturating_duration_since(now).saturating_sub(credit);
        paced.max(self.pause.saturating_duration_since(now))
    }

    fn take(&mut self, rate: Rate, now: Instant) {
        self.paid = self.paid.max(now) + rate.every;
    }
}

struct State {
    bots: HashMap<BotName, Bot>,
    sweep_at: usize,
}

struct Bot {
    cell: Cell,
    chats: HashMap<ChatId, Cell>,
    refused: Vec<(ChatId, Instant)>,
}

/// Keeps account for all bots and chats.
pub struct Pacer {
    pace: Pace,
    state: Mutex<State>,
}

impl Pacer {
    /// With these limits.
    pub fn new(pace: Pace) -> Self {
        Self { pace, state: Mutex::new(State { bots: HashMap::new(), sweep_at: CHATS }) }
    }

    /// How long a chat has to wait for its own sake; zero: a message is taken from its account.
    pub fn take_chat(&self, bot: &BotName, chat: ChatId, now: Instant) -> Duration {
        self.with(bot, now, |pace, bot| {
            let rate = pace.chat(chat);
            let cell = bot.chats.entry(chat).or_insert_with(|| Cell::new(now));
            let wait = cell.wait(rate, now);
            if wait.is_zero() {
                cell.take(rate, now);
            }
            wait
        })
    }

    /// Takes the bot's next place and says how long it is until then. Waiting callers are served in turn.
    pub fn reserve_bot(&self, bot: &BotName, now: Instant) -> Duration {
        self.with(bot, now, |pace, bot| {
            let wait = bot.cell.wait(pace.bot, now);
            bot.cell.take(pace.bot, now);
            wait
        })
    }

    /// What is left of a pause of the whole bot.
    pub fn bot_pause(&self, bot: &BotName, now: Instant) -> Duration {
        self.with(bot, now, |_, bot| bot.cell.pause.saturating_duration_since(now))
    }

    /// If nothing has to wait, and the chat could send `spare` more messages at once: one message is taken. For what
    /// may be left out.
    pub fn try_take(&self, bot: &BotName, chat: ChatId, spare: u32, now: Instant) -> bool {
        self.with(bot, now, |pace, bot| {
            let rate = pace.chat(chat);
            let cell = bot.chats.entry(chat).or_insert_with(|| Cell::new(now));
            let tight = Rate { burst: rate.burst.saturating_sub(spare), ..rate };
            let free = cell.wait(tight, now).is_zero() && bot.cell.wait(pace.bot, now).is_zero();
            if free {
                cell.take(rate, now);
                bot.cell.take(pace.bot, now);
            }
            free
        })
    }

    /// The next message of the chat could go at once.
    pub fn is_free(&self, bot: &BotName, chat: ChatId, now: Instant) -> bool {
        self.with(bot, now, |pace, bot| {
            let chat_free = bot.chats.get(&chat).is_none_or(|cell| cell.wait(pace.chat(chat), now).is_zero());
            chat_free && bot.cell.wait(pace.bot, now).is_zero()
        })
    }

    /// Telegram said "too many": the chat pauses, and with several chats at once the bot.
    pub fn too_many(&self, bot: &BotName, chat: ChatId, retry_after: Duration, now: Instant) {
        self.with(bot, now, |_, bot| {
            let until = now + retry_after;
            let cell = bot.chats.entry(chat).or_insert_with(|| Cell::new(now));
            cell.pause = cell.pause.max(until);
            bot.refused.retain(|(other, at)| *other != chat && now.duration_since(*at) < SHARED_WINDOW);
            bot.refused.push((chat, now));
            if bot.refused.len() >= SHARED_CHATS {
                bot.refused.clear();
                bot.cell.pause = bot.cell.pause.max(until);
            }
        });
    }

    /// The bot as a whole pauses until then, or goes on now.
    pub fn pause_bot(&self, bot: &BotName, until: Instant, now: Instant) {
        self.with(bot, now, |_, bot| bot.cell.pause = until);
    }

    fn with<T>(&self, name: &BotName, now: Instant, act: impl FnOnce(&Pace, &mut Bot) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { bots, sweep_at } = &mut *state;
        if !bots.contains_key(name) {
            let bot = Bot { cell: Cell::new(now), chats: HashMap::new(), refused: Vec::new() };
            bots.insert(name.clone(), bot);
        }
        let bot = bots.get_mut(name).expect("was just inserted");
        let result = act(&self.pace, bot);
        if bot.chats.len() > *sweep_at {
            bot.chats.retain(|_, cell| cell.paid > now || cell.pause > now);
            *sweep_at = (2 * bot.chats.len()).max(CHATS);
            bot.chats.shrink_to(*sweep_at);
        }
        result
    }
}

impl Pace {
    fn chat(&self, chat: ChatId) -> Rate {
        if chat.0 > 0 { self.private } else { self.group }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> BotName {
        "main".parse().expect("name")
    }

    /// Sends whenever it is allowed, for a minute; gives the times in milliseconds.
    fn minute(pacer: &Pacer, chat: ChatId) -> Vec<u64> {
        let start = Instant::now();
        let allowed = |at: &u64| pacer.take_chat(&name(), chat, start + Duration::from_millis(*at)).is_zero();
        (0..60_000).step_by(10).filter(allowed).collect()
    }

    #[test]
    fn a_chat_gets_a_burst_and_then_its_rate() {
        let pacer = Pacer::new(Pace::default());
        let private = minute(&pacer, ChatId(1));
        assert_eq!(private[..6], [0, 10, 20, 1000, 2000, 3000]);
        assert!(private.len() <= 64);
        let group = minute(&pacer, ChatId(-1));
        assert!((18..=20).contains(&group.len()), "{}", group.len());
    }

    #[test]
    fn chats_do_not_wait_for_each_other_but_the_bot_has_its_rate() {
        let pacer = Pacer::new(Pace::default());
        let now = Instant::now();
        assert!((1..1000).all(|chat| pacer.take_chat(&name(), ChatId(chat), now).is_zero()));
        let waits: Vec<_> = (0..100).map(|_| pacer.reserve_bot(&name(), now)).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_zero()).count(), 10);
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "in turn");
        let last = waits[99].as_secs_f64();
        assert!((2.9..=3.1).contains(&last), "100 messages take three seconds after the burst: {last}");
        let fast = Pacer::new(Pace::new(100_000, 60, 20));
        let waits = (0..10_000).map(|_| fast.reserve_bot(&name(), now)).max().expect("some");
        assert!(waits < Duration::from_millis(100));
    }

    #[test]
    fn pauses_are_the_chats_until_several_chats_are_refused() {
        let pacer = Pacer::new(Pace::default());
        let now = Instant::now();
        let wait = Duration::from_secs(9);
        pacer.too_many(&name(), ChatId(1), wait, now);
        pacer.too_many(&name(), ChatId(1), wait, now);
        assert_eq!(pacer.take_chat(&name(), ChatId(1), now), wait);
        assert!(pacer.bot_pause(&name(), now).is_zero());
        assert!(!pacer.is_free(&name(), ChatId(1), now) && pacer.is_free(&name(), ChatId(2), now));
        pacer.too_many(&name(), ChatId(2), wait, now);
        pacer.too_many(&name(), ChatId(3), wait, now);
        assert_eq!(pacer.bot_pause(&name(), now), wait);
        assert!(!pacer.try_take(&name(), ChatId(4), 2, now));
        assert!(pacer.try_take(&name(), ChatId(4), 2, now + wait));
    }

    #[test]
    fn idle_chats_are_forgotten() {
        let pacer = Pacer::new(Pace::default());
        let start = Instant::now();
        for chat in 0..100_000 {
            let now = start + Duration::from_millis(chat as u64);
            pacer.take_chat(&name(), ChatId(chat + 1), now);
        }
        let state = pacer.state.lock().expect("lock");
        assert!(state.bots[&name()].chats.len() <= 3 * CHATS);
    }
}
