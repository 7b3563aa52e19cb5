//! librdkafka's clients: one builder for all of them, so that a setting of the user reaches every client that knows it.

use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};

use super::context::{Context, Listener};
use super::scope::Role;
use super::token;
use super::watch::Watch;
use crate::config::{Guarantee, HIDDEN, KafkaConfig, Mode, is_secret};
use crate::{Error, Result};

/// How long a call to the brokers may take.
pub const CALL: Duration = Duration::from_secs(30);

/// How long a member that is silent stays in the group: by `session.timeout.ms` as it is set here, or where brokers keep the group
/// by their `group.consumer.session.timeout.ms`, whose default this is.
pub fn session(config: &KafkaConfig) -> Duration {
    Duration::from_secs(if config.brokers_keep_group() { 45 } else { 15 })
}

/// How long a question to the brokers waits for its answer before it is asked again.
pub const ASK: Duration = Duration::from_secs(5);

/// How long one try of a call may block, so that a stop of the service is noticed.
pub const SLICE: Duration = Duration::from_secs(1);

/// What the service uses a client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Reads the requests of a worker as a member of the group.
    Worker {
        /// The worker's number.
        worker: usize,
        /// Whether it reports the ends of partitions (`enable.partition.eof`), which costs a little more.
        tells_ends: bool,
    },
    /// Writes what a worker's events lead to, as an idempotent producer; with exactly-once in transactions.
    Replies {
        /// The worker's number.
        worker: usize,
    },
    /// Reads the state topic.
    Restore {
        /// Whether it sees only what is committed.
        committed: bool,
    },
    /// Reads on in the state topic while the service runs.
    Follow,
    /// Reads the requests once more, of no group, for training data.
    Drain,
    /// Writes the events that come over HTTP.
    #[cfg(feature = "http")]
    Events,
    /// Writes counts and histories that move.
    Upkeep {
        /// Whether in transactions.
        transactional: bool,
    },
    /// Asks for metadata before the start.
    Metadata,
    /// Asks for the configs of topics.
    Admin,
}

impl ClientKind {
    fn role(self) -> Role {
        match self {
            Self::Worker { .. } | Self::Restore { .. } | Self::Follow | Self::Drain | Self::Metadata => {
                Role::Consumer
            }
            Self::Replies { .. } | Self::Upkeep { .. } | Self::Admin => Role::Producer,
            #[cfg(feature = "http")]
            Self::Events => Role::Producer,
        }
    }

    /// Adds what the service itself sets for clients of this kind.
    fn set_own(self, config: &KafkaConfig, client: &mut ClientConfig) {
        let flag = |is: bool| if is { "true" } else { "false" };
        let is_message = config.mode == Mode::Message;
        match self {
            Self::Worker { worker, tells_ends } => {
                client
                    .set("group.id", &config.group)
                    .set("enable.auto.commit", flag(config.guarantee == Guarantee::AtLeastOnce))
                    .set("auto.commit.interval.ms", config.commit_ms.to_string())
                    .set("enable.auto.offset.store", "false")
                    .set("enable.partition.eof", flag(tells_ends))
                    .set("isolation.level", "read_committed")
                    // What a log does not have any more is noticed.
                    .set("auto.offset.reset", "error")
                    .set("client.id", client_id(config, worker))
                    .set("statistics.interval.ms", "1000")
                    // How soon it is noticed that a topic has more partitions.
                    .set("topic.metadata.refresh.interval.ms", "10000")
                    // Enough to be busy until the next fetch; what waits longer has left the processor's caches when
                    // it is read.
                    .set("queued.min.messages", "10000")
                    .set("fetch.wait.max.ms", if is_message { "10" } else { "100" });
                if !config.brokers_keep_group() {
                    client
                        .set("partition.assignment.strategy", "cooperative-sticky")
                        .set("session.timeout.ms", session(config).as_millis().to_string())
                        // A member hears of others that come and go with its next heartbeat: the default of 3 s leaves
                        // them waiting.
                        .set("heartbeat.interval.ms", "500");
                }
            }
            Self::Replies { worker } => {
                client
                    .set("enable.idempotence", "true")
                    .set("partitioner", config.partitioner.of_librdkafka())
                    .set("batch.num.messages", "50000")
                    // How long messages wait for others at most.
                    .set("linger.ms", if is_message { "0" } else { "5" });
                if config.guarantee == Guarantee::ExactlyOnce {
                    client
                        .set("transactional.id", transactional_id(config, worker))
                        .set("transaction.timeout.ms", "10000");
                }
            }
            Self::Restore { .. } | Self::Follow => {
                let committed = self != Self::Restore { committed: false };
                client
                    .set("group.id", format!("{}-state", config.group))
                    .set("enable.auto.commit", "false")
                    .set("isolation.level", if committed { "read_committed" } else { "read_uncommitted" })
                    .set("auto.offset.reset", "earliest");
                if self == Self::Follow {
                    // Nearly all that it reads is what the service itself writes: not a fetch for each of its batches.
                    client.set("fetch.min.bytes", "1000000").set("fetch.wait.max.ms", "500");
                } else {
                    client.set("enable.partition.eof", "true");
                }
            }
            Self::Drain => {
                client
                    .set("group.id", format!("{}-drain", config.group))
                    .set("enable.auto.commit", "false")
                    .set("enable.partition.eof", "true")
                    .set("isolation.level", "read_committed")
                    // What a log does not have any more is noticed.
                    .set("auto.offset.reset", "error");
            }
            #[cfg(feature = "http")]
            Self::Events => {
                client
                    .set("enable.idempotence", "true")
                    .set("partitioner", config.partitioner.of_librdkafka())
                    .set("message.timeout.ms", "10000");
            }
            Self::Upkeep { transactional } => {
                client.set("enable.idempotence", "true").set("message.timeout.ms", "30000");
                if transactional {
                    client.set("transactional.id", format!("{}-upkeep", config.group));
                }
            }
            Self::Metadata | Self::Admin => {}
        }
    }
}

