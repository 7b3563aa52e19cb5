//! The state that events change: each user's history since the model was trained.
//!
//! A history belongs to the partition that its user's events come from and to the worker that reads it, and comes and
//! goes with the partition. It is kept in a compacted topic, whose records this module writes and reads. Histories
//! hold outside ids, so that they outlive the model.

mod history;
pub(crate) mod record;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use burnrec_models::Scorer;
pub use history::{History, HistoryEvent, Key, Room};

use crate::event::Home;
use crate::message::WireId;

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
    /// The numbers of the models that serve; none before they are told.
    models: RwLock<Option<BTreeSet<u64>>>,
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
        Self::get_of(self.shards(home), user, model)
    }

    /// Does the same in those homes of which `is_seen` is true.
    pub fn find(
        &self,
        is_seen: impl Fn(Home) -> bool,
        user: &WireId<'_>,
        model: u64,
    ) -> Option<(History, Option<Folded>)> {
        if self.is_empty() {
            return None;
        }
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let seen = shards.iter().filter(|(home, _)| is_seen(**home));
        let seen: Vec<_> = seen.map(|(_, shard)| Arc::clone(shard)).collect();
        drop(shards);
        Self::get_of(seen, user, model)
    }

    fn get_of(
        shards: Vec<Arc<Mutex<Shard>>>,
        user: &WireId<'_>,
        model: u64,
    ) -> Option<(History, Option<Folded>)> {
        let user = Key::from(user);
        shards.into_iter().find_map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let (history, folded) = shard.users.get(&user)?;
            let fresh = |folded: &&Folded| folded.model == model && folded.version == history.version;
            Some((history.clone(), folded.as_ref().filter(fresh).cloned()))
        })
    }

    /// Forgets what was folded into other models than those of these numbers: a folded-in row holds the whole item side
    /// of its model in memory.
    pub fn serve(&self, models: BTreeSet<u64>) {
        // From here on nothing is kept for another model, and what was kept before is taken away.
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = Some(models.clone());
        for shard in self.shards(None) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, folded) in shard.users.values_mut() {
                *folded = folded.take().filter(|folded| models.contains(&folded.model));
            }
        }
    }

    /// Keeps the scorer folded in from a history until that history or the model changes.
    pub fn keep(&self, user: &WireId<'_>, history: &History, model: u64, scorer: &Arc<dyn Scorer>) {
        // Held until the scorer is in, so that a model that goes meanwhile finds it.
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        if models.as_ref().is_some_and(|models| !models.contains(&model)) {
            return;
        }
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

    /// Adds an event that came at `now`, in Unix seconds, to a user's history: an item, its value and the event's own time.
    /// Returns the history's length and what takes the event back, or `None` where the user has no history and there is no
    /// room for one more.
    pub fn push(
        &self,
        home: Home,
        user: &WireId<'_>,
        (item, value, time): (&WireId<'_>, f32, i64),
        now: i64,
        most: impl Into<Room>,
    ) -> Option<(usize, Undo)> {
        let (user, most) = (Key::from(user), most.into());
        let shard = self.shard(home);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shard.users.get(&user).map(|(history, _)| history.clone());
        if before.is_none() {
            let one_more = |n: usize| (n < most.users).then_some(n + 1);
            self.n_users.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        }
        let (history, _) = shard.users.entry(user.clone()).or_default();
        let event = HistoryEvent { item: Key::from(item), value, time: Some(time) };
        let forgotten = history.push(event, most);
        history.last = now;
        history.version = self.new_version();
        Some((history.events.len(), Undo { home, user, before, forgotten }))
    }

    fn new_version(&self) -> u64 {
        self.versions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Forgets the users whose last event came before `since`, in Unix seconds; returns how many there were. Their records
    /// stay in the state topic, for as long as it keeps them.
    pub fn expire(&self, since: i64) -> usize {
        let mut expired = 0;
        for shard in self.shards(None) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let before = shard.users.len();
            shard.users.retain(|_, (history, _)| history.last >= since);
            expired += before - shard.users.len();
            self.n_users.fetch_sub(before - shard.users.len(), Ordering::AcqRel);
        }
        expired
    }

    /// Takes events back, the last first.
    pub fn undo(&self, changes: Vec<Undo>) {
        for Undo { home, user, before, .. } in changes.into_iter().rev() {
            let shard = self.shard(home);
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            self.put(&mut shard, user, before);
        }
    }

    /// Puts a history, or none, in the place of a user's.
    fn put(&self, shard: &mut Shard, user: Key, history: Option<History>) {
        let (was, is) = match history {
            Some(history) => (shard.users.insert(user, (history, None)).is_some(), true),
            None => (shard.users.remove(&user).is_some(), false),
        };
        self.n_users.fetch_add(usize::from(is && !was), Ordering::AcqRel);
        self.n_users.fetch_sub(usize::from(was && !is), Ordering::AcqRel);
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
        record::write_key(topic, &key, out);
        let start = out.len();
        let history = shard.users.get(&key).map(|(history, _)| history);
        record::write_history(history.unwrap_or(&History::default()), out);
        start
    }

    /// Forgets the history under a key of the state topic, if it is of `topic`; returns what takes that back.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn erase(&self, home: Home, topic: &str, key: &[u8]) -> Result<Option<Undo>, String> {
        let Some(user) = record::read_key(key)?.of(topic) else { return Ok(None) };
        let shard = self.shard(home);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shard.users.get(&user).map(|(history, _)| history.clone());
        self.put(&mut shard, user.clone(), None);
        Ok(Some(Undo { home, user, before, forgotten: 0 }))
    }

    /// Takes up a record of the state topic, if it is of `topic` and not of a user whose last event came before `since`, in
    /// Unix seconds.
    ///
    /// # Errors
    /// When it is no such record.
    pub fn restore(
        &self,
        home: Home,
        topic: &str,
        (key, value): (&[u8], Option<&[u8]>),
        since: i64,
    ) -> Result<(), String> {
        let Some(user) = record::read_key(key)?.of(topic) else { return Ok(()) };
        let history = value.map(record::read_history).transpose()?;
        let kept = history.filter(|history| history.last >= since);
        let shard = self.shard(home);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(&mut shard, user, kept.map(|history| History { version: self.new_version(), ..history }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burnrec_data::Id;

    use super::*;
    use crate::event::TopicPartition;

    const HOME: Home = Home { worker: 1, part: TopicPartition { topic: 0, partition: 3 } };

    fn items(state: &State, user: i64) -> Vec<(Key, f32)> {
        let events = state.get(None, &WireId::Int(user), 0).map(|(history, _)| history.events);
        events.unwrap_or_default().into_iter().map(|event| (event.item, event.value)).collect()
    }

    const NOW: i64 = 1_764_000_000;

    fn push(state: &State, item: i64, value: f32) -> Undo {
        state.push(HOME, &WireId::Int(7), (&WireId::Int(item), value, NOW - 9), NOW, 3).expect("room").1
    }

    #[test]
    fn a_record_brings_a_history_back() {
        let state = State::default();
        push(&state, 1, 1.0);
        state.push(HOME, &WireId::Int(7), (&WireId::Str("a\"b".into()), 2.5, NOW - 7), NOW, 3);
        let mut record = Vec::new();
        let start = state.write(HOME, "requests", &WireId::Str("7".into()), &mut record);
        assert_eq!(std::str::from_utf8(&record[..start]).unwrap(), r#"["requests",7]"#);
        assert_eq!(
            std::str::from_utf8(&record[start..]).unwrap(),
            r#"{"v":1,"at":1764000000,"events":[[1,1.0],["a\"b",2.5]],"times":[1763999991,1763999993]}"#
        );
        let other = State::default();
        let (key, value) = (&record[..start], &record[start..]);
        other.restore(HOME, "another", (key, Some(value)), 0).unwrap();
        assert!(other.is_empty(), "a record of another topic");
        other.restore(HOME, "requests", (key, Some(value)), NOW + 1).unwrap();
        assert!(other.is_empty(), "a record of a user whose time is over");
        other.restore(HOME, "requests", (key, Some(value)), NOW).unwrap();
        let history = |state: &State| state.get(None, &WireId::Int(7), 0).expect("a history").0.events;
        assert_eq!(history(&other), history(&state));
        assert_eq!(other.n_users(), 1);
        let of_before = br#"{"v":1,"at":1764000000,"events":[[1,1.0],["a\"b",2.5]]}"#;
        other.restore(HOME, "requests", (key, Some(&of_before[..])), 0).unwrap();
        assert_eq!(items(&other, 7), items(&state, 7));
        assert!(history(&other).iter().all(|event| event.time.is_none()), "a record of before has no times");
        other.restore(HOME, "requests", (key, None), 0).unwrap();
        assert!(other.is_empty(), "a null value deletes");
        assert!(other.restore(HOME, "requests", (b"7", None), 0).is_err());
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
        let push = |item: &str, bytes: usize| {
            let room = Room { bytes: bytes + 16, ..Room::from(9) };
            let item = WireId::Str(item.to_owned().into());
            let (length, undo) =
                state.push(HOME, &WireId::Int(7), (&item, 2.5, NOW), NOW, room).expect("room");
            let mut record = Vec::new();
            let start = state.write(HOME, "requests", &WireId::Int(7), &mut record);
            (length, undo.forgotten, record.len() - start - 16)
        };
        // `["a\"",2.5]` has 11 bytes and its time 10, and there is a comma between two of each.
        assert_eq!(push("a\"", 74), (1, 0, 51));
        assert_eq!(push("b\"", 74), (2, 0, 74));
        assert_eq!(push("c\"", 73), (1, 2, 51));
        assert_eq!(push(&"d".repeat(90), 74), (1, 1, 138), "the newest event stays, whatever its size");
        assert_eq!(push("e", 74), (1, 1, 49));
    }

    #[test]
    fn an_aborted_transaction_leaves_no_trace() {
        let state = State::default();
        push(&state, 1, 1.0);
        let before = items(&state, 7);
        let changes = vec![
            push(&state, 2, 1.0),
            state.push(HOME, &WireId::Int(8), (&WireId::Int(1), 1.0, NOW), NOW, 3).expect("room").1,
            push(&state, 1, 4.0),
        ];
        state.undo(changes);
        assert_eq!(items(&state, 7), before);
        assert_eq!((items(&state, 8), state.n_users()), (vec![], 1));
        state.forget(HOME);
        assert!(state.is_empty() && items(&state, 7).is_empty());
    }

    #[test]
    fn users_without_events_make_room_for_others() {
        let state = State::default();
        let push = |user: i64, now: i64| {
            let room = Room { users: 2, ..Room::from(3) };
            state.push(HOME, &WireId::Int(user), (&WireId::Int(1), 1.0, now), now, room)
        };
        assert!(push(1, NOW).is_some() && push(2, NOW + 5).is_some());
        assert!(push(3, NOW + 6).is_none() && push(1, NOW + 7).is_some(), "there is room for who is there");
        assert_eq!((state.expire(NOW + 6), state.n_users()), (1, 1), "user 2");
        let undo = push(3, NOW + 8).expect("room again").1;
        assert!(push(2, NOW + 9).is_none());
        // A user whose time is over comes back where a transaction aborts, and goes again with the next look.
        let back = push(1, NOW + 9).expect("room").1;
        assert_eq!((state.expire(NOW + 20), state.n_users()), (2, 0));
        state.undo(vec![undo, back]);
        assert_eq!((state.n_users(), items(&state, 1).len()), (1, 1));
    }
}
