//! The keys of `[kafka]`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::secret::{HIDDEN, is_secret};
use super::{Partitioner, Span};
use crate::{Error, Result};

/// Topics, guarantee and pace.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// The brokers, `host:port,…`.
    pub bootstrap: String,
    /// The consumer group; instances of one group share the partitions.
    #[serde(default = "burnrec")]
    pub group: String,
    /// This instance's name in the group; each has its own, and keeps it over restarts. Exactly-once requires it.
    pub instance: Option<String>,
    /// The delivery guarantee.
    #[serde(default)]
    pub guarantee: Guarantee,
    /// Small batches for throughput, or one event at a time for latency.
    #[serde(default)]
    pub mode: Mode,
    /// The topics to read.
    pub requests: Vec<String>,
    /// The topic of replies.
    pub replies: String,
    /// The topic of what could not be answered.
    pub rejects: String,
    /// The compacted topic that keeps the users' histories, with at least as many partitions as each topic of requests;
    /// without it requests of type `event` are rejected.
    pub state: Option<String>,
    /// A topic with a receipt for each event.
    pub receipts: Option<String>,
    /// The topic of what shadow models reply.
    pub shadow: Option<String>,
    /// How those who write the requests choose the partition of a user's id, their key: `murmur2` (Kafka's own clients),
    /// `crc32` (librdkafka's by themselves), or `any`, which is not checked. Events over HTTP are written by it.
    #[serde(default)]
    pub partitioner: Partitioner,
    /// Where a group begins with a topic of which it has committed no offset: `committed` (the default) and `earliest` at
    /// the earliest event, `latest` at the end, or `ts=UNIX_MS`, `last=1h`, `offsets=0:17,1:4`. Where it has committed
    /// one, it goes on there, whatever this says.
    #[serde(default)]
    pub from: Start,
    /// What to do where events are gone that were not read: deleted by the topic's retention, or with the topic. By default
    /// `stop` exactly once, and `go-on` at least once.
    pub on_data_loss: Option<OnDataLoss>,
    /// Threads that consume, score and produce, each with a share of the partitions.
    #[serde(default = "two")]
    pub workers: usize,
    /// The time between two commits of offsets (or transactions), in milliseconds.
    #[serde(default = "hundred")]
    pub commit_ms: u64,
    /// How long a stop may take to answer the events that were read, in milliseconds.
    #[serde(default = "ten_seconds")]
    pub drain_timeout_ms: u64,
    /// Settings of librdkafka, as it names them: TLS, SASL, compression, and all others. A name with dots may be quoted
    /// or not: the nested tables that TOML makes of it without quotes mean the same.
    #[serde(default, deserialize_with = "dotted", serialize_with = "without_secrets")]
    pub librdkafka: BTreeMap<String, toml::Value>,
}

/// The delivery guarantee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Every event is answered; after a crash some are answered twice.
    #[default]
    AtLeastOnce,
    /// Every event is answered once, for readers with `isolation.level=read_committed`.
    ExactlyOnce,
}

/// What to do where events are gone that were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDataLoss {
    /// The service stops with an error.
    Stop,
    /// They are counted, and reading goes on after them.
    GoOn,
}

/// What the service is tuned for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Batches of up to `flow.batch_events`, filled for up to `flow.batch_ms`.
    #[default]
    Stream,
    /// Events are answered as soon as they are there.
    Message,
}

