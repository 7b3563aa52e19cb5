//! The engine that answers batches of events. It knows neither Kafka nor HTTP.
//!
//! A batch is decoded, planned, computed together, and its replies are written; `engine/answer.rs` goes through these
//! steps.

mod answer;
mod compute;
mod encode;
mod plan;
mod steps;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use burnrec_data::Id;

use crate::clock::{Clock, SystemClock};
use crate::config::{InputFormat, Limits, Partitioner, ServeConfig};
use crate::event::{ATTEMPTS, BYTES, Incoming, SOURCE, TopicPartition};
use crate::message::WireId;
use crate::outbox::{Outbox, To};
use crate::provenance::{Index, Tracer};
use crate::served::Models;
use crate::settings::{Live, Run, Settings};
use crate::state::{Room, State};
use crate::step::Steps;
use crate::{Kind, Reject, Result};

pub use crate::event::HTTP;
pub use crate::settings::{Join, Routes, check_columns};

/// Bytes that are kept of a value that is too large for the reject topic.
const CUT: usize = 1 << 16;

/// Answers requests with the models and the state. Shared by all workers and the HTTP server.
pub struct Engine {
    /// The models, and the settings by which they answer.
    pub models: Models,
    /// The users' histories since the models were trained.
    pub state: Arc<State>,
    /// The topics that are read.
    pub topics: Vec<String>,
    /// Steps of one's own.
    pub steps: Arc<Steps>,
    /// The clock of the engine and of its flows, by which events expire and latencies are measured.
    pub clock: Arc<dyn Clock>,
    input: InputFormat,
    /// The most bytes of a record of the state topic.
    record_bytes: AtomicUsize,
    /// After how long without an event a user is forgotten.
    ttl: Option<Duration>,
    /// Whether histories are kept: with Kafka only where there is a state topic, without Kafka always.
    keeps_state: bool,
    receipts: bool,
    replaying: Option<Replaying>,
    /// The index of what happens.
    pub(crate) tracer: Option<Tracer>,
    partitioner: Partitioner,
    /// How many partitions each of `topics` has; 0 while that is not known.
    partitions: Vec<AtomicI32>,
}

/// How a replay differs: histories are looked up in all partitions, and not changed.
#[derive(Clone, Debug)]
pub struct Replaying {
    /// The topic whose users' histories are read.
    pub state_topic: String,
    /// In a replay of the reject topic, the topics that `event`s may go back to; else events are skipped.
    pub resubmit: Option<Vec<String>>,
    /// The number of a replay over the control API, by which what it answers is found.
    pub number: Option<u64>,
}

/// How a batch is to be read.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    /// Set for HTTP: messages are JSON whatever the config says, and of this type where they name none.
    pub http: Option<Kind>,
}

impl Engine {
    /// Opens the models, the table and the steps of a config.
    ///
    /// # Errors
    /// When a file cannot be opened or does not fit the config, or a step cannot be started.
    pub fn open(config: &ServeConfig) -> Result<Self> {
        Self::open_at(config, 0, Run::Running)
    }

    /// Does the same with a config that is a version of several.
    ///
    /// # Errors
    /// Likewise.
    pub fn open_at(config: &ServeConfig, version: u64, run: Run) -> Result<Self> {
        let kafka = config.kafka.as_ref();
        let state = Arc::new(State::default());
        Ok(Self {
            models: Models::open(config, Settings::open(config, version, run)?, Arc::clone(&state))?,
            state,
            steps: Arc::new(Steps::open(&config.steps)?),
            topics: kafka.map(|kafka| kafka.requests.clone()).unwrap_or_default(),
            clock: Arc::new(SystemClock),
            input: config.input.format,
            record_bytes: usize::MAX.into(),
            ttl: config.ttl(),
            keeps_state: kafka.is_none_or(|kafka| kafka.state.is_some()),
            receipts: kafka.is_some_and(|kafka| kafka.receipts.is_some()),
            replaying: None,
            tracer: None,
            partitioner: kafka.map_or(Partitioner::Any, |kafka| kafka.partitioner),
            partitions: kafka
                .map(|kafka| kafka.requests.iter().map(|_| AtomicI32::default()).collect())
                .unwrap_or_default(),
        })
    }

