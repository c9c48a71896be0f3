//! One turn at a time in each lane, many lanes at once. A lane exists while something waits or runs in it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use openclaw_wire::id::{BotName, ChatId};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Item;
use crate::inbox::Lane;

/// Updates that may wait in memory, over all lanes; usually of 1 KiB. Past it, or past [`BYTES`], the sender is asked to
/// try again later.
const WAITING: usize = 20_000;
/// Bytes of all of them, as they came; parsed they take about as much.
const BYTES: usize = 32 << 20;
/// Lanes whose memory is kept while nothing happens.
const IDLE: usize = 256;

/// All lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: HashMap<Lane, State>,
    waiting: usize,
    bytes: usize,
}

impl Inner {
    fn counts(&mut self, item: &Item) {
        self.waiting += 1;
        self.bytes += item.bytes;
    }

    fn forgets(&mut self, item: &Item) {
        self.waiting -= 1;
        self.bytes -= item.bytes;
    }
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    /// The running turn; a lane without one has just ended it and takes the next.
    stop: CancellationToken,
    /// The draft in which the running turn is shown.
    draft: Option<i64>,
    /// What lets the running turn run, and its row; none while it waits for a person.
    seat: Option<(i64, OwnedSemaphorePermit)>,
}

impl Lanes {
    /// Whether there is room for more.
    pub fn room(&self) -> bool {
        let inner = self.lock();
        inner.waiting < WAITING && inner.bytes < BYTES
    }

    /// Adds to a lane; `true` when the lane is new, so that somebody must start to work it off.
    #[must_use]
    pub fn push(&self, lane: &Lane, item: Item) -> bool {
        let mut inner = self.lock();
        inner.counts(&item);
        match inner.lanes.get_mut(lane) {
            Some(state) => {
                state.queue.push_back(item);
                false
            }
            None => {
                let state = State { queue: VecDeque::from([item]), ..State::default() };
                inner.lanes.insert(lane.clone(), state);
                true
            }
        }
    }

    /// The next item and the token that stops its turn; `None` ends the lane.
    pub fn next(&self, lane: &Lane) -> Option<(Item, CancellationToken)> {
        let mut inner = self.lock();
        let state = inner.lanes.get_mut(lane)?;
        let Some(item) = state.queue.pop_front() else {
            inner.lanes.remove(lane);
            if inner.lanes.is_empty() {
                inner.lanes.shrink_to(IDLE); // A burst leaves nothing behind.
            }
            return None;
        };
        (state.stop, state.draft) = (CancellationToken::new(), None);
        let stop = state.stop.clone();
        inner.forgets(&item);
        Some((item, stop))
    }

    /// Takes the items at the head of a lane that belong to what was just taken (an album's other pictures).
    pub fn take_while(&self, lane: &Lane, belongs: impl Fn(&Item) -> bool) -> Vec<Item> {
        let mut inner = self.lock();
        let mut taken = Vec::new();
        if let Some(state) = inner.lanes.get_mut(lane) {
            while state.queue.front().is_some_and(&belongs) {
                taken.extend(state.queue.pop_front());
            }
        }
        taken.iter().for_each(|item| inner.forgets(item));
        taken
    }

    /// Replaces a waiting item (an edited message) and gives the row of the old one; the new one is given back when
    /// the old one no longer waits.
    pub fn replace(&self, lane: &Lane, old: impl Fn(&Item) -> bool, new: Item) -> Result<i64, Box<Item>> {
        let mut inner = self.lock();
        let waiting =
            inner.lanes.get_mut(lane).and_then(|state| state.queue.iter_mut().find(|item| old(item)));
        match waiting {
            Some(item) => {
                let bytes = new.bytes;
                let old = std::mem::replace(item, new);
                inner.bytes = inner.bytes + bytes - old.bytes;
                Ok(old.row)
            }
            None => Err(Box::new(new)),
        }
    }

