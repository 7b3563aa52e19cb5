//! librdkafka's clients with our settings, and what they tell us while they work.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, ProducerContext};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::token;
use crate::config::{Guarantee, KafkaConfig, Mode};
use crate::health::Health;
use crate::metrics::{Metrics, OfPartition};
use crate::{Error, Result};

/// How long a call to the brokers may take.
pub const CALL: Duration = Duration::from_secs(30);

/// How long the group waits for a member that is silent.
pub const SESSION: Duration = Duration::from_secs(15);

/// How long a question to them waits for its answer before it is asked again.
pub const ASK: Duration = Duration::from_secs(5);

/// rdkafka polls a producer for all of the time that it is given.
pub const POLL: Duration = Duration::from_millis(1);
/// How long a call waits before it looks whether the service stops.
pub const SLICE: Duration = Duration::from_secs(1);

/// An error that librdkafka mends by itself stands in `/health/ready` until this long after it was last heard.
const ERROR_STANDS: Duration = Duration::from_secs(5);

/// The settings that all clients share.
pub fn base(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap).set("client.id", "burnrec");
    // The default of a second leaves a consumer idle whenever its queue was full once.
    client.set("fetch.queue.backoff.ms", "10");
    client.set_log_level(RDKafkaLogLevel::Warning);
    client
}

/// Lays the user's settings of librdkafka over ours. Each kind of client refuses the other's, so that these are told
/// apart by name.
fn with_users(mut client: ClientConfig, config: &KafkaConfig, is_producer: bool) -> ClientConfig {
    for (key, value) in config.librdkafka() {
        if !(if is_producer { &CONSUMER_ONLY[..] } else { &PRODUCER_ONLY[..] }).contains(&key) {
            client.set(key, value);
        }
    }
    client
}

/// Settings that a producer only warns about.
const CONSUMER_ONLY: [&str; 14] = [
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.instance.id",
    "partition.assignment.strategy",
    "max.poll.interval.ms",
    "queued.min.messages",
    "queued.max.messages.kbytes",
    "fetch.wait.max.ms",
    "fetch.queue.backoff.ms",
    "fetch.message.max.bytes",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.error.backoff.ms",
    "check.crcs",
];

/// Settings that a consumer only warns about.
const PRODUCER_ONLY: [&str; 17] = [
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.ms",
    "linger.ms",
    "message.send.max.retries",
    "retries",
    "compression.codec",
    "compression.type",
    "compression.level",
    "batch.num.messages",
    "batch.size",
    "request.required.acks",
    "acks",
    "request.timeout.ms",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "transaction.timeout.ms",
];

/// Checks the user's settings of librdkafka.
///
/// # Errors
/// When one is unknown or has an impossible value.
pub fn check_settings(config: &KafkaConfig) -> Result<()> {
    for is_producer in [false, true] {
        let made = with_users(base(config), config, is_producer).create_native_config();
        made.map_err(|error| match error {
            KafkaError::ClientConfig(_, text, key, value) => {
                Error::config(format!("kafka.librdkafka.{key}"), value, format!("another: {text}"))
            }
            other => Error::kafka("set up a client")(other),
        })?;
    }
    token::check(config)
}

/// A consumer of the group; one that tells of the ends of partitions costs a little more.
pub fn consumer(
    config: &KafkaConfig,
    worker: usize,
    tells_ends: bool,
    watch: Watch,
) -> Result<BaseConsumer<Watch>> {
    let mut client = base(config);
    client
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", if tells_ends { "true" } else { "false" })
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", SESSION.as_millis().to_string())
        .set("client.id", client_id(config, worker))
        .set("statistics.interval.ms", "1000")
        .set("queued.min.messages", "100000")
        .set("fetch.wait.max.ms", if config.mode == Mode::Message { "10" } else { "100" });
    let client = with_users(client, config, false);
    let made = BaseConsumer::from_config_and_context(&client, watch);
    let consumer = made.map_err(Error::kafka("make a consumer"))?;
    token::fetch(&consumer);
    Ok(consumer)
}

/// A producer that writes nothing twice; with exactly-once it has the worker's own name.
pub fn producer(
    config: &KafkaConfig,
    worker: usize,
    deliveries: Deliveries,
) -> Result<BaseProducer<Deliveries>> {
    let mut client = base(config);
    client.remove("fetch.queue.backoff.ms");
    client
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("batch.num.messages", "50000")
        .set("linger.ms", if config.mode == Mode::Message { "0" } else { "5" });
    if config.guarantee == Guarantee::ExactlyOnce {
        client
            .set("transactional.id", transactional_id(config, worker))
            .set("transaction.timeout.ms", "10000");
    }
    let client = with_users(client, config, true);
    let made = BaseProducer::from_config_and_context(&client, deliveries);
    let producer = made.map_err(Error::kafka("make a producer"))?;
    producer.poll(Duration::ZERO); // It has its token before the first call that waits for the brokers.
    Ok(producer)
}

/// A worker's name in the group.
pub fn client_id(config: &KafkaConfig, worker: usize) -> String {
    format!("burnrec-{}-{worker}", config.instance.as_deref().unwrap_or_default())
}

