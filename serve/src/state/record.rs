//! The records of the state topic.

use serde::{Deserialize, Serialize};

use super::{History, HistoryEvent, Key};
use crate::message::{VERSION, WireId};

/// The record of a user. An object, so that fields can be added.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    v: u32,
    /// When the last event came, in Unix seconds; earlier versions did not say it.
    #[serde(default = "never")]
    at: i64,
    #[serde(borrow)]
    events: Vec<(WireId<'a>, f32)>,
    /// The times of the events, in Unix seconds; earlier versions did not say them.
    #[serde(default)]
    times: Vec<Option<i64>>,
}

/// The time of a last event of which no time is known: such a user is not forgotten for having been away.
fn never() -> i64 {
    i64::MAX
}

/// The key of a record, `["topic",user]`: users of two topics may have the same id.
pub struct RecordKey {
    /// The topic of the user's events.
    pub topic: String,
    /// The user.
    pub user: Key,
}

impl RecordKey {
    /// Returns the user, if it is one of this topic.
    pub fn of(self, topic: &str) -> Option<Key> {
        (self.topic == topic).then_some(self.user)
    }
}

/// Writes a key.
pub fn write_key(topic: &str, user: &Key, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &(topic, user.id())).expect("texts and integers are JSON");
}

/// Reads a key.
pub fn read_key(key: &[u8]) -> Result<RecordKey, String> {
    let (topic, user): (String, WireId<'_>) =
        serde_json::from_slice(key).map_err(|error| error.to_string())?;
    Ok(RecordKey { topic, user: Key::from(&user) })
}

/// Writes a history.
pub fn write_history(history: &History, out: &mut Vec<u8>) {
    let events = history.events.iter().map(|event| (event.item.id().into(), event.value)).collect();
    let times = history.events.iter().map(|event| event.time).collect();
    let record = Record { v: VERSION, at: history.last, events, times };
    serde_json::to_writer(out, &record).expect("ids and finite numbers are JSON");
}

/// Reads a history, without a version.
pub fn read_history(value: &[u8]) -> Result<History, String> {
    let record: Record<'_> = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let times = record.times.iter().copied().chain(std::iter::repeat(None));
    let events = record.events.iter().zip(times).map(|((item, value), time)| HistoryEvent {
        item: Key::from(item),
        value: *value,
        time,
    });
    Ok(History { events: events.collect(), last: record.at, version: 0 })
}
