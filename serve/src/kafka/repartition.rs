//! Moves histories to where their users' events come, after topics have got more partitions.

use std::collections::{BTreeMap, HashMap};

use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

use super::begin::partitions;
use super::client::{ASK, ClientKind, metadata_reader, reader, session};
use super::counts::Count;
use super::members::members;
use super::restore::{Quiet, restore};
use super::upkeep::Upkeep;
use crate::config::{KafkaConfig, Partitioner, ServeConfig};
use crate::event::ERASED;
use crate::state::record::{read_history, read_key, write_history};
use crate::state::{History, Room};
use crate::{Error, Result};

/// How many histories move in one transaction.
const TOGETHER: usize = 1000;

/// What a repartition did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Users with a history.
    pub users: usize,
    /// Those whose history moved.
    pub moved: usize,
    /// Those of the moved who had another history where theirs belongs: the two are one now.
    pub merged: usize,
    /// Events that the group has not answered yet.
    pub waiting: i64,
}

/// The live records of a user, by partition.
type Records = BTreeMap<i32, Vec<u8>>;

/// Moves each history of the state topic into the partition that `kafka.partitioner` has for its user, by as many
/// partitions as the topics of requests have now. A move is a transaction; what was moved stays moved where a later one
/// fails, and the command can be run again. `tell` hears of each user, whether it is the
/// first and how many there are.
///
/// # Errors
/// When the group has members, the state topic has too few partitions, a record cannot be read, or brokers fail.
pub fn repartition(config: &ServeConfig, tell: &mut dyn FnMut(bool, usize)) -> Result<Moved> {
    let kafka = config.kafka.as_ref();
    let kafka = kafka.ok_or_else(|| Error::config("kafka", "none", "the table [kafka] with its topics"))?;
    let state = kafka.state.as_ref();
    let state =
        state.ok_or_else(|| Error::config("kafka.state", "none", "the topic that keeps the histories"))?;
    if kafka.partitioner == Partitioner::Any {
        let expected = "murmur2 or crc32: where a user's events come is not known otherwise";
        return Err(Error::config("kafka.partitioner", "any", expected));
    }
    super::check(kafka, config.ttl())?;
    let reader = metadata_reader(kafka, Quiet)?;
    let ask = |what: &'static str| Error::kafka(what);
    let members = members(reader.client(), &kafka.group, ASK).map_err(ask("ask for the group"))?.len();
    if members > 0 {
        let found = format!("{members} members of the group {}", kafka.group);
        let session = session(kafka).as_secs();
        let expected =
            format!("none: stop all instances first; one that was killed stays a member for {session} s");
        return Err(Error::Topics { found, expected });
    }
    let count = |topic: &str| -> Result<i32> {
        Ok(partitions(&reader, topic).map_err(ask("ask for partitions"))?.len() as i32)
    };
    let of_state = count(state)?;
    let mut counts: HashMap<&str, i32> = HashMap::new();
    for topic in &kafka.requests {
        counts.insert(topic, count(topic)?);
    }
    let all: Vec<i32> = (0..of_state).collect();
    let mut users: BTreeMap<Vec<u8>, Records> = BTreeMap::new();
    restore(kafka, state, &all, &mut |partition, key, value| {
        let records = users.entry(key.to_vec()).or_default();
        match value {
            Some(value) => drop(records.insert(partition, value.to_vec())),
            None => drop(records.remove(&partition)),
        }
    })
    .map_err(ask("read the state topic"))?;
    users.retain(|_, records| !records.is_empty());

    let room = Room { users: usize::MAX, events: config.limits.history, bytes: usize::MAX };
    let mut done = Moved { users: users.len(), waiting: waiting(kafka)?, ..Moved::default() };
    let upkeep = Upkeep::new(kafka, true)?;
    let (mut open, all_users) = (0, users.len());
    for (at, (key, records)) in users.into_iter().enumerate() {
        tell(at == 0, all_users);
        let bad = |text: String| Error::Topics {
            found: format!("a record of {state} with the key {}: {text}", String::from_utf8_lossy(&key)),
            expected: "a user's history".into(),
        };
        let of = read_key(&key).map_err(bad)?;
        let home = counts.get(of.topic.as_str()).and_then(|&n| {
            let id = of.user.id().to_string();
            kafka.partitioner.partition(id.as_bytes(), n)
        });
        // A topic that the config does not name is another service's.
        let Some(home) = home.filter(|home| records.keys().any(|partition| partition != home)) else {
            continue;
        };
        if open == 0 {
            upkeep.begin()?;
        }
        let value = merged(&records, room).map_err(bad)?;
        upkeep.send(BaseRecord::to(state).partition(home).key(&key[..]).payload(&value[..]))?;
        for &partition in records.keys().filter(|partition| **partition != home) {
            let header = Header { key: ERASED, value: None::<&[u8]> };
            let record = BaseRecord::<[u8], [u8]>::to(state).partition(partition).key(&key[..]);
            upkeep.send(record.headers(OwnedHeaders::new().insert(header)))?;
        }
        done.moved += 1;
        done.merged += usize::from(records.len() > 1);
        open += 1;
        if open == TOGETHER {
            upkeep.commit()?;
            open = 0;
        }
    }
    if open > 0 {
        upkeep.commit()?;
    }
    for (topic, n) in counts {
        let of_topic: Vec<i32> = (0..n).collect();
        Count { topic: topic.to_owned(), partitions: n }.write(kafka, &of_topic)?;
    }
    Ok(done)
}