    /// Puts items back to the head of their running lane, in their order.
    pub fn put_back(&self, lane: &Lane, items: Vec<Item>) {
        let mut inner = self.lock();
        if !inner.lanes.contains_key(lane) {
            return;
        }
        items.iter().for_each(|item| inner.counts(item));
        if let Some(state) = inner.lanes.get_mut(lane) {
            items.into_iter().rev().for_each(|item| state.queue.push_front(item));
        }
    }

    /// The turn of a lane may run.
    pub fn sit(&self, lane: &Lane, row: i64, seat: OwnedSemaphorePermit) {
        if let Some(state) = self.lock().lanes.get_mut(lane) {
            state.seat = Some((row, seat));
        }
    }

    /// It ended, or waits for a person: another one may run. Gives its row, if it had a seat.
    pub fn stand(&self, lane: &Lane) -> Option<i64> {
        let seat = self.lock().lanes.get_mut(lane)?.seat.take();
        seat.map(|(row, _)| row)
    }

    /// The running turn of a lane is shown in this draft.
    pub fn shown_in(&self, lane: &Lane, draft: i64) {
        if let Some(state) = self.lock().lanes.get_mut(lane) {
            state.draft = Some(draft);
        }
    }

    /// Stops the running turn of a lane and takes what waits behind it. Whether there was one, and what waited.
    pub fn stop(&self, lane: &Lane) -> (bool, Vec<Item>) {
        let mut inner = self.lock();
        let Some(state) = inner.lanes.get_mut(lane) else { return (false, Vec::new()) };
        state.stop.cancel();
        let dropped: Vec<_> = state.queue.drain(..).collect();
        dropped.iter().for_each(|item| inner.forgets(item));
        (true, dropped)
    }

    /// Stops the running turn of a chat that is shown in this draft; the next one starts. `false` when it has ended:
    /// a late press must not stop the turn behind it.
    pub fn cancel_draft(&self, bot: &BotName, chat: ChatId, draft: i64) -> bool {
        let inner = self.lock();
        let mut lanes = inner.lanes.iter();
        let shown =
            lanes.find(|(lane, state)| lane.bot == *bot && lane.chat == chat && state.draft == Some(draft));
        shown.inspect(|(_, state)| state.stop.cancel()).is_some()
    }

    /// Whether any lane of a chat has a turn.
    pub fn is_at_work(&self, chat: ChatId) -> bool {
        self.lock().lanes.keys().any(|lane| lane.chat == chat)
    }

    /// Stops every running turn.
    pub fn cancel_all(&self) {
        self.lock().lanes.values().for_each(|state| state.stop.cancel());
    }