/// Builds the settings of a client: those that all share, then the service's own for this kind, then those of
/// `[kafka.librdkafka]` that clients of this kind know.
pub fn settings(config: &KafkaConfig, kind: ClientKind) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap).set("client.id", "burnrec");
    client.set_log_level(RDKafkaLogLevel::Warning);
    if kind.role() == Role::Consumer {
        // The default of a second leaves a consumer idle whenever its queue was full once.
        client.set("fetch.queue.backoff.ms", "10");
    }
    kind.set_own(config, &mut client);
    for (key, value) in config.librdkafka().filter(|(key, _)| kind.role().takes(key)) {
        client.set(key, value);
    }
    client
}

/// Checks the user's settings of librdkafka.
///
/// # Errors
/// When one is unknown or has an impossible value.
pub fn check_settings(config: &KafkaConfig) -> Result<()> {
    for kind in [ClientKind::Worker { worker: 0, tells_ends: false }, ClientKind::Replies { worker: 0 }] {
        settings(config, kind).create_native_config().map_err(|error| match error {
            KafkaError::ClientConfig(_, text, key, value) => {
                let (found, expected) = match is_secret(&key) {
                    true => (HIDDEN, "a valid value".to_owned()),
                    false => (value.as_str(), format!("a valid value: {text}")),
                };
                Error::config(format!("kafka.librdkafka.{key}"), found, expected)
            }
            other => Error::kafka("set up a client")(other),
        })?;
    }
    token::check(config)
}

/// Makes a consumer, and polls it once to bring its OAUTHBEARER token before the first call that waits for brokers.
///
/// # Errors
/// When a setting is refused.
pub fn reader<L: Listener>(
    config: &KafkaConfig,
    kind: ClientKind,
    listener: L,
) -> KafkaResult<BaseConsumer<Context<L>>>
where
    Context<L>: ConsumerContext,
{
    let made = BaseConsumer::from_config_and_context(&settings(config, kind), Context(listener))?;
    drop(made.poll(Duration::ZERO));
    Ok(made)
}

/// Makes the consumer of a worker.
///
/// # Errors
/// When a setting is refused.
pub fn consumer(
    config: &KafkaConfig,
    worker: usize,
    tells_ends: bool,
    watch: Watch,
) -> Result<BaseConsumer<Context<Watch>>> {
    let made = reader(config, ClientKind::Worker { worker, tells_ends }, watch);
    made.map_err(Error::kafka("make a consumer"))
}

/// Makes a client that asks for metadata.
///
/// # Errors
/// When a setting is refused.
pub fn metadata_reader<L: Listener>(config: &KafkaConfig, listener: L) -> Result<BaseConsumer<Context<L>>>
where
    Context<L>: ConsumerContext,
{
    let made = reader(config, ClientKind::Metadata, listener);
    made.map_err(Error::kafka("make a client; see [kafka.librdkafka]"))
}