/// A worker's name in transactions: the same after a restart, so that what its former self left open is aborted.
pub fn transactional_id(config: &KafkaConfig, worker: usize) -> String {
    format!("{}-{}-{worker}", config.group, config.instance.as_deref().unwrap_or_default())
}

/// A change of partitions that the consumer was told of and waits to hear back about.
pub struct Pending {
    /// Whether they come; else they go.
    pub assign: bool,
    /// Topics and partitions.
    pub parts: Vec<(String, i32)>,
}

/// Hears what a consumer is told. Rebalances are only noted: the flow answers them when it has made ready, which
/// librdkafka waits for.
pub struct Watch {
    /// Whose consumer it is, in `/health/ready`.
    who: String,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    pending: Mutex<VecDeque<Pending>>,
    /// While closing, rebalances are answered at once: the flow is no more.
    closing: std::sync::atomic::AtomicBool,
    last_error: Mutex<Option<Instant>>,
}

impl Watch {
    /// For a worker.
    pub fn new(who: &str, health: Arc<Health>, metrics: Arc<Metrics>) -> Self {
        Self {
            who: format!("{who}: brokers"),
            health,
            metrics,
            pending: Mutex::default(),
            closing: false.into(),
            last_error: Mutex::default(),
        }
    }

    /// Notes a change.
    pub fn note(&self, change: Pending) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }

    /// The next change that was noted.
    pub fn next_change(&self) -> Option<Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// From here on rebalances are answered at once.
    pub fn close(&self) {
        self.closing.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Something is wrong that librdkafka goes on to mend.
    pub fn heard(&self, error: KafkaError, reason: &str) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let error = Error::kafka("reach the brokers")(error);
        self.health.bad(&self.who, format!("{error} {reason}").trim_end().to_owned());
    }

    /// Events come, or statistics without an error for a while: the brokers are there.
    pub fn alive(&self) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|at| at.elapsed() > ERROR_STANDS) {
            *last = None;
            self.health.good(&self.who);
        }
    }
}

impl ClientContext for Watch {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> token::Found {
        token::read(config)
    }

    fn stats(&self, statistics: Statistics) {
        self.alive();
        let mut lags = BTreeMap::new();
        for (topic, of_topic) in &statistics.topics {
            let read = of_topic.partitions.iter().filter(|(_, part)| part.desired && part.consumer_lag >= 0);
            lags.extend(read.map(|(&partition, part)| {
                (OfPartition { topic: topic.clone(), partition }, part.consumer_lag)
            }));
        }
        self.metrics.lags_of(&self.who, lags);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is no error.
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PartitionEOF)) {
            return;
        }
        self.heard(error, reason);
    }
}

impl ConsumerContext for Watch {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(std::sync::atomic::Ordering::Relaxed) {
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

/// Counts what of each batch has not been delivered.
#[derive(Clone, Default)]
pub struct Deliveries(Arc<Mutex<Ledgers>>);

#[derive(Default)]
struct Ledgers {
    /// The number of the first batch of `open`.
    first: u64,
    /// Messages of each batch that are not delivered; a batch that is still being sent counts one more.
    open: VecDeque<usize>,
    failed: Option<String>,
    /// Events whose messages brokers will never take, as batch and place, with the topic and why.
    refused: Vec<(u64, usize, String, String)>,
}

impl Deliveries {
    /// Forgets everything before a batch that comes.
    pub fn reset(&self, next: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all = Ledgers { first: next, ..Ledgers::default() };
    }

    /// A message of a batch goes out.
    pub fn add(&self, batch: u64, messages: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.open.is_empty() && all.first < batch {
            all.first = batch;
        }
        let Some(at) = batch.checked_sub(all.first) else { return };
        if all.open.len() <= at as usize {
            all.open.resize(at as usize + 1, 0);
        }
        all.open[at as usize] += messages;
    }

    /// A message of a batch did not go out after all.
    pub fn remove(&self, batch: u64, messages: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = batch.wrapping_sub(all.first) as usize;
        if let Some(open) = all.open.get_mut(at) {
            *open = open.saturating_sub(messages);
        }
    }

    /// The last batch that is delivered with all before it, or why one will never be.
    pub fn last(&self) -> Result<u64, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = all.failed.take() {
            return Err(failed);
        }
        while all.open.front() == Some(&0) {
            all.open.pop_front();
            all.first += 1;
        }
        Ok(all.first.saturating_sub(1))
    }

    /// Events whose messages brokers refused for good.
    pub fn refused(&self) -> Vec<(u64, usize, String, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).refused)
    }
}

/// A batch and a place in it as a number.
pub fn opaque(batch: u64, event: usize) -> usize {
    ((batch as usize) << 24) | (event & 0xff_ffff)
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> token::Found {
        token::read(config)
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (batch, event) = ((opaque >> 24) as u64, opaque & 0xff_ffff);
        if let Err((error, message)) = result {
            use RDKafkaErrorCode as Code;
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let text = format!("{error} (topic {})", message.topic());
            if let Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord) =
                error.rdkafka_error_code()
            {
                all.refused.push((batch, event, message.topic().to_owned(), text.clone()));
            }
            // What was purged by an abort is no failure of its own.
            if !matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight)) {
                all.failed.get_or_insert(text);
            }
            return;
        }
        self.remove(batch, 1);
    }
}