    /// Lanes with a turn, and items that wait.
    pub fn depth(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.lanes.len(), inner.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::id::ChatId;

    use super::{BYTES, IDLE, Item, Lane, Lanes, WAITING};
    use crate::telegram::update::{Kind, Update};

    fn lane(chat: i64) -> Lane {
        Lane { bot: "a".parse().expect("name"), chat: ChatId(chat), topic: 0 }
    }

    fn item(row: i64) -> Item {
        Item { row, update: Update { id: row, kind: Kind::Other(String::new()) }, bytes: 1000 }
    }

    fn rows(lanes: &Lanes, lane: &Lane) -> Vec<i64> {
        std::iter::from_fn(|| lanes.next(lane).map(|(item, _)| item.row)).collect()
    }

    #[test]
    fn a_lane_is_worked_off_in_order_by_one_and_then_gone() {
        let lanes = Lanes::default();
        assert!(lanes.push(&lane(1), item(1)), "somebody must start");
        assert!(!lanes.push(&lane(1), item(2)), "somebody has");
        assert!(lanes.push(&lane(2), item(3)), "another lane is another's");
        let (first, _) = lanes.next(&lane(1)).expect("first");
        assert!(!lanes.push(&lane(1), item(4)), "the lane is there while its turn runs");
        let album = lanes.take_while(&lane(1), |item| item.row == 2);
        assert_eq!((first.row, album.len(), lanes.depth()), (1, 1, (2, 2)));
        // The turn could not be stored: all that it took comes first again, in order.
        lanes.put_back(&lane(1), std::iter::once(first).chain(album).collect());
        assert_eq!(rows(&lanes, &lane(1)), [1, 2, 4]);
        assert_eq!(rows(&lanes, &lane(2)), [3]);
        assert_eq!(lanes.depth(), (0, 0));
        assert!(lanes.push(&lane(1), item(5)), "a new lane");
    }

    #[test]
    fn there_is_room_for_many_small_or_few_large_updates_and_again_when_they_are_gone() {
        let (lanes, large) = (Lanes::default(), |row| Item { bytes: BYTES / 2, ..item(row) });
        for row in 0..2 {
            assert!(lanes.room());
            let _ = lanes.push(&lane(1), large(row));
        }
        assert!(!lanes.room(), "two, but large ones");
        let replaced = lanes.replace(&lane(1), |item| item.row == 1, item(2));
        assert!(matches!(replaced, Ok(1)) && lanes.room(), "a small one in its place");
        let (first, _) = lanes.next(&lane(1)).expect("first");
        lanes.put_back(&lane(1), vec![first]);
        lanes.put_back(&lane(9), vec![large(9)]);
        let _ = (lanes.take_while(&lane(1), |item| item.row == 0), lanes.stop(&lane(1)));
        assert_eq!((lanes.depth().1, lanes.lock().bytes), (0, 0));
        for row in 0..WAITING as i64 {
            assert!(lanes.room());
            let _ = lanes.push(&lane(row), Item { bytes: 1, ..item(row) });
        }
        assert!(!lanes.room(), "small ones, but many");
    }

    #[test]
    fn a_stop_reaches_the_turn_that_was_taken_and_drops_what_waits_and_nothing_later() {
        let lanes = Lanes::default();
        assert!(!lanes.stop(&lane(1)).0, "nothing is there");
        for row in 1..=3 {
            let _ = lanes.push(&lane(1), item(row));
        }
        let (_, stop) = lanes.next(&lane(1)).expect("first");
        let (running, dropped) = lanes.stop(&lane(1));
        assert!(running && stop.is_cancelled());
        assert_eq!(dropped.iter().map(|item| item.row).collect::<Vec<_>>(), [2, 3]);
        assert!(!lanes.push(&lane(1), item(4)));
        let (_, stop) = lanes.next(&lane(1)).expect("a later message");
        assert!(!stop.is_cancelled());
        lanes.cancel_all();
        assert!(stop.is_cancelled());
    }

    #[test]
    fn the_button_of_a_draft_stops_its_own_turn_alone() {
        let lanes = Lanes::default();
        let bot = lane(1).bot;
        let _ = (lanes.push(&lane(1), item(1)), lanes.push(&lane(1), item(2)));
        let (_, first) = lanes.next(&lane(1)).expect("first");
        lanes.shown_in(&lane(1), 7);
        assert!(!lanes.cancel_draft(&bot, ChatId(2), 7) && !lanes.cancel_draft(&bot, ChatId(1), 8));
        let (_, second) = lanes.next(&lane(1)).expect("second");
        assert!(!lanes.cancel_draft(&bot, ChatId(1), 7), "its turn has ended");
        lanes.shown_in(&lane(1), 8);
        assert!(lanes.cancel_draft(&bot, ChatId(1), 8));
        assert!(second.is_cancelled() && !first.is_cancelled());
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let lanes = Lanes::default();
        for chat in 0..10_000 {
            let _ = lanes.push(&lane(chat), item(chat));
        }
        for chat in 0..10_000 {
            rows(&lanes, &lane(chat));
        }
        assert!(lanes.lock().lanes.capacity() <= 4 * IDLE);
    }
}
