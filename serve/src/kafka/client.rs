//! librdkafka's clients with our settings.

use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use super::deliveries::Deliveries;
use super::token;
use super::watch::Watch;
use crate::config::{Guarantee, KafkaConfig, Mode};
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
        .set("enable.auto.commit", (config.guarantee == Guarantee::AtLeastOnce).to_string())
        .set("auto.commit.interval.ms", config.commit_ms.to_string())
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", if tells_ends { "true" } else { "false" })
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", SESSION.as_millis().to_string())
        // A member hears of others that come and go with its next heartbeat: the default of 3 s leaves them waiting.
        .set("heartbeat.interval.ms", "500")
        .set("client.id", client_id(config, worker))
        .set("statistics.interval.ms", "1000")
        // Enough to be busy until the next fetch; what waits longer has left the processor's caches when it is read.
        .set("queued.min.messages", "10000")
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
