//! The keys of `[flow]` and `[failures]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Batches and queues.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowConfig {
    /// The most events scored together.
    pub batch_events: usize,
    /// How long a batch waits for more events, in milliseconds.
    pub batch_ms: u64,
    /// At this many waiting events reading pauses, and below half of them it resumes.
    pub queue_events: usize,
    /// At this many waiting bytes reading pauses, and below half of them it resumes.
    pub queue_bytes: usize,
    /// Which waiting events come first.
    pub order: Order,
    /// Events older than this many milliseconds by their own time are rejected as expired.
    pub max_event_age_ms: Option<u64>,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            batch_events: 512,
            batch_ms: 5,
            queue_events: 32_768,
            queue_bytes: 64 << 20,
            order: Order::FirstIn,
            max_event_age_ms: None,
        }
    }
}

/// Which waiting events come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Order {
    /// As they came; the only one that keeps the order of a key.
    #[default]
    FirstIn,
    /// The latest by their own time.
    Newest,
    /// The earliest by their own time.
    Oldest,
    /// The highest number in this header.
    Header(String),
}

impl From<Order> for String {
    fn from(order: Order) -> Self {
        match order {
            Order::FirstIn => "first-in".into(),
            Order::Newest => "newest".into(),
            Order::Oldest => "oldest".into(),
            Order::Header(name) => format!("header:{name}"),
        }
    }
}

impl TryFrom<String> for Order {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "first-in" => Ok(Self::FirstIn),
            "newest" => Ok(Self::Newest),
            "oldest" => Ok(Self::Oldest),
            other => match other.strip_prefix("header:").filter(|name| !name.is_empty()) {
                Some(name) => Ok(Self::Header(name.to_owned())),
                None => Err(format!("found {other:?}, expected first-in, newest, oldest or header:NAME")),
            },
        }
    }
}

/// What to do where a stage fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Failures {
    /// Decoding: a message is no valid request, or is over the limits.
    pub decode: Failure,
    /// Scoring: the model does not know an id, or fails.
    pub score: Failure,
    /// Writing: Kafka does not take a reply, for example one that is too large.
    pub sink: Failure,
}

/// What to do with an event at which a stage failed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Failure {
    /// How many times to try again.
    pub retries: u32,
    /// How long to wait before each retry, in milliseconds.
    pub backoff_ms: u64,
    /// What waits before a retry.
    pub pace: Pace,
    /// What to do when all retries failed.
    pub then: Then,
}

impl Default for Failure {
    fn default() -> Self {
        Self { retries: 0, backoff_ms: 100, pace: Pace::Penalise, then: Then::Reject }
    }
}

impl Failure {
    /// Returns the wait before another try.
    pub fn backoff(&self) -> Duration {
        Duration::from_millis(self.backoff_ms)
    }
}

/// What waits before a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    /// The event alone; later events overtake it.
    Penalise,
    /// The whole flow, so that the order is kept.
    Yield,
}

/// What to do when all retries failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Write the event to the reject topic.
    Reject,
    /// Count it and go on.
    Drop,
    /// Stop the service; the event is read again when it starts.
    Stop,
}

impl FlowConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self) -> Result<()> {
        let least = [
            ("flow.batch_events", self.batch_events),
            ("flow.queue_events", self.queue_events),
            ("flow.queue_bytes", self.queue_bytes),
        ];
        match least.into_iter().find(|(_, value)| *value == 0) {
            Some((field, _)) => Err(Error::config(field, 0, "at least 1")),
            None => Ok(()),
        }
    }
}
