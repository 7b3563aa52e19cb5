//! The records of the state topic.

use serde::{Deserialize, Serialize};

use super::{History, Key};
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
}

/// The time of a last event of which no time is known: such a user is not forgotten for having been away.
fn never() -> i64 {
    i64::MAX
}

/// Writes `["topic",user]`: users of two topics may have the same id.
pub fn write_key(topic: &str, user: &Key, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &(topic, user.id())).expect("texts and integers are JSON");
}

/// Reads a key; returns its user if it is of this topic.
pub fn read_key(topic: &str, key: &[u8]) -> Result<Option<Key>, String> {
    let (of_topic, user): (std::borrow::Cow<'_, str>, WireId<'_>) =
        serde_json::from_slice(key).map_err(|error| error.to_string())?;
    Ok((of_topic == topic).then(|| Key::from(&user)))
}

/// Writes a history.
pub fn write_history(history: &History, out: &mut Vec<u8>) {
    let events = history.events.iter().map(|(item, value)| (item.id().into(), *value)).collect();
    let record = Record { v: VERSION, at: history.last, events };
    serde_json::to_writer(out, &record).expect("ids and finite numbers are JSON");
}

/// Reads a history, without a version.
pub fn read_history(value: &[u8]) -> Result<History, String> {
    let record: Record<'_> = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let events = record.events.iter().map(|(item, value)| (Key::from(item), *value)).collect();
    Ok(History { events, last: record.at, version: 0 })
}
