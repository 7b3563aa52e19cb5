//! How large messages may be: what the topics take, and what a message takes.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::KafkaResult;

use super::client::{ASK, ClientKind, settings};
use super::context::{Context, Listener};
use crate::config::{KafkaConfig, Limits};
use crate::{Error, Result};

/// librdkafka's defaults of `batch.size` and `message.max.bytes`.
const DEFAULT_BYTES: usize = 1_000_000;

/// The bytes of a record batch before its records.
const BATCH_HEAD: usize = 61;

/// Bytes of a state record that are neither of its key nor of its events: the batch, the record, the JSON around.
const RECORD_FRAME: usize = BATCH_HEAD + 80;

/// The most bytes that the value, the brackets and the time of one event take in a state record.
const EVENT_FRAME: usize = 56;

/// The most bytes of a batch that each topic takes.
#[derive(Clone, Debug, Default)]
pub struct TopicLimits {
    topics: HashMap<String, usize>,
    /// The user's own `message.max.bytes`.
    client: Option<usize>,
    /// Whether the client compresses: only the brokers then know how large a batch is.
    compresses: bool,
    /// What the state topic does with old records: its `cleanup.policy` and `retention.ms`.
    cleanup: Option<(String, i64)>,
}

struct Asking;

impl Listener for Asking {}

impl TopicLimits {
    /// Asks for the limits of all topics of a config. What the brokers do not tell is unknown, and then found where they
    /// refuse a message.
    pub fn ask(config: &KafkaConfig) -> Self {
        let find =
            |names: &[&str]| config.librdkafka().find(|(key, _)| names.contains(key)).map(|found| found.1);
        let codec = find(&["compression.type", "compression.codec"]);
        let client = find(&["message.max.bytes"]).and_then(|bytes| bytes.parse().ok());
        let mut limits =
            Self { client, compresses: codec.is_some_and(|codec| codec != "none"), ..Self::default() };
        // The client that asks polls no tokens.
        let mechanism = find(&["sasl.mechanism", "sasl.mechanisms"]).unwrap_or_default();
        if mechanism.eq_ignore_ascii_case("OAUTHBEARER") {
            tracing::info!(
                "topics are not asked for their max.message.bytes, since the client signs in by OAUTHBEARER"
            );
            return limits;
        }
        if let Err(error) = limits.describe(config) {
            tracing::warn!(%error, "the topics' max.message.bytes are not known");
        }
        limits
    }

    fn describe(&mut self, config: &KafkaConfig) -> KafkaResult<()> {
        let optional = [&config.state, &config.receipts, &config.shadow].into_iter().flatten();
        let topics = config.requests.iter().chain([&config.replies, &config.rejects]).chain(optional);
        let topics: Vec<ResourceSpecifier<'_>> = topics.map(|name| ResourceSpecifier::Topic(name)).collect();
        let client = settings(config, ClientKind::Admin);
        let admin = AdminClient::from_config_and_context(&client, Context(Asking))?;
        let options = AdminOptions::new().request_timeout(Some(ASK));
        for found in wait_for(admin.describe_configs(&topics, &options))? {
            let Ok(found) = found.inspect_err(|error| {
                tracing::warn!(%error, "a topic's max.message.bytes is not known");
            }) else {
                continue;
            };
            let rdkafka::admin::OwnedResourceSpecifier::Topic(name) = &found.specifier else { continue };
            let value = |key: &str| found.get(key).and_then(|entry| entry.value.clone());
            if let Some(most) = value("max.message.bytes").and_then(|most| most.parse().ok()) {
                self.topics.insert(name.clone(), most);
            }
            if config.state.as_ref() == Some(name) {
                let retention = value("retention.ms").and_then(|ms| ms.parse().ok());
                self.cleanup = value("cleanup.policy").zip(retention);
            }
        }
        Ok(())
    }