    /// Returns the engine with another clock than the system's.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the engine with a bound on the bytes of a user's record in the state topic: a history that would be larger
    /// loses its oldest events.
    pub fn with_record_bytes(self, most: usize) -> Self {
        self.bound_records(most);
        self
    }

    /// Sets that bound anew.
    pub fn bound_records(&self, most: usize) {
        self.record_bytes.store(most, Ordering::Relaxed);
    }

    /// Returns the engine with an index of what happens to its events.
    pub fn with_index(mut self, index: &Arc<Index>) -> Self {
        let replay = self.replaying.as_ref().and_then(|replaying| replaying.number);
        self.tracer = Some(Tracer::new(Arc::clone(index), &self.topics, replay));
        self
    }

    /// Returns an engine that answers a replay by a config, with its settings and the models of `live`.
    pub fn beside(
        &self,
        config: &ServeConfig,
        settings: Settings,
        live: &Live,
        replaying: Replaying,
    ) -> Self {
        let (kafka, state) = (config.kafka.as_ref(), Arc::new(State::default()));
        let live = Live { settings: Arc::new(settings), models: Arc::clone(&live.models) };
        let topics = kafka.map(|kafka| kafka.requests.clone()).unwrap_or_default();
        Self {
            models: self.models.beside(live, Arc::clone(&state)),
            steps: Arc::clone(&self.steps),
            state,
            clock: Arc::clone(&self.clock),
            input: self.input,
            record_bytes: self.record_bytes.load(Ordering::Relaxed).into(),
            ttl: self.ttl,
            keeps_state: self.keeps_state,
            receipts: self.receipts,
            replaying: Some(replaying),
            tracer: None,
            partitioner: self.partitioner,
            partitions: topics.iter().map(|_| AtomicI32::default()).collect(),
            topics,
        }
    }

    /// Returns the engine for a replay.
    pub fn replaying(mut self, replaying: Replaying) -> Self {
        self.replaying = Some(replaying);
        self
    }

    /// Notes how many partitions a topic of requests has.
    pub fn has_partitions(&self, topic: u16, n: i32) {
        self.partitions[usize::from(topic)].store(n, Ordering::Relaxed);
    }

    /// Returns the partition that a user's id belongs to, where that is another: the user's history is not there then.
    fn belongs_elsewhere(&self, part: TopicPartition, user: &WireId<'_>) -> Option<i32> {
        if !self.keeps_state || self.replaying.is_some() {
            return None;
        }
        let n = self.partitions.get(usize::from(part.topic))?.load(Ordering::Relaxed);
        let mut digits = [0; 20];
        let key = match user.id() {
            Id::Str(text) => text.as_bytes(),
            Id::Int(id) => {
                let mut left = &mut digits[..];
                write!(left, "{id}").expect("20 bytes hold any of 64 bits");
                let unused = left.len();
                &digits[..digits.len() - unused]
            }
        };
        self.partitioner.partition(key, n).filter(|right| *right != part.partition)
    }

    /// Returns the room that histories have.
    fn room(&self, limits: &Limits) -> Room {
        let Limits { users, history, .. } = *limits;
        Room { users, events: history, bytes: self.record_bytes.load(Ordering::Relaxed) }
    }

    /// Returns the moment, in Unix seconds, before which users are forgotten whose last event came then.
    pub fn forgets_before(&self) -> i64 {
        let ttl = self.ttl.map(|ttl| ttl.as_secs() as i64);
        ttl.map_or(0, |ttl| self.clock.unix_ms() / 1000 - ttl)
    }

    /// Returns how often to look for users who have been away for longer than `state.ttl`, if there is one.
    pub fn looks_for_the_absent(&self) -> Option<Duration> {
        Some((self.ttl? / 64).clamp(Duration::from_secs(1), Duration::from_secs(60)))
    }