/// Returns the one history of a user's records: the events of all, those of the one that was changed last at the end.
fn merged(records: &Records, room: Room) -> std::result::Result<Vec<u8>, String> {
    let mut all: Vec<History> =
        records.values().map(|value| read_history(value)).collect::<std::result::Result<_, _>>()?;
    all.sort_by_key(|history| history.last);
    let mut one = History::default();
    for history in all {
        one.last = history.last;
        for event in history.events {
            one.push(event, room);
        }
    }
    let mut value = Vec::new();
    write_history(&one, &mut value);
    Ok(value)
}

/// Returns how many events of the topics the group has not answered.
fn waiting(kafka: &KafkaConfig) -> Result<i64> {
    // It never joins the group.
    let asks = ClientKind::Worker { worker: 0, tells_ends: false };
    let reader = reader(kafka, asks, Quiet).map_err(Error::kafka("make a consumer"))?;
    let mut waiting = 0;
    for topic in &kafka.requests {
        let ask = |error| Error::kafka("ask for offsets")(error);
        for (topic, partition) in partitions(&reader, topic).map_err(ask)? {
            let mut list = rdkafka::topic_partition_list::TopicPartitionList::new();
            list.add_partition(&topic, partition);
            let committed = reader.committed_offsets(list, ASK).map_err(ask)?;
            let (low, high) = reader.fetch_watermarks(&topic, partition, ASK).map_err(ask)?;
            let next = committed.elements().first().and_then(|part| part.offset().to_raw()).unwrap_or(low);
            waiting += high - next.max(low);
        }
    }
    Ok(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_histories_of_a_user_are_one() {
        let records = BTreeMap::from([
            (0, br#"{"v":1,"at":20,"events":[[1,1.0],[4,2.0]]}"#.to_vec()),
            (3, br#"{"v":1,"at":10,"events":[[2,1.0],[1,5.0],[3,1.0]],"times":[7,8,9]}"#.to_vec()),
        ]);
        let one = |most: usize| String::from_utf8(merged(&records, most.into()).unwrap()).unwrap();
        assert_eq!(
            one(9),
            r#"{"v":1,"at":20,"events":[[2,1.0],[3,1.0],[1,1.0],[4,2.0]],"times":[7,9,null,null]}"#
        );
        assert_eq!(one(2), r#"{"v":1,"at":20,"events":[[1,1.0],[4,2.0]],"times":[null,null]}"#);
        assert!(merged(&BTreeMap::from([(0, b"7".to_vec())]), 9.into()).is_err());
    }
}