/// Returns a worker's client id, by which the brokers name it in the group.
pub fn client_id(config: &KafkaConfig, worker: usize) -> String {
    format!("burnrec-{}-{worker}", config.instance.as_deref().unwrap_or_default())
}

/// Returns a worker's transactional id: the same after a restart, so that what its predecessor left open is aborted.
pub fn transactional_id(config: &KafkaConfig, worker: usize) -> String {
    format!("{}-{}-{worker}", config.group, config.instance.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSUMERS: [ClientKind; 7] = [
        ClientKind::Worker { worker: 0, tells_ends: false },
        ClientKind::Worker { worker: 1, tells_ends: true },
        ClientKind::Restore { committed: false },
        ClientKind::Restore { committed: true },
        ClientKind::Follow,
        ClientKind::Drain,
        ClientKind::Metadata,
    ];
    const PRODUCERS: &[ClientKind] = &[
        ClientKind::Replies { worker: 0 },
        ClientKind::Admin,
        ClientKind::Upkeep { transactional: true },
        #[cfg(feature = "http")]
        ClientKind::Events,
    ];

    const COMMON: [(&str, &str); 9] = [
        ("enable.ssl.certificate.verification", "false"),
        ("client.dns.lookup", "resolve_canonical_bootstrap_servers_only"),
        ("broker.address.family", "v4"),
        ("client.rack", "r1"),
        ("socket.keepalive.enable", "true"),
        ("socket.timeout.ms", "12345"),
        ("security.protocol", "SASL_SSL"),
        ("sasl.username", "me"),
        ("ssl.ca.location", "ca.pem"),
    ];
    const OF_CONSUMERS: [(&str, &str); 3] =
        [("fetch.min.bytes", "7"), ("session.timeout.ms", "4000"), ("max.poll.interval.ms", "70000")];
    const OF_PRODUCERS: [(&str, &str); 4] =
        [("linger.ms", "9"), ("compression.type", "zstd"), ("batch.size", "70000"), ("acks", "all")];

    fn config(guarantee: &str) -> KafkaConfig {
        let all = COMMON.iter().chain(&OF_CONSUMERS).chain(&OF_PRODUCERS);
        let lines: String = all.map(|(key, value)| format!("\"{key}\" = \"{value}\"\n")).collect();
        let text = format!(
            "bootstrap = \"b:1\"\ninstance = \"i\"\nguarantee = \"{guarantee}\"\nrequests = [\"q\"]\n\
             replies = \"r\"\nrejects = \"x\"\n[librdkafka]\n{lines}"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_common_setting_reaches_every_client() {
        for config in ["at-least-once", "exactly-once"].map(config) {
            for kind in CONSUMERS.iter().chain(PRODUCERS).copied() {
                let client = settings(&config, kind);
                for (key, value) in COMMON {
                    assert_eq!(client.get(key), Some(value), "{key} of {kind:?}");
                }
                assert_eq!(client.get("bootstrap.servers"), Some("b:1"), "{kind:?}");
                client.create_native_config().unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            }
        }
    }

    #[test]
    fn brokers_keep_the_group_where_that_is_asked_for() {
        let worker = ClientKind::Worker { worker: 0, tells_ends: false };
        for (protocol, session) in [("classic", Some("15000")), ("consumer", None)] {
            let mut config = config("exactly-once");
            config.librdkafka = toml::from_str(&format!("\"group.protocol\" = \"{protocol}\"")).unwrap();
            let client = settings(&config, worker);
            assert_eq!(client.get("session.timeout.ms"), session);
            // librdkafka itself refuses what does not go with the protocol.
            client.create::<BaseConsumer>().unwrap();
        }
    }

    #[test]
    fn a_setting_of_one_kind_reaches_that_kind_alone() {
        let config = config("exactly-once");
        let cases = [
            (&CONSUMERS[..], &OF_CONSUMERS[..], &OF_PRODUCERS[..]),
            (PRODUCERS, &OF_PRODUCERS, &OF_CONSUMERS),
        ];
        for (kinds, own, others) in cases {
            for &kind in kinds {
                let client = settings(&config, kind);
                for (key, value) in own {
                    assert_eq!(client.get(key), Some(*value), "{key} of {kind:?}");
                }
                for (key, _) in others {
                    assert_eq!(client.get(key), None, "{key} of {kind:?}");
                }
                assert!(!client.config_map().keys().any(|key| !kind.role().takes(key)), "{client:?}");
            }
        }
    }
}
