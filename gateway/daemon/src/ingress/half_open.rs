//! Connections that have not shown a right secret yet. Their number is bounded by closing the oldest, so that somebody
//! who opens thousands and says nothing never keeps Telegram out (incidents 6, 7).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::AbortHandle;

/// Unproven connections at one time. Telegram opens at most 100, and proves each with its first request.
const LIMIT: usize = 512;

/// The unproven ones, oldest first.
#[derive(Debug, Default)]
pub struct HalfOpen {
    waiting: Mutex<(u64, VecDeque<(u64, AbortHandle)>)>,
}

/// One connection's place; it leaves the list when it is proven or closed.
#[derive(Debug)]
pub struct Place {
    list: Arc<HalfOpen>,
    number: u64,
}

impl HalfOpen {
    /// Adds a connection's task, and closes the oldest unproven one when there are too many.
    pub fn enter(self: &Arc<Self>, start: impl FnOnce(Place) -> AbortHandle) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0 += 1;
        let number = waiting.0;
        let task = start(Place { list: Arc::clone(self), number });
        waiting.1.push_back((number, task));
        let oldest = if waiting.1.len() > LIMIT { waiting.1.pop_front() } else { None };
        drop(waiting);
        if let Some((_, task)) = oldest {
            task.abort();
        }
    }
}

impl Place {
    /// The connection has shown a right secret.
    pub fn prove(&self) {
        let mut waiting = self.list.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(at) = waiting.1.binary_search_by_key(&self.number, |(number, _)| *number) {
            waiting.1.remove(at);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.prove();
    }
}