    /// Keeps the batches of a producer under the limits of all topics, and lets it take what the topics take.
    pub fn bound(&self, client: &mut ClientConfig) {
        let given = |key: &str| client.get(key).and_then(|bytes| bytes.parse::<usize>().ok());
        let (batch, message) = (given("batch.size"), given("message.max.bytes"));
        if let Some(&least) = self.topics.values().min() {
            client.set("batch.size", batch.unwrap_or(DEFAULT_BYTES).min(least).max(1).to_string());
        }
        if let (Some(&most), None) = (self.topics.values().max(), message) {
            client.set("message.max.bytes", most.clamp(DEFAULT_BYTES, 1_000_000_000).to_string());
        }
    }

    /// Returns the most bytes of a message alone that a topic takes, as far as that is known before it is sent.
    pub fn most(&self, topic: &str) -> Option<usize> {
        if self.compresses {
            return None;
        }
        let topic = self.topics.get(topic).copied();
        topic.into_iter().chain(self.client).min()
    }

    /// Returns the most bytes of a message alone that every topic takes, as far as that is known.
    pub fn least(&self) -> usize {
        match self.compresses {
            true => usize::MAX,
            false => self.topics.values().copied().chain(self.client).min().unwrap_or(usize::MAX),
        }
    }

    /// Checks that the state topic keeps the last record of each user, for `ttl` at least where it deletes old ones.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_cleanup(&self, config: &KafkaConfig, ttl: Option<Duration>) -> Result<()> {
        let (Some(topic), Some((policy, retention))) = (&config.state, &self.cleanup) else { return Ok(()) };
        let is = |part: &str| policy.split(',').any(|of| of.trim() == part);
        let wrong = |found: String, expected: String| {
            Err(Error::Topics { found: format!("{found} of the state topic {topic}"), expected })
        };
        if !is("compact") {
            let expected = "compact: the topic keeps the last record of each user".to_owned();
            return wrong(format!("cleanup.policy={policy}"), expected);
        }
        let lasts = u64::try_from(*retention).map_or(Duration::MAX, Duration::from_millis);
        match ttl {
            _ if !is("delete") => Ok(()),
            Some(ttl) if lasts >= ttl => Ok(()),
            _ => {
                let least = ttl.map(|ttl| format!(" and retention.ms={} or more", ttl.as_millis()));
                let expected = format!(
                    "cleanup.policy=compact, or with it state.ttl{}: users whose histories it deletes must be forgotten before",
                    least.unwrap_or_default()
                );
                wrong(format!("cleanup.policy={policy} and retention.ms={retention}"), expected)
            }
        }
    }

    /// Checks that a topic keeps the last record of each key, for as long as the key is there.
    ///
    /// # Errors
    /// When it does not.
    #[cfg(feature = "http")]
    pub fn check_compacted(config: &KafkaConfig, topic: &str) -> Result<()> {
        let limits = Self::ask(&KafkaConfig { state: Some(topic.to_owned()), ..config.clone() });
        match limits.cleanup {
            Some((policy, _)) if policy.trim() != "compact" => Err(Error::Topics {
                found: format!("cleanup.policy={policy} of {topic}"),
                expected: "compact: it keeps the versions of the config".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the most bytes of the value of a state record, with which it fits into its topic whatever its key is.
    ///
    /// # Errors
    /// When not even one event fits.
    pub fn record_bytes(&self, config: &KafkaConfig, limits: &Limits) -> Result<usize> {
        let Some(state) = &config.state else { return Ok(usize::MAX) };
        let most = self.most(state).unwrap_or(DEFAULT_BYTES);
        // A byte of an id takes up to six in JSON.
        let (topic, id) =
            (config.requests.iter().map(String::len).max().unwrap_or(0), 6 * limits.id_bytes + 2);
        let frame = RECORD_FRAME + topic + id;
        let least = frame + id + EVENT_FRAME;
        match most >= least {
            true => Ok(most - frame),
            false => Err(Error::Topics {
                found: format!("max.message.bytes {most} of {state}"),
                expected: format!(
                    "at least {least}, or a smaller limits.id_bytes than {}: a history of one event must fit",
                    limits.id_bytes
                ),
            }),
        }
    }
}

/// Returns the bytes of a record batch with one message alone, as brokers count it; the headers are given by the lengths
/// of their names and values.
pub fn alone(
    key: Option<usize>,
    value: Option<usize>,
    headers: impl Iterator<Item = (usize, Option<usize>)>,
) -> usize {
    let field = |len: Option<usize>| len.map_or(1, |len| varint(len) + len);
    let (mut n, mut all) = (0, 0);
    for (name, value) in headers {
        n += 1;
        all += field(Some(name)) + field(value);
    }
    // Attributes, and the differences of time and offset, which are 0 in the first record of a batch.
    let record = 3 + field(key) + field(value) + varint(n) + all;
    BATCH_HEAD + varint(record) + record
}

/// Returns the bytes of a number that is not negative as a varint in zigzag.
fn varint(n: usize) -> usize {
    let bits = usize::BITS - (2 * n).leading_zeros();
    (bits as usize).div_ceil(7).max(1)
}

/// Waits for a future on this thread.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, mut task) = (pin!(future), Task::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut task) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_size_that_brokers_count() {
        assert_eq!([0, 63, 64, 8191, 8192].map(varint), [1, 1, 2, 2, 3]);
        // 61 of the batch, 1 of the record's length, then attributes, times, offsets, key, value and no headers.
        assert_eq!(alone(None, Some(3), std::iter::empty()), 61 + 1 + 3 + 1 + 4 + 1);
        let headers = [(1, Some(2)), (1, None)];
        assert_eq!(alone(Some(1), Some(100), headers.into_iter()), 61 + 2 + 3 + 2 + 102 + 1 + 5 + 3);
    }

    #[test]
    fn a_producer_keeps_under_the_least_limit() {
        let limits = |topics: &[(&str, usize)], client| TopicLimits {
            topics: topics.iter().map(|(name, most)| ((*name).to_owned(), *most)).collect(),
            client,
            ..TopicLimits::default()
        };
        let all = limits(&[("replies", 20_000), ("rejects", 5_000_000)], None);
        let mut client = ClientConfig::new();
        all.bound(&mut client);
        assert_eq!(
            (client.get("batch.size"), client.get("message.max.bytes")),
            (Some("20000"), Some("5000000"))
        );
        assert_eq!((all.most("replies"), all.most("other")), (Some(20_000), None));
        let all = limits(&[("replies", 20_000)], Some(9_000));
        let mut client = ClientConfig::new();
        client.set("batch.size", "7").set("message.max.bytes", "9000");
        all.bound(&mut client);
        assert_eq!((client.get("batch.size"), client.get("message.max.bytes")), (Some("7"), Some("9000")));
        assert_eq!(all.most("replies"), Some(9_000));
    }

    #[test]
    fn the_state_topic_must_keep_what_is_not_forgotten() {
        let text = "bootstrap = 'b'\nrequests = ['q']\nreplies = 'r'\nrejects = 'x'\nstate = 's'";
        let config: KafkaConfig = toml::from_str(text).unwrap();
        let found = |policy: &str, retention: i64, ttl: Option<u64>| {
            let limits = TopicLimits { cleanup: Some((policy.into(), retention)), ..TopicLimits::default() };
            let checked = limits.check_cleanup(&config, ttl.map(Duration::from_secs));
            checked.map_err(|error| error.to_string())
        };
        for (policy, retention, ttl) in
            [("compact", 1000, None), ("compact,delete", 7000, Some(7)), ("delete, compact", -1, Some(7))]
        {
            found(policy, retention, ttl).unwrap();
        }
        for (policy, retention, ttl) in
            [("delete", -1, Some(7)), ("compact,delete", 7000, None), ("compact,delete", 6999, Some(7))]
        {
            let error = found(policy, retention, ttl).unwrap_err();
            assert!(
                error.contains(&format!("cleanup.policy={policy}")) && error.contains("topic s"),
                "{error}"
            );
        }
        TopicLimits::default().check_cleanup(&config, None).expect("what brokers do not tell is not refused");
    }
}