    /// Forgets the users who have been away for longer than `state.ttl`.
    pub fn forget_the_absent(&self) {
        if self.ttl.is_some() {
            let users = self.state.expire(self.forgets_before());
            if users > 0 {
                tracing::info!(users, "forgotten, as their last event is older than state.ttl");
            }
        }
    }

    /// Returns the topics that `event`s of the reject topic may go back to, in a replay of it.
    fn resubmits(&self) -> Option<&[String]> {
        self.replaying.as_ref()?.resubmit.as_deref()
    }

    /// Returns the topic that the keys of a partition's records in the state topic name.
    pub fn state_topic(&self, part: TopicPartition) -> &str {
        match &self.replaying {
            Some(replaying) => &replaying.state_topic,
            None => self.topics.get(usize::from(part.topic)).map_or("", String::as_str),
        }
    }

    /// Adds the reject of an event, which keeps its key, value and headers.
    pub fn reject(&self, event: &Incoming, at: usize, reject: &Reject, out: &mut Outbox) {
        let models: Vec<String> = self.models.set().values().map(|served| served.label()).collect();
        let message = out.put(To::Rejects, at, |_| {});
        message.value = None;
        message.headers = vec![
            ("burnrec-reason", reject.to_string().into_bytes()),
            ("burnrec-stage", reject.stage.name().into()),
            (ATTEMPTS, event.tries().to_string().into_bytes()),
            (SOURCE, self.source(event).into_bytes()),
            ("burnrec-model", models.join(",").into_bytes()),
        ];
    }

    /// Adds the reject of an event that is itself too large for the reject topic: the first bytes of its value, with
    /// the value's length in a header; `burnrec-source` says where the whole event is.
    pub fn reject_cut(&self, event: &Incoming, at: usize, reject: &Reject, out: &mut Outbox) {
        self.reject(event, at, reject, out);
        let value = event.payload().unwrap_or_default();
        let start = out.bytes.len();
        out.bytes.extend_from_slice(&value[..value.len().min(CUT)]);
        let end = out.bytes.len();
        if let Some(message) = out.messages.last_mut() {
            message.value = Some(start..end);
            message.headers.push((BYTES, value.len().to_string().into_bytes()));
        }
    }

    /// Adds the receipt of an event of a batch that was answered, if receipts are kept.
    pub fn receipt(&self, event: &Incoming, at: usize, out: &mut Outbox) {
        if self.receipts {
            let micros = self.clock.since(event.received).as_micros() as u64;
            let mut receipt = serde_json::json!({
                "v": crate::message::VERSION, "source": self.source(event), "outcome": out.outcomes[at].name(),
                "attempts": event.attempts + 1, "latency_us": micros,
            });
            if let Some(served) = out.answered_by(at) {
                receipt["model"] = served.name.as_str().into();
                receipt["version"] = served.version.as_str().into();
                receipt["hash"] = served.hash.as_str().into();
                receipt["data"] = served.recommender.data.hash.as_str().into();
            }
            if let Some(replaying) = &self.replaying {
                receipt["replay"] = replaying.number.map_or(true.into(), Into::into);
            }
            if let Some(live) = out.live.as_ref().filter(|live| live.settings.version > 0) {
                receipt["config"] = live.settings.version.into();
            }
            out.put(To::Receipts, at, |bytes| {
                serde_json::to_writer(bytes, &receipt).expect("a JSON value is JSON");
            });
        }
    }

    /// Returns `topic/partition/offset` of an event; of one that comes from the reject topic, where it came from before.
    pub fn source(&self, event: &Incoming) -> String {
        if let Some(source) = event.header(SOURCE).filter(|_| self.resubmits().is_some()) {
            return source.to_owned();
        }
        let topic = self.topics.get(usize::from(event.part.topic)).map_or("http", String::as_str);
        format!("{topic}/{}/{}", event.part.partition, event.offset)
    }
}
