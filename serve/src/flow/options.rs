//! The options of a worker's flow.

use std::time::Duration;

use crate::config::{Failures, FlowConfig, Guarantee, KafkaConfig, Mode};

/// The wait after the first failure; each one doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The most events of a batch in `message` mode: each event waits for few others.
const MOST_MESSAGES: usize = 32;

/// The options of a worker's flow.
#[derive(Clone)]
pub struct FlowOptions {
    /// The worker's number.
    pub worker: usize,
    /// Batches and queues.
    pub flow: FlowConfig,
    /// What to do where a stage fails.
    pub failures: Failures,
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
    /// Returns the options that a config asks for; in `message` mode a batch waits for no event that is not there yet.
    pub fn new(worker: usize, flow: &FlowConfig, failures: Failures, kafka: &KafkaConfig) -> Self {
        let mut flow = flow.clone();
        if kafka.mode == Mode::Message {
            (flow.batch_events, flow.batch_ms) = (flow.batch_events.min(MOST_MESSAGES), 0);
        }
        Self {
            worker,
            flow,
            failures,
            guarantee: kafka.guarantee,
            commit: Duration::from_millis(kafka.commit_ms),
            drain: Duration::from_millis(kafka.drain_timeout_ms),
            backoff: FIRST_BACKOFF,
        }
    }
}
