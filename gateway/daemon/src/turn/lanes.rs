//! One turn at a time in each lane, many lanes at once. A lane exists while something waits or runs in it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::Item;
use crate::inbox::Lane;

/// Updates that may wait in memory, over all lanes; each is at most a webhook body, usually 1 KiB. Past it the sender
/// is asked to try again later.
const WAITING: usize = 20_000;

/// All lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: HashMap<Lane, State>,
    waiting: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Item>,
    /// The running turn; a lane without one has just ended it and takes the next.
    stop: CancellationToken,
}

impl Lanes {
    /// Whether there is room for more.
    pub fn room(&self) -> bool {
        self.lock().waiting < WAITING
    }

    /// Adds to a lane; `true` when the lane is new, so that somebody must start to work it off.
    #[must_use]
    pub fn push(&self, lane: &Lane, item: Item) -> bool {
        let mut inner = self.lock();
        inner.waiting += 1;
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
            return None;
        };
        state.stop = CancellationToken::new();
        let stop = state.stop.clone();
        inner.waiting -= 1;
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
        inner.waiting -= taken.len();
        taken
    }

    /// Replaces a waiting item (an edited message); `false` when it no longer waits.
    pub fn replace(&self, lane: &Lane, old: impl Fn(&Item) -> bool, new: Item) -> Result<i64, Box<Item>> {
        let mut inner = self.lock();
        let waiting =
            inner.lanes.get_mut(lane).and_then(|state| state.queue.iter_mut().find(|item| old(item)));
        match waiting {
            Some(item) => Ok(std::mem::replace(item, new).row),
            None => Err(Box::new(new)),
        }
    }

    /// Puts an item back to the head of its running lane.
    pub fn push_front(&self, lane: &Lane, item: Item) {
        let mut inner = self.lock();
        if let Some(state) = inner.lanes.get_mut(lane) {
            state.queue.push_front(item);
            inner.waiting += 1;
        }
    }

    /// Stops the running turn of a lane and takes what waits behind it. Whether there was one, and what waited.
    pub fn stop(&self, lane: &Lane) -> (bool, Vec<Item>) {
        let mut inner = self.lock();
        let Some(state) = inner.lanes.get_mut(lane) else { return (false, Vec::new()) };
        state.stop.cancel();
        let dropped: Vec<_> = state.queue.drain(..).collect();
        inner.waiting -= dropped.len();
        (true, dropped)
    }

    /// Stops the running turn of a lane; the next one starts.
    pub fn cancel(&self, lane: &Lane) -> bool {
        let inner = self.lock();
        let state = inner.lanes.get(lane);
        state.inspect(|state| state.stop.cancel()).is_some()
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
