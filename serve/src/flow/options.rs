//! The options of a worker's flow.

use std::time::Duration;

use crate::config::{Guarantee, KafkaConfig};

/// The wait after the first failure; each one doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The options of a worker's flow that do not change while it runs.
#[derive(Clone)]
pub struct FlowOptions {
    /// The worker's number.
    pub worker: usize,
    /// The delivery guarantee.
    pub guarantee: Guarantee,
    /// How often to commit.
    pub commit: Duration,
    /// How long a stop may take.
    pub drain: Duration,
    /// How long to wait after the first of several failures in a row; each further one doubles it.
    pub backoff: Duration,
}

impl FlowOptions {
    /// Returns the options that a config asks for.
    pub fn new(worker: usize, kafka: &KafkaConfig) -> Self {
        Self {
            worker,
            guarantee: kafka.guarantee,
            commit: Duration::from_millis(kafka.commit_ms),
            drain: Duration::from_millis(kafka.drain_timeout_ms),
            backoff: FIRST_BACKOFF,
        }
    }
}
