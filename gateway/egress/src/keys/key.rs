//! One key: its name, where it came from, and when it was last sent anywhere.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::Source;
use crate::{live::now, secret::Secret};

/// A key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its value.
    pub secret: Secret,
    /// Where it came from.
    pub source: Source,
    /// When it was last sent. Lives longer than the value: the report about a retired key needs it.
    pub used: Arc<Used>,
}

/// When something was last used.
#[derive(Debug, Default)]
pub struct Used(AtomicU64);

impl Used {
    /// It is used now.
    pub fn mark(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }

    /// Seconds since 1970-01-01 UTC; `None` when it was not used since egress started.
    pub fn at(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }
}
