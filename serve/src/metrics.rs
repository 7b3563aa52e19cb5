//! What the service counts, for Prometheus and for the live page.

mod callers;
mod elsewhere;
mod labels;
mod provenance;
mod queues;
mod tenants;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use callers::Callers;
pub use elsewhere::Elsewhere;
pub use labels::{HttpLabels, ModelLabels, OutcomeLabels, PartitionLabels, QueueLabels, RecoveryLabels};
pub use provenance::ProvenanceCounts;
pub use queues::QueueLevel;
pub use tenants::{TenantCounts, TenantLevel};

use crate::event::{Incoming, TopicPartition};
use crate::outcome::EventOutcome;
use crate::progress::Progress;

/// All that is counted.
pub struct Metrics {
    registry: Registry,
    /// The gauges and counters of [`Elsewhere`]; locked while they are written.
    replies: Mutex<Family<ModelLabels, Counter>>,
    config: Gauge,
    newest_config: Gauge,
    ready: Gauge,
    tenants: tenants::TenantSeries,
    /// Events read.
    pub events: Counter,
    bytes: Counter,
    ended: Family<OutcomeLabels, Counter>,
    batches: Counter,
    score: Histogram,
    send: Histogram,
    latency: Histogram,
    commit: Histogram,
    queue_events: Family<QueueLabels, Gauge>,
    queue_bytes: Family<QueueLabels, Gauge>,
    queue_fill: Family<QueueLabels, Gauge<f64, AtomicU64>>,
    troubles: Family<RecoveryLabels, Counter>,
    bad_records: Counter,
    partitions: Gauge,
    users: Gauge,
    memory: Gauge,
    lag: Family<PartitionLabels, Gauge>,
    lost: Family<PartitionLabels, Counter>,
    /// What was lost last in each partition.
    elsewhere: Counter,
    warnings: Mutex<BTreeMap<String, String>>,
    losses: Mutex<BTreeMap<PartitionLabels, String>>,
    /// The lag of each partition, and the client that reported it.
    lags: Mutex<BTreeMap<PartitionLabels, (i64, String)>>,
    http: Family<HttpLabels, Counter>,
    /// HTTP requests answered.
    pub http_requests: Counter,
    http_seconds: Histogram,
    /// Who sent them.
    pub callers: Callers,
    /// The index of events.
    pub provenance: ProvenanceCounts,
    ends: Mutex<BTreeMap<OutcomeLabels, u64>>,
    last_trouble: Mutex<Option<String>>,
    /// Which workers get on.
    pub progress: Progress,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 10 microseconds to 10 seconds.
        let seconds = || Histogram::new(exponential_buckets(1e-5, 2.0, 21));
        let mut all = Self {
            registry: Registry::default(),
            replies: Mutex::default(),
            config: Gauge::default(),
            newest_config: Gauge::default(),
            ready: Gauge::default(),
            tenants: Default::default(),
            events: Counter::default(),
            bytes: Counter::default(),
            ended: Family::default(),
            batches: Counter::default(),
            score: seconds(),
            send: seconds(),
            latency: seconds(),
            commit: seconds(),
            queue_events: Family::default(),
            queue_bytes: Family::default(),
            queue_fill: Family::default(),
            troubles: Family::default(),
            bad_records: Counter::default(),
            partitions: Gauge::default(),
            users: Gauge::default(),
            memory: Gauge::default(),
            lag: Family::default(),
            lost: Family::default(),
            losses: Mutex::default(),
            elsewhere: Counter::default(),
            warnings: Mutex::default(),
            lags: Mutex::default(),
            http: Family::default(),
            http_requests: Counter::default(),
            http_seconds: seconds(),
            callers: Callers::default(),
            provenance: ProvenanceCounts::default(),
            ends: Mutex::default(),
            last_trouble: Mutex::default(),
            progress: Progress::default(),
        };
        let mut registry = Registry::default();
        registry.register("burnrec_events", "Events read from Kafka", all.events.clone());
        registry.register_with_unit("burnrec_event", "Bytes of events read", Unit::Bytes, all.bytes.clone());
        registry.register("burnrec_ended", "Events by how they ended", all.ended.clone());
        registry.register("burnrec_batches", "Batches answered", all.batches.clone());
        let seconds = [
            ("burnrec_score", "Decoding and scoring a batch", &all.score),
            ("burnrec_send", "Handing a batch's messages over", &all.send),
            ("burnrec_latency", "From reading the first event of a batch to sending its reply", &all.latency),
            ("burnrec_commit", "Committing; with at-least-once, handing a commit over", &all.commit),
            ("burnrec_http", "Answering an HTTP request", &all.http_seconds),
        ];
        for (name, help, histogram) in seconds {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        registry.register("burnrec_queue_events", "Events that wait", all.queue_events.clone());
        registry.register_with_unit("burnrec_queue", "Bytes that wait", Unit::Bytes, all.queue_bytes.clone());
        registry.register(
            "burnrec_queue_fill",
            "Share of a queue's bounds that is taken",
            all.queue_fill.clone(),
        );
        registry.register(
            "burnrec_rollbacks",
            "Rollbacks, after which uncommitted events are read again",
            all.troubles.clone(),
        );
        registry.register(
            "burnrec_bad_state_records",
            "Records of the state topic that could not be read",
            all.bad_records.clone(),
        );
        registry.register(
            "burnrec_partitions",
            "Partitions that this instance reads",
            all.partitions.clone(),
        );
        registry.register("burnrec_users_with_history", "Users with a history of events", all.users.clone());
        let help = "Memory in use";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, all.memory.clone());
        registry.register(
            "kafka_consumer_lag",
            "Offsets in a partition that are not done, up to its last stable one",
            all.lag.clone(),
        );
        registry.register(
            "burnrec_lost_events",
            "Events that were deleted before they were read",
            all.lost.clone(),
        );
        registry.register(
            "burnrec_events_elsewhere",
            "Events in another partition than their user's id belongs to",
            all.elsewhere.clone(),
        );
        registry.register("burnrec_http_requests", "HTTP requests", all.http.clone());
        all.callers.register(&mut registry);
        let replies = all.replies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        registry.register("burnrec_replies", "Replies by the model that gave them", replies);
        registry.register(
            "burnrec_config_version",
            "The version of the config that answers",
            all.config.clone(),
        );
        registry.register(
            "burnrec_config_newest_version",
            "The newest version of the config that this instance knows of",
            all.newest_config.clone(),
        );
        registry.register(
            "burnrec_ready",
            "1 where /health/ready has no reason against it",
            all.ready.clone(),
        );
        all.provenance.register(&mut registry);
        all.tenants.register(&mut registry);
        all.registry = registry;
        all
    }
}

