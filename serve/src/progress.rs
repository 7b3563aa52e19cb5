//! A watchdog: whether workers commit what they take. A worker that waits for brokers or for a model cannot say so
//! itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// By when each worker is to commit the earliest batch that it has not committed.
#[derive(Debug, Default)]
pub struct Progress {
    promises: Mutex<BTreeMap<usize, Instant>>,
    /// The workers that have answered and committed all that they read.
    drained: Mutex<BTreeSet<usize>>,
}

impl Progress {
    /// Notes by when a worker that takes a batch is to have committed it. An earlier batch that is not committed keeps
    /// its own time.
    pub fn promise(&self, worker: usize, by: Instant) {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).entry(worker).or_insert(by);
    }

    /// Notes that a worker has committed, or has nothing left to commit.
    pub fn keep(&self, worker: usize) {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
    }

    /// Notes whether a worker that reads no more has answered and committed all that it read.
    pub fn drained(&self, worker: usize, is_drained: bool) {
        let mut drained = self.drained.lock().unwrap_or_else(PoisonError::into_inner);
        match is_drained {
            true => drained.insert(worker),
            false => drained.remove(&worker),
        };
    }

    /// Returns how many workers have.
    pub fn n_drained(&self) -> usize {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns the workers that are late at this moment, and how late.
    pub fn late(&self, now: Instant) -> BTreeMap<usize, Duration> {
        let promises = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        let late = promises.iter().filter(|(_, by)| **by < now);
        late.map(|(worker, by)| (*worker, now.saturating_duration_since(*by))).collect()
    }
}
