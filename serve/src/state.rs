//! The state that events change: each user's history since the model was trained.
//!
//! A history belongs to the partition that its user's events come from and to the worker that reads it, and comes and
//! goes with the partition. It is kept in a compacted topic, whose records this module writes and reads. Histories
//! hold outside ids, so that they outlive the model.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use burnrec_data::{Id, OwnedId};
use burnrec_models::Scorer;
use serde::{Deserialize, Serialize};

use crate::event::Home;
use crate::message::WireId;

/// A user or an item of a history: an outside id that lives longer than its message.
pub type Key = OwnedId;

impl From<&WireId<'_>> for Key {
    fn from(id: &WireId<'_>) -> Self {
        id.id().into()
    }
}

/// The items that a user interacted with since the model was trained, the oldest first and each at most once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Items with their ratings or weights.
    pub events: Vec<(Key, f32)>,
    /// The history's version, by which a fold-in of an earlier one is known to be out of date.
    version: u64,
}

/// The room that a history has.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The most events.
    pub events: usize,
    /// The most bytes of its record in the state topic.
    pub bytes: usize,
}

impl From<usize> for Room {
    fn from(events: usize) -> Self {
        Self { events, bytes: usize::MAX }
    }
}

impl History {
    /// Adds an event: a later one of the same item replaces the earlier, and where there is no room the oldest go, never
    /// this one. Returns how many went.
    fn push(&mut self, item: Key, value: f32, most: Room, version: u64) -> usize {
        self.events.retain(|(known, _)| *known != item);
        self.events.push((item, value));
        let over = self.events.len().saturating_sub(most.events).max(self.over(most.bytes));
        let over = over.min(self.events.len() - 1);
        self.events.drain(..over);
        self.version = version;
        over
    }

    /// Returns how many of the oldest events must go for a record of `most` bytes.
    fn over(&self, most: usize) -> usize {
        // Numbers and brackets take less than this, and a byte of a text at most six.
        let bound = |(item, _): &(Key, f32)| match item.id() {
            Id::Int(_) => 48,
            Id::Str(text) => 6 * text.len() + 32,
        };
        if EMPTY_RECORD + self.events.iter().map(bound).sum::<usize>() <= most {
            return 0;
        }
        // Each event counts with a comma, and the last has none.
        let mut left = most.saturating_sub(EMPTY_RECORD - 1);
        for (at, (item, value)) in self.events.iter().enumerate().rev() {
            let event = serde_json::to_string(&(item.id(), value)).map_or(usize::MAX, |text| text.len() + 1);
            match left.checked_sub(event) {
                Some(less) => left = less,
                None => return at + 1,
            }
        }
        0
    }
}

/// The bytes of a record without events: `{"v":1,"events":[]}`.
const EMPTY_RECORD: usize = 19;

/// A user folded into a model: a scorer whose only user it is.
#[derive(Clone)]
pub struct Folded {
    model: u64,
    version: u64,
    /// The scorer.
    pub scorer: Arc<dyn Scorer>,
}

#[derive(Default)]
struct Shard {
    users: HashMap<Key, (History, Option<Folded>)>,
}

/// What an event changed, to take it back if the transaction aborts.
#[derive(Debug)]
pub struct Undo {
    home: Home,
    user: Key,
    before: Option<History>,
    /// How many of the oldest events the user's history lost.
    pub forgotten: usize,
}

/// The histories of all users whose partitions are here. Two workers may both have a partition for a moment, as one
/// learns late that it lost it: each then has its own histories. Shared by the workers and the HTTP server.
#[derive(Default)]
pub struct State {
    shards: RwLock<HashMap<Home, Arc<Mutex<Shard>>>>,
    /// The number of users with a history; while it is 0, no lookup is needed.
    n_users: AtomicUsize,
    /// The last version given to a history. No version is given twice, or the fold-in of a history that was taken back
    /// could pass for that of a later one.
    versions: AtomicU64,
}

/// The record of a user in the state topic. An object, so that fields can be added.
#[derive(Serialize, Deserialize)]
struct Record<'a> {
    v: u32,
    #[serde(borrow)]
    events: Vec<(WireId<'a>, f32)>,
}

impl State {
    /// Returns whether no user has a history.
    pub fn is_empty(&self) -> bool {
        self.n_users.load(Ordering::Acquire) == 0
    }

    /// Returns how many users have one.
    pub fn n_users(&self) -> usize {
        self.n_users.load(Ordering::Acquire)
    }

