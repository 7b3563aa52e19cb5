//! What a worker's consumer reports: rebalances, errors, statistics.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::context::{Context, Listener};
use crate::Error;
use crate::health::Health;
use crate::metrics::Metrics;

/// An error that librdkafka retries by itself stands in `/health/ready` until this long after its last report.
const ERROR_STANDS: Duration = Duration::from_secs(5);

/// A rebalance that the consumer reported and that waits for the flow's answer.
pub struct Pending {
    /// Whether the partitions are assigned; else they are revoked.
    pub assign: bool,
    /// Topics and partitions.
    pub parts: Vec<(String, i32)>,
}

/// Handles the reports of a worker's consumer. Rebalances are only queued here: librdkafka waits until the flow
/// answers them.
pub struct Watch {
    /// The name of the worker in `/health/ready`.
    who: String,
    health: Arc<Health>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    pending: Mutex<VecDeque<Pending>>,
    /// While closing, rebalances are answered at once, as the flow has ended.
    closing: AtomicBool,
    last_error: Mutex<Option<Instant>>,
    ends: Mutex<Vec<NamedEnd>>,
    counts: Mutex<Vec<(String, i32)>>,
}

/// A partition with its last stable offset, and whether all before that was handed out.
pub type NamedEnd = ((String, i32), i64, bool);

impl Watch {
    /// Makes the listener of a worker's consumer.
    pub fn new(who: &str, health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        Self {
            who: format!("{who}: brokers"),
            health,
            metrics,
            pending: Mutex::default(),
            closing: false.into(),
            last_error: Mutex::default(),
            ends: Mutex::default(),
            counts: Mutex::default(),
        }
    }

    /// Queues a rebalance.
    pub fn note(&self, change: Pending) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }

    /// Takes the next rebalance from the queue.
    pub fn next_change(&self) -> Option<Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Takes the ends of partitions that the last statistics told of.
    pub fn ends(&self) -> Vec<NamedEnd> {
        std::mem::take(&mut self.ends.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes how many partitions the topics have by the last statistics.
    pub fn counts(&self) -> Vec<(String, i32)> {
        std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on rebalances are answered at once.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Notes an error that librdkafka retries by itself.
    pub fn heard(&self, error: KafkaError, reason: &str) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let error = Error::kafka("reach the brokers")(error);
        self.health.bad(&self.who, format!("{error} {reason}").trim_end().to_owned());
    }

    /// Notes that events or statistics came from the brokers; they count as ready again when no error was reported for
    /// a while.
    pub fn alive(&self) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|at| at.elapsed() > ERROR_STANDS) {
            *last = None;
            self.health.good(&self.who);
        }
    }
}

impl Listener for Watch {
    fn stats(&self, statistics: Statistics) {
        // librdkafka reports once that brokers are gone, and statistics each second without any.
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.alive();
        }
        let count = |(topic, of): (&String, &rdkafka::statistics::Topic)| {
            (topic.clone(), of.partitions.keys().filter(|partition| **partition >= 0).count() as i32)
        };
        let counts = statistics.topics.iter().map(count).collect();
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.clear();
        for (topic, of_topic) in statistics.topics {
            let read =
                of_topic.partitions.into_iter().filter(|(_, part)| part.desired && part.ls_offset >= 0);
            ends.extend(read.map(|(partition, part)| {
                // What the queue holds was not handed out yet; beyond it the client has read all that there is.
                let is_read = part.fetchq_cnt == 0 && part.next_offset >= part.ls_offset;
                ((topic.clone(), partition), part.ls_offset, is_read)
            }));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is no error, and a place that is not in the log any more is found anew.
        use RDKafkaErrorCode as Code;
        if matches!(
            error.rdkafka_error_code(),
            Some(Code::PartitionEOF | Code::AutoOffsetReset | Code::LogTruncation)
        ) {
            return;
        }
        self.heard(error, reason);
    }
}

impl ConsumerContext for Context<Watch> {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "a commit is tried again");
        }
    }

    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            let answered = match (assign, consumer.rebalance_protocol()) {
                (true, RebalanceProtocol::Cooperative) => {
                    consumer.incremental_assign(&TopicPartitionList::new())
                }
                (false, RebalanceProtocol::Cooperative) => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "a rebalance while closing");
            }
            return;
        }
        let elements = list.elements();
        let parts = elements.iter().map(|part| (part.topic().to_owned(), part.partition())).collect();
        self.note(Pending { assign, parts });
    }
}
