//! Which clients a setting of librdkafka is for, by the column C/P of librdkafka 2.12's `CONFIGURATION.md`.
//!
//! A client only warns about a setting of the other kind, and ignores it; a setting that is in neither list is for both.

/// The kind of a client, as librdkafka tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client that reads, or only asks for metadata.
    Consumer,
    /// A client that writes.
    Producer,
}

impl Role {
    /// Returns whether clients of this kind know a setting.
    pub fn takes(self, key: &str) -> bool {
        match self {
            Self::Consumer => !PRODUCER_ONLY.contains(&key),
            Self::Producer => !CONSUMER_ONLY.contains(&key),
        }
    }
}

/// The settings marked `C`.
const CONSUMER_ONLY: [&str; 34] = [
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
    "consume_cb",
    "offset_commit_cb",
    "rebalance_cb",
];

/// The settings marked `P`.
const PRODUCER_ONLY: [&str; 30] = [
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
    "dr_cb",
    "dr_msg_cb",
    "msg_order_cmp",
    "partitioner_cb",
];
