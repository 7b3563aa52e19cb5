//! What the state topic of a service holds of one user, and the erasure of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use burnrec_data::Id;
use burnrec_data::held::HeldRow;
use burnrec_models::Progress;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Serialize;

use super::begin::partitions;
use super::client::{ClientKind, check_settings, metadata_reader, reader};
use super::context::Context;
use super::restore::{Quiet, is_confirmation, restore};
use super::upkeep::Upkeep;
use crate::config::{KafkaConfig, ServeConfig};
use crate::state::record::{read_history, read_key};
use crate::{Error, Result};

/// How long a poll waits, and so how soon an interruption is heard.
const TICK: Duration = Duration::from_millis(100);

/// What a partition of the state topic has of a user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserState {
    /// The topic of requests that the history is of.
    pub topic: String,
    /// The partition of the state topic.
    pub partition: i32,
    /// The events of the history, the oldest first; none where it was erased and the service has not confirmed that.
    pub history: Vec<HeldRow>,
    /// Whether it was erased and the service has not confirmed that: it may still have the history in memory.
    pub unconfirmed: bool,
    /// The key of the record.
    #[serde(skip)]
    key: Vec<u8>,
}

/// What is found of a user, and where the partitions ended then.
struct Look {
    found: Vec<UserState>,
    ends: HashMap<i32, i64>,
}

/// Returns what the state topic of a service holds of a user, for each of the service's topics of requests; nothing where the
/// service keeps no histories.
///
/// # Errors
/// When the brokers cannot be asked, or a record of the user cannot be read.
pub fn user_state(config: &ServeConfig, user: Id<'_>) -> Result<Vec<UserState>> {
    match state_of(config)? {
        Some((kafka, state)) => Ok(look(kafka, state, user)?.found),
        None => Ok(Vec::new()),
    }
}

/// Erases what the state topic of a service holds of a user: writes a record without a value over each that has a history, and waits
/// for up to `wait` until the service confirms these and those that were written before. Returns what was found, each `unconfirmed`
/// where the service has not confirmed it in that time, as it does not run, or has much to do; it does when it reads the partition
/// next.
///
/// # Errors
/// As [`user_state`], and when the brokers do not take a record.
pub fn erase_user_state(
    config: &ServeConfig,
    user: Id<'_>,
    wait: Duration,
    progress: &dyn Progress,
) -> Result<Vec<UserState>> {
    let Some((kafka, state)) = state_of(config)? else { return Ok(Vec::new()) };
    let Look { mut found, ends } = look(kafka, state, user)?;
    if found.is_empty() {
        return Ok(found);
    }
    let upkeep = Upkeep::new(kafka, false)?;
    for of in found.iter().filter(|of| !of.unconfirmed) {
        upkeep.send(BaseRecord::<[u8], [u8]>::to(state).partition(of.partition).key(&of.key))?;
    }
    upkeep.finish()?;
    // A confirmation counts after the record that it confirms.
    let mut waiting: BTreeMap<(i32, Vec<u8>), bool> =
        found.iter().map(|of| ((of.partition, of.key.clone()), of.unconfirmed)).collect();
    let consumer = follow(kafka, state, &found, &ends)?;
    let begin = Instant::now();
    while !waiting.is_empty() && begin.elapsed() < wait && !progress.interrupted() {
        match consumer.poll(TICK) {
            Some(Ok(message)) if message.payload().is_none() => {
                let at = (message.partition(), message.key().unwrap_or_default().to_vec());
                match (waiting.get(&at).copied(), is_confirmation(&message)) {
                    (Some(true), true) => _ = waiting.remove(&at),
                    (Some(_), false) => _ = waiting.insert(at, true),
                    _ => {}
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "waiting for the service to confirm an erasure"),
            _ => {}
        }
    }
    for of in &mut found {
        of.unconfirmed = waiting.contains_key(&(of.partition, of.key.clone()));
    }
    Ok(found)
}

/// Returns the settings of Kafka and the state topic; none where the service keeps no histories there.
fn state_of(config: &ServeConfig) -> Result<Option<(&KafkaConfig, &str)>> {
    let Some(kafka) = &config.kafka else { return Ok(None) };
    check_settings(kafka)?;
    Ok(kafka.state.as_deref().map(|state| (kafka, state)))
}

/// Reads all partitions of the state topic: a history may be where the config's partitioner would not have it.
fn look(kafka: &KafkaConfig, state: &str, user: Id<'_>) -> Result<Look> {
    let ask = || Error::kafka("read the state topic");
    let all = partitions(&metadata_reader(kafka, Quiet)?, state).map_err(ask())?;
    let all: Vec<i32> = all.into_iter().map(|(_, partition)| partition).collect();
    type Records = BTreeMap<(i32, Vec<u8>), (String, Option<Vec<u8>>)>;
    let mut records = Records::new();
    let restored = restore(kafka, state, &all, &mut |partition, key, value| {
        let Ok(of) = read_key(key) else { return };
        if of.user.id() == user && kafka.requests.contains(&of.topic) {
            records.insert((partition, key.to_vec()), (of.topic, value.map(<[u8]>::to_vec)));
        }
    })
    .map_err(ask())?;
    let mut found = Vec::new();
    for ((partition, key), (topic, value)) in records {
        let unconfirmed = value.is_none();
        // Erased, and confirmed.
        if unconfirmed && !restored.erased.contains(&(partition, key.clone())) {
            continue;
        }
        let history = value.map(|value| history(&value)).transpose().map_err(|text| Error::Topics {
            found: format!("a record of {state}/{partition} for {topic} and the user: {text}"),
            expected: "a user's history".into(),
        })?;
        let history = history.unwrap_or_default();
        found.push(UserState { topic, partition, history, unconfirmed, key });
    }
    Ok(Look { found, ends: restored.ends })
}

/// Reads the events of a record, the oldest first.
fn history(value: &[u8]) -> std::result::Result<Vec<HeldRow>, String> {
    let events = read_history(value)?.events;
    Ok(events.iter().map(|event| HeldRow::new(event.item.id(), event.value, event.time)).collect())
}

/// Reads on where the partitions of what was found ended.
fn follow(
    kafka: &KafkaConfig,
    state: &str,
    found: &[UserState],
    ends: &HashMap<i32, i64>,
) -> Result<BaseConsumer<Context<Quiet>>> {
    let failed = || Error::kafka("follow the state topic");
    let consumer = reader(kafka, ClientKind::Follow, Quiet).map_err(failed())?;
    let mut list = TopicPartitionList::new();
    for partition in found.iter().map(|of| of.partition).collect::<BTreeSet<i32>>() {
        let end = ends.get(&partition).copied().unwrap_or(0);
        list.add_partition_offset(state, partition, Offset::Offset(end)).map_err(failed())?;
    }
    consumer.assign(&list).map_err(failed())?;
    Ok(consumer)
}