    fn shard(&self, home: Home) -> Arc<Mutex<Shard>> {
        if let Some(shard) = self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&home) {
            return Arc::clone(shard);
        }
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shards.entry(home).or_default())
    }

    fn shards(&self, home: Option<Home>) -> Vec<Arc<Mutex<Shard>>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        match home {
            Some(home) => shards.get(&home).cloned().into_iter().collect(),
            None => shards.values().cloned().collect(),
        }
    }

    /// Returns the history of a user, with its fold-in into the model of this number if that is up to date. Looks in
    /// `home` alone, or everywhere without one.
    pub fn get(
        &self,
        home: Option<Home>,
        user: &WireId<'_>,
        model: u64,
    ) -> Option<(History, Option<Folded>)> {
        if self.is_empty() {
            return None;
        }
        let user = Key::from(user);
        self.shards(home).into_iter().find_map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let (history, folded) = shard.users.get(&user)?;
            let fresh = |folded: &&Folded| folded.model == model && folded.version == history.version;
            Some((history.clone(), folded.as_ref().filter(fresh).cloned()))
        })
    }

    /// Keeps the scorer folded in from a history until that history changes.
    pub fn keep(&self, user: &WireId<'_>, history: &History, model: u64, scorer: &Arc<dyn Scorer>) {
        let user = Key::from(user);
        for shard in self.shards(None) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, folded)) =
                shard.users.get_mut(&user).filter(|(known, _)| known.version == history.version)
            {
                *folded = Some(Folded { model, version: known.version, scorer: Arc::clone(scorer) });
            }
        }
    }

    /// Adds an event to a user's history; returns the history's length and what takes the event back.
    pub fn push(
        &self,
        home: Home,
        user: &WireId<'_>,
        item: &WireId<'_>,
        value: f32,
        most: impl Into<Room>,
    ) -> (usize, Undo) {
        let user = Key::from(user);
        let shard = self.shard(home);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shard.users.get(&user).map(|(history, _)| history.clone());
        if before.is_none() {
            self.n_users.fetch_add(1, Ordering::AcqRel);
        }
        let (history, _) = shard.users.entry(user.clone()).or_default();
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        let forgotten = history.push(Key::from(item), value, most.into(), version);
        (history.events.len(), Undo { home, user, before, forgotten })
    }

    /// Takes events back, the last first.
    pub fn undo(&self, changes: Vec<Undo>) {
        for Undo { home, user, before, .. } in changes.into_iter().rev() {
            let shard = self.shard(home);
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            match before {
                Some(history) => {
                    shard.users.insert(user, (history, None));
                }
                None if shard.users.remove(&user).is_some() => {
                    self.n_users.fetch_sub(1, Ordering::AcqRel);
                }
                None => {}
            }
        }
    }

    /// Forgets the histories of a partition that went to another worker.
    pub fn forget(&self, home: Home) {
        let gone = self.shards.write().unwrap_or_else(PoisonError::into_inner).remove(&home);
        if let Some(shard) = gone {
            let users = shard.lock().unwrap_or_else(PoisonError::into_inner).users.len();
            self.n_users.fetch_sub(users, Ordering::AcqRel);
        }
    }

    /// Appends the record of a user as the state topic has it, its key and then its value; returns where the value
    /// starts.
    pub fn write(&self, home: Home, topic: &str, user: &WireId<'_>, out: &mut Vec<u8>) -> usize {
        let shard = self.shard(home);
        let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key::from(user);
        write_key(topic, &key, out);
        let start = out.len();
        let events = shard.users.get(&key).map(|(history, _)| history.events.as_slice()).unwrap_or_default();
        let events = events.iter().map(|(item, value)| (item.id().into(), *value)).collect();
        serde_json::to_writer(out, &Record { v: crate::message::VERSION, events })
            .expect("ids and finite numbers are JSON");
        start
    }

    /// Takes up a record of the state topic, if it is of `topic`.
    ///
    /// # Errors
    /// When it is no such record.
    pub fn restore(&self, home: Home, topic: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let Some(user) = read_key(topic, key)? else { return Ok(()) };
        let shard = self.shard(home);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let history = match value {
            Some(value) => {
                let record: Record<'_> = serde_json::from_slice(value).map_err(|error| error.to_string())?;
                let events = record.events.iter().map(|(item, value)| (Key::from(item), *value)).collect();
                Some(History { events, version: self.versions.fetch_add(1, Ordering::Relaxed) + 1 })
            }
            None => None,
        };
        let was = shard.users.contains_key(&user);
        match history {
            Some(history) => {
                shard.users.insert(user, (history, None));
                self.n_users.fetch_add(usize::from(!was), Ordering::AcqRel);
            }
            None => {
                shard.users.remove(&user);
                self.n_users.fetch_sub(usize::from(was), Ordering::AcqRel);
            }
        }
        Ok(())
    }
}