/// Where to start in the partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// Where the group left off.
    #[default]
    Committed,
    /// At the earliest event that the broker still has.
    Earliest,
    /// At the end: only events from now on are read.
    Latest,
    /// At the first event from this time on, in Unix milliseconds.
    Time(i64),
    /// At the first event within this span before now.
    Last(Duration),
    /// At these offsets, by partition; as `Committed` in the others.
    Offsets(BTreeMap<i32, i64>),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            "committed, earliest, latest, ts=UNIX_MS, last=90s|5m|1h|7d or offsets=PARTITION:OFFSET,…";
        let bad = || format!("found {text:?}, expected {expected}");
        match text.split_once('=') {
            None if text == "committed" => Ok(Self::Committed),
            None if text == "earliest" => Ok(Self::Earliest),
            None if text == "latest" => Ok(Self::Latest),
            Some(("ts", ms)) => Ok(Self::Time(ms.parse().map_err(|_| bad())?)),
            Some(("last", span)) => Ok(Self::Last(span.parse::<Span>().map_err(|_| bad())?.0)),
            Some(("offsets", list)) => list
                .split(',')
                .map(|pair| {
                    let (partition, offset) = pair.split_once(':')?;
                    Some((partition.parse().ok()?, offset.parse().ok().filter(|&offset: &i64| offset >= 0)?))
                })
                .collect::<Option<_>>()
                .map(Self::Offsets)
                .ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        match start {
            Start::Committed => "committed".into(),
            Start::Earliest => "earliest".into(),
            Start::Latest => "latest".into(),
            Start::Time(ms) => format!("ts={ms}"),
            Start::Last(span) => format!("last={}s", span.as_secs()),
            Start::Offsets(offsets) => {
                let pairs: Vec<String> =
                    offsets.iter().map(|(part, offset)| format!("{part}:{offset}")).collect();
                format!("offsets={}", pairs.join(","))
            }
        }
    }
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Flattens nested tables into one, their names joined by dots.
fn dotted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, toml::Value>, D::Error> {
    let mut all = BTreeMap::new();
    let mut left: Vec<(String, toml::Value)> = BTreeMap::deserialize(deserializer)?.into_iter().collect();
    while let Some((name, value)) = left.pop() {
        match value {
            toml::Value::Table(inner) => {
                left.extend(inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            _ if all.contains_key(&name) => {
                return Err(D::Error::custom(format!("{name} is there twice; expected it once")));
            }
            value => drop(all.insert(name, value)),
        }
    }
    Ok(all)
}

/// Writes the settings of librdkafka without passwords, keys and tokens.
fn without_secrets<S: Serializer>(
    all: &BTreeMap<String, toml::Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = |(key, value): (&String, &toml::Value)| match is_secret(key) {
        true => (key.clone(), toml::Value::String(HIDDEN.into())),
        false => (key.clone(), value.clone()),
    };
    all.iter().map(shown).collect::<BTreeMap<_, _>>().serialize(serializer)
}

fn burnrec() -> String {
    "burnrec".into()
}

fn two() -> usize {
    2
}

fn hundred() -> u64 {
    100
}

fn ten_seconds() -> u64 {
    10_000
}

impl KafkaConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self) -> Result<()> {
        let name = |field: &str, name: &str| match name.trim().is_empty() {
            true => Err(Error::config(field, "an empty text", "a name")),
            false => Ok(()),
        };
        name("kafka.bootstrap", &self.bootstrap)?;
        name("kafka.group", &self.group)?;
        if self.requests.is_empty() {
            return Err(Error::config("kafka.requests", "none", "at least one topic"));
        }
        let optional = [
            ("kafka.state", self.state.as_ref()),
            ("kafka.receipts", self.receipts.as_ref()),
            ("kafka.shadow", self.shadow.as_ref()),
        ];
        let out = [("kafka.replies", Some(&self.replies)), ("kafka.rejects", Some(&self.rejects))];
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for topic in &self.requests {
            if taken.insert(topic, "kafka.requests").is_some() {
                return Err(Error::config("kafka.requests", format!("{topic} twice"), "each topic once"));
            }
        }
        for (field, topic) in out.into_iter().chain(optional) {
            let Some(topic) = topic else { continue };
            name(field, topic)?;
            if let Some(other) = taken.insert(topic, field) {
                let expected = format!("a topic of its own: {other} is that one as well");
                return Err(Error::config(field, topic, expected));
            }
        }
        if self.workers == 0 {
            return Err(Error::config("kafka.workers", 0, "at least 1"));
        }
        if self.commit_ms == 0 {
            return Err(Error::config("kafka.commit_ms", 0, "at least 1"));
        }
        for (key, value) in &self.librdkafka {
            if !(value.is_str() || value.is_integer() || value.is_bool() || value.is_float()) {
                let found = format!("the type {}", value.type_str());
                return Err(Error::config(format!("kafka.librdkafka.{key}"), found, "a text or a number"));
            }
            if OF_MEMBERS.contains(&key.as_str()) && self.brokers_keep_group() {
                let expected =
                    "no such key beside group.protocol = \"consumer\": brokers set it, by group.consumer.*";
                return Err(Error::config(format!("kafka.librdkafka.{key}"), value, expected));
            }
            if OURS.contains(&key.as_str()) {
                let expected = "a key of [kafka] instead: the guarantee rests on this one";
                return Err(Error::config(format!("kafka.librdkafka.{key}"), value, expected));
            }
        }
        super::sasl::check_mechanism(self)
    }

    /// Returns what to do where events are gone that were not read.
    pub fn on_data_loss(&self) -> OnDataLoss {
        self.on_data_loss.unwrap_or(match self.guarantee {
            Guarantee::ExactlyOnce => OnDataLoss::Stop,
            Guarantee::AtLeastOnce => OnDataLoss::GoOn,
        })
    }

    /// Returns whether brokers assign the partitions and end the sessions of members (KIP-848), in place of a member and by its
    /// settings: `group.protocol = "consumer"` of librdkafka.
    pub fn brokers_keep_group(&self) -> bool {
        self.librdkafka().any(|(key, value)| key == "group.protocol" && value == "consumer")
    }

    /// Returns the other settings of librdkafka, with their values as it takes them.
    pub fn librdkafka(&self) -> impl Iterator<Item = (&str, String)> {
        let text = |value: &toml::Value| match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.librdkafka.iter().map(move |(key, value)| (key.as_str(), text(value)))
    }
}

