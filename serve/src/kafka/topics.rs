//! Checks before the start that the brokers answer and have the topics that the config names.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaError;

use super::client::{check_settings, metadata_reader};
use super::context::{Context, Listener};
use super::sizes::TopicLimits;
use crate::config::{Guarantee, KafkaConfig};
use crate::metrics::Metrics;
use crate::{Error, Result};

/// How often the state topic's config is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// How long the brokers may take to answer for the first time.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Checks that who answers exactly once has a name, that the brokers answer and have all topics, and that the state topic fits and keeps what is not forgotten after
/// `ttl`; returns how large messages to the topics may be.
///
/// # Errors
/// When they do not.
pub fn check(config: &KafkaConfig, ttl: Option<Duration>) -> Result<TopicLimits> {
    check_settings(config)?;
    // Who only reads the topics, or moves histories, needs none.
    if config.guarantee == Guarantee::ExactlyOnce && config.instance.is_none() {
        let expected = "a name that no other instance of the group has, for exactly-once";
        return Err(Error::config("kafka.instance", "none", expected));
    }
    let heard = Heard::default();
    let reader = metadata_reader(config, heard.clone())?;
    let all = reader.fetch_metadata(None, FIRST_ANSWER).map_err(|error| {
        // Serving the queue once brings the errors that say why.
        let _ = reader.poll(Duration::from_millis(100));
        match heard.last() {
            Some(reason) => Error::Topics {
                found: format!("no answer from {}: {reason}", config.bootstrap),
                expected: "a broker that this client may talk to; see kafka.bootstrap and [kafka.librdkafka]"
                    .into(),
            },
            None => Error::kafka(format!("reach {}", config.bootstrap))(error),
        }
    })?;
    let partitions = |name: &str| {
        let topic = all.topics().iter().find(|topic| topic.name() == name);
        topic.filter(|topic| topic.error().is_none()).map(|topic| topic.partitions().len())
    };
    let out = [Some(&config.replies), Some(&config.rejects)];
    let optional = [config.state.as_ref(), config.receipts.as_ref(), config.shadow.as_ref()];
    let names = config.requests.iter().chain(out.into_iter().chain(optional).flatten());
    let missing: Vec<&str> = names.map(String::as_str).filter(|name| partitions(name).is_none()).collect();
    if !missing.is_empty() {
        let known: Vec<&str> =
            all.topics().iter().map(|topic| topic.name()).filter(|name| !name.starts_with("__")).collect();
        let found = match known.is_empty() {
            true => "no topics".to_owned(),
            false => format!("the topics {}", known.join(", ")),
        };
        let expected = format!("{} as well; create the missing ones first", missing.join(", "));
        return Err(Error::Topics { found, expected });
    }
    if let Some(state) = &config.state {
        let of_state = partitions(state).unwrap_or(0);
        for topic in &config.requests {
            let n = partitions(topic).unwrap_or(0);
            if n > of_state {
                let found = format!("{of_state} partitions of {state} and {n} of {topic}");
                let expected =
                    "at least as many of the state topic: each partition keeps its own state".into();
                return Err(Error::Topics { found, expected });
            }
        }
    }
    let limits = TopicLimits::ask(config);
    limits.check_cleanup(config, ttl)?;
    Ok(limits)
}

/// Looks at the config of the state topic now and then until `stop` is set, in a thread of its own that nobody waits for;
/// `/health/ready` and the page say what is wrong with it.
pub fn watch(config: &KafkaConfig, ttl: Option<Duration>, metrics: &Arc<Metrics>, stop: &Arc<AtomicBool>) {
    if config.state.is_none() {
        return;
    }
    let (config, metrics, stop) = (config.clone(), Arc::clone(metrics), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut looked = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            if looked.elapsed() >= LOOK {
                let found = TopicLimits::ask(&config).check_cleanup(&config, ttl);
                metrics.warn("kafka.state", found.err().map(|error| error.to_string()));
                looked = Instant::now();
            }
        }
    });
}

/// Remembers the first thing that the client reported, which is the cause.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Option<String>>>);

impl Heard {
    fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Listener for Heard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, text: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The first report names the cause; later ones say that no broker is left. Reports about settings are skipped.
        if !text.starts_with("[thrd:app]") {
            last.get_or_insert_with(|| text.to_owned());
        }
    }

    fn error(&self, _: KafkaError, reason: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.get_or_insert_with(|| reason.to_owned());
    }
}

impl ConsumerContext for Context<Heard> {}