/// Writes `["topic",user]`: users of two topics may have the same id.
fn write_key(topic: &str, user: &Key, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &(topic, user.id())).expect("texts and integers are JSON");
}

fn read_key(topic: &str, key: &[u8]) -> Result<Option<Key>, String> {
    let (of_topic, user): (std::borrow::Cow<'_, str>, WireId<'_>) =
        serde_json::from_slice(key).map_err(|error| error.to_string())?;
    Ok((of_topic == topic).then(|| Key::from(&user)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TopicPartition;

    const HOME: Home = Home { worker: 1, part: TopicPartition { topic: 0, partition: 3 } };

    fn items(state: &State, user: i64) -> Vec<(Key, f32)> {
        state.get(None, &WireId::Int(user), 0).map(|(history, _)| history.events).unwrap_or_default()
    }

    fn push(state: &State, item: i64, value: f32) -> Undo {
        state.push(HOME, &WireId::Int(7), &WireId::Int(item), value, 3).1
    }

    #[test]
    fn a_record_brings_a_history_back() {
        let state = State::default();
        push(&state, 1, 1.0);
        state.push(HOME, &WireId::Int(7), &WireId::Str("a\"b".into()), 2.5, 3);
        let mut record = Vec::new();
        let start = state.write(HOME, "requests", &WireId::Str("7".into()), &mut record);
        assert_eq!(std::str::from_utf8(&record[..start]).unwrap(), r#"["requests",7]"#);
        assert_eq!(
            std::str::from_utf8(&record[start..]).unwrap(),
            r#"{"v":1,"events":[[1,1.0],["a\"b",2.5]]}"#
        );
        let other = State::default();
        other.restore(HOME, "another", &record[..start], Some(&record[start..])).unwrap();
        assert!(other.is_empty(), "a record of another topic");
        other.restore(HOME, "requests", &record[..start], Some(&record[start..])).unwrap();
        assert_eq!(items(&other, 7), items(&state, 7));
        assert_eq!(other.n_users(), 1);
        other.restore(HOME, "requests", &record[..start], None).unwrap();
        assert!(other.is_empty(), "a null value deletes");
        assert!(other.restore(HOME, "requests", b"7", None).is_err());
    }

    #[test]
    fn an_item_stands_once_and_the_oldest_go() {
        let state = State::default();
        for (item, value) in [(1, 1.0), (2, 1.0), (1, 5.0), (3, 1.0), (4, 1.0)] {
            push(&state, item, value);
        }
        let kept = [(1, 5.0), (3, 1.0), (4, 1.0)].map(|(item, value)| (Key::from(Id::Int(item)), value));
        assert_eq!(items(&state, 7), kept);
    }

    #[test]
    fn a_record_fits_and_the_newest_event_stays() {
        let state = State::default();
        let push = |item: &str, bytes| {
            let room = Room { events: 9, bytes };
            let item = WireId::Str(item.to_owned().into());
            let (length, undo) = state.push(HOME, &WireId::Int(7), &item, 2.5, room);
            let mut record = Vec::new();
            let start = state.write(HOME, "requests", &WireId::Int(7), &mut record);
            (length, undo.forgotten, record.len() - start)
        };
        // `["a\"",2.5]` has 11 bytes, and a comma between two.
        assert_eq!(push("a\"", 42), (1, 0, 30));
        assert_eq!(push("b\"", 42), (2, 0, 42));
        assert_eq!(push("c\"", 41), (1, 2, 30));
        assert_eq!(push(&"d".repeat(90), 42), (1, 1, 117), "the newest event stays, whatever its size");
        assert_eq!(push("e", 42), (1, 1, 28));
    }

    #[test]
    fn an_aborted_transaction_leaves_no_trace() {
        let state = State::default();
        push(&state, 1, 1.0);
        let before = items(&state, 7);
        let changes = vec![
            push(&state, 2, 1.0),
            state.push(HOME, &WireId::Int(8), &WireId::Int(1), 1.0, 3).1,
            push(&state, 1, 4.0),
        ];
        state.undo(changes);
        assert_eq!(items(&state, 7), before);
        assert_eq!((items(&state, 8), state.n_users()), (vec![], 1));
        state.forget(HOME);
        assert!(state.is_empty() && items(&state, 7).is_empty());
    }
}