impl Metrics {
    /// Counts events that were read.
    pub fn received(&self, events: &[Incoming]) {
        self.events.inc_by(events.len() as u64);
        self.bytes.inc_by(events.iter().map(|event| event.size() as u64).sum());
    }

    /// Counts a batch that was answered: how its events ended, how long scoring and sending took, and how long ago its
    /// first event was read.
    pub fn batch<'a>(
        &self,
        outcomes: impl Iterator<Item = (usize, &'a EventOutcome)>,
        score: Duration,
        send: Duration,
        latency: Option<Duration>,
    ) {
        let mut counts: BTreeMap<OutcomeLabels, u64> = BTreeMap::new();
        let mut outcomes = outcomes.map(|(_, outcome)| outcome).peekable();
        while let Some(first) = outcomes.next() {
            let like_it = std::iter::from_fn(|| outcomes.next_if(|next| *next == first)).count();
            *counts.entry(OutcomeLabels::of(first)).or_default() += 1 + like_it as u64;
        }
        self.count(counts);
        self.batches.inc();
        self.score.observe(score.as_secs_f64());
        self.send.observe(send.as_secs_f64());
        if let Some(latency) = latency {
            self.latency.observe(latency.as_secs_f64());
        }
    }

    fn count(&self, counts: BTreeMap<OutcomeLabels, u64>) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        for (ended, n) in counts {
            self.ended.get_or_create(&ended).inc_by(n);
            *ends.entry(ended).or_default() += n;
        }
    }

    /// Returns how events ended so far.
    pub fn ends(&self) -> BTreeMap<OutcomeLabels, u64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a commit, and how long it took.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// Counts a failure after which what was not committed is read again.
    pub fn trouble(&self, text: &str, rebuild: bool) {
        self.troubles.get_or_create(&RecoveryLabels { by: if rebuild { "rebuild" } else { "abort" } }).inc();
        *self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
    }

    /// Counts a record of the state topic that could not be read.
    pub fn bad_record(&self, error: &str) {
        self.bad_records.inc();
        let text = format!("a record of the state topic: {error}");
        *self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Returns what went wrong last.
    pub fn last_trouble(&self) -> Option<String> {
        self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts partitions that were assigned.
    pub fn assigned(&self, parts: &[TopicPartition]) {
        self.partitions.inc_by(parts.len() as i64);
    }

    /// Counts partitions that were revoked, and drops their lags; `topics` are the names of their topics.
    pub fn revoked(&self, parts: &[TopicPartition], topics: &[String]) {
        self.partitions.dec_by(parts.len() as i64);
        let gone = |of: &PartitionLabels| {
            let is_of = |part: &TopicPartition| {
                part.partition == of.partition && topics.get(usize::from(part.topic)) == Some(&of.topic)
            };
            parts.iter().any(is_of)
        };
        self.drop_lags(|of, _| gone(of));
    }

    /// Returns how many partitions are read.
    pub fn partitions(&self) -> i64 {
        self.partitions.get()
    }

    /// Sets the lags of all partitions that a client reads; those it reported of others before are dropped.
    pub fn lags_of(&self, client: &str, now: BTreeMap<PartitionLabels, i64>) {
        self.drop_lags(|of, by| by == client && !now.contains_key(of));
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        for (of, lag) in now {
            self.lag.get_or_create(&of).set(lag);
            lags.insert(of, (lag, client.to_owned()));
        }
    }

    fn drop_lags(&self, gone: impl Fn(&PartitionLabels, &str) -> bool) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        for (of, _) in lags.extract_if(.., |of, (_, by)| gone(of, by)) {
            self.lag.remove(&of);
        }
    }

    /// Counts events of a partition that were deleted before they were read, and notes what happened.
    pub fn lost(&self, of: PartitionLabels, events: i64, what: String) {
        self.lost.get_or_create(&of).inc_by(events.unsigned_abs());
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).insert(of, what);
    }

    /// Counts events in other partitions than their users' ids belong to; `text` tells of one of them.
    pub fn elsewhere(&self, events: usize, text: String) {
        if self.elsewhere.inc_by(events as u64) == 0 {
            tracing::warn!("{text}");
        }
        self.warn("kafka.partitioner", Some(text));
    }

    /// Sets what is to be said of something until it is set anew, or nothing.
    pub fn warn(&self, of: &str, text: Option<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        match text {
            Some(text) => drop(warnings.insert(of.to_owned(), text)),
            None => drop(warnings.remove(of)),
        }
    }

    /// Returns what is to be said, by what it is of.
    pub fn warnings(&self) -> BTreeMap<String, String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what was lost last in each partition.
    pub fn losses(&self) -> BTreeMap<PartitionLabels, String> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the lags of all partitions.
    pub fn lags(&self) -> BTreeMap<PartitionLabels, i64> {
        let lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.iter().map(|(of, (lag, _))| (of.clone(), *lag)).collect()
    }

    /// Counts an HTTP request that was answered.
    pub fn http(&self, path: &str, status: u16, took: Duration) {
        self.http.get_or_create(&HttpLabels { path: path.to_owned(), status }).inc();
        self.http_requests.inc();
        self.http_seconds.observe(took.as_secs_f64());
    }

    /// Counts an event that came over HTTP.
    pub fn ended(&self, outcome: &EventOutcome) {
        self.count(BTreeMap::from([(OutcomeLabels::of(outcome), 1)]));
    }

    /// Writes all of it in the OpenMetrics text format, with what is counted of steps of one's own.
    pub fn text(&self, now: Elsewhere, steps: Option<&Registry>) -> String {
        self.users.set(now.users as i64);
        self.config.set(now.config as i64);
        self.newest_config.set(now.newest_config as i64);
        self.ready.set(i64::from(now.ready));
        self.tenants.show(&now.tenants);
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.clear();
        for (of, n) in &now.replies {
            replies.get_or_create(of).inner().store(*n, std::sync::atomic::Ordering::Relaxed);
        }
        self.memory.set(resident_bytes().unwrap_or(0) as i64);
        let mut text = String::new();
        let all = [&self.registry].into_iter().chain(steps);
        let written = all.into_iter().try_for_each(|registry| encode_registry(&mut text, registry));
        written.and_then(|()| encode_eof(&mut text)).expect("writing into memory cannot fail");
        text
    }
}

/// Returns the bytes of memory in use, where the system says (Linux).
pub fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

#[cfg(test)]
mod tests;