/// Settings of librdkafka by which the members keep their group; brokers that keep it have their own.
const OF_MEMBERS: [&str; 4] =
    ["group.protocol.type", "heartbeat.interval.ms", "partition.assignment.strategy", "session.timeout.ms"];

/// Settings of librdkafka that the service itself must set.
const OURS: [&str; 11] = [
    "bootstrap.servers",
    "group.id",
    "transactional.id",
    "enable.auto.commit",
    "auto.commit.interval.ms",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "isolation.level",
    "auto.offset.reset",
    "partitioner",
];

impl fmt::Debug for KafkaConfig {
    /// Leaves out the settings of librdkafka, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap", &self.bootstrap)
            .field("group", &self.group)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_has_one_use() {
        let found = |more: &str| {
            let topics = "bootstrap = 'b'\nreplies = 'r'\nrejects = 'x'";
            let config: KafkaConfig = toml::from_str(&format!("{topics}\n{more}")).unwrap();
            config.validate().map_err(|error| error.to_string())
        };
        found("requests = ['q', 'p']\nstate = 's'\nreceipts = 't'\nshadow = 'v'").unwrap();
        for (more, field, other) in [
            ("requests = ['q']\nstate = 'r'", "kafka.state", "kafka.replies"),
            ("requests = ['q']\nstate = 'x'", "kafka.state", "kafka.rejects"),
            ("requests = ['q']\nshadow = 'q'", "kafka.shadow", "kafka.requests"),
            ("requests = ['q']\nstate = 's'\nshadow = 's'", "kafka.shadow", "kafka.state"),
            ("requests = ['q']\nreceipts = 'r'", "kafka.receipts", "kafka.replies"),
            ("requests = ['r']", "kafka.replies", "kafka.requests"),
            ("requests = ['q', 'q']", "kafka.requests", "twice"),
        ] {
            let error = found(more).unwrap_err();
            assert!(error.starts_with(field) && error.contains(other), "{more}: {error}");
        }
    }

    fn read(settings: &str) -> Result<Vec<(String, String)>, toml::de::Error> {
        let topics = "bootstrap = 'b'\nrequests = ['q']\nreplies = 'r'\nrejects = 'x'";
        let config: KafkaConfig = toml::from_str(&format!("{topics}\n[librdkafka]\n{settings}"))?;
        Ok(config.librdkafka().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    #[test]
    fn a_group_that_brokers_keep_takes_no_settings_of_members() {
        let check = |settings: &str| -> Result<()> {
            let topics = "bootstrap = 'b'\nrequests = ['q']\nreplies = 'r'\nrejects = 'x'";
            toml::from_str::<KafkaConfig>(&format!("{topics}\n[librdkafka]\n{settings}")).unwrap().validate()
        };
        let both = "group.protocol = 'consumer'\nsession.timeout.ms = 4000";
        for sound in
            ["group.protocol = 'consumer'", &both.replace("consumer", "classic"), "session.timeout.ms = 4000"]
        {
            check(sound).unwrap();
        }
        let error = check(both).unwrap_err().to_string();
        assert!(error.starts_with("kafka.librdkafka.session.timeout.ms: found 4000"), "{error}");
    }

    #[test]
    fn settings_of_librdkafka_are_named_with_quotes_or_without() {
        let both = read("sasl.username = 'me'\n\"sasl.password\" = 'secret'\nlinger.ms = 3").unwrap();
        let expected = [("linger.ms", "3"), ("sasl.password", "secret"), ("sasl.username", "me")];
        assert_eq!(both, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let error = read("linger.ms = 3\n\"linger.ms\" = 5").unwrap_err().to_string();
        assert!(error.contains("linger.ms is there twice"), "{error}");
    }
}
