//! A watchdog: whether workers commit what they take. A worker that waits for brokers or for a model cannot say so
//! itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// By when each worker is to commit the earliest batch that it has not committed.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<usize, Instant>>);

impl Progress {
    /// Notes by when a worker that takes a batch is to have committed it. An earlier batch that is not committed keeps
    /// its own time.
    pub fn promise(&self, worker: usize, by: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(worker).or_insert(by);
    }

    /// Notes that a worker has committed, or has nothing left to commit.
    pub fn keep(&self, worker: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
    }

    /// Returns the workers that are late at this moment, and how late.
    pub fn late(&self, now: Instant) -> BTreeMap<usize, Duration> {
        let promises = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = promises.iter().filter(|(_, by)| **by < now);
        late.map(|(worker, by)| (*worker, now.saturating_duration_since(*by))).collect()
    }
}
