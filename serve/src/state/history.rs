//! A user's history, and the room that it has.

use burnrec_data::{Id, OwnedId};

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
    /// What the user did.
    pub events: Vec<HistoryEvent>,
    /// When the last event came, in Unix seconds.
    pub last: i64,
    /// The history's version, by which a fold-in of an earlier one is known to be out of date.
    pub version: u64,
}

/// An item of a history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEvent {
    /// The item.
    pub item: Key,
    /// Its rating or weight.
    pub value: f32,
    /// The event's own time in Unix seconds; earlier versions did not keep it.
    pub time: Option<i64>,
}

/// The room that histories have.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The most users with a history.
    pub users: usize,
    /// The most events of a history.
    pub events: usize,
    /// The most bytes of a history's record in the state topic.
    pub bytes: usize,
}

impl From<usize> for Room {
    fn from(events: usize) -> Self {
        Self { users: usize::MAX, events, bytes: usize::MAX }
    }
}

impl History {
    /// Adds an event: a later one of the same item replaces the earlier, and where there is no room the oldest go, never
    /// this one. Returns how many went.
    pub fn push(&mut self, event: HistoryEvent, most: Room) -> usize {
        self.events.retain(|known| known.item != event.item);
        self.events.push(event);
        let over = self.events.len().saturating_sub(most.events).max(self.over(most.bytes));
        let over = over.min(self.events.len() - 1);
        self.events.drain(..over);
        over
    }

    /// Returns how many of the oldest events must go for a record of `most` bytes.
    fn over(&self, most: usize) -> usize {
        // Numbers and brackets take less than this, and a byte of a text at most six.
        let bound = |event: &HistoryEvent| match event.item.id() {
            Id::Int(_) => 72,
            Id::Str(text) => 6 * text.len() + 56,
        };
        if EMPTY_RECORD + self.events.iter().map(bound).sum::<usize>() <= most {
            return 0;
        }
        // Each event and each time counts with a comma, and the last have none.
        let mut left = most.saturating_sub(EMPTY_RECORD - 2);
        for (at, HistoryEvent { item, value, time }) in self.events.iter().enumerate().rev() {
            let text = serde_json::to_string(&((item.id(), value), time));
            // The brackets around both are as long as the commas.
            match left.checked_sub(text.map_or(usize::MAX, |text| text.len() - 1)) {
                Some(less) => left = less,
                None => return at + 1,
            }
        }
        0
    }
}

/// The bytes of a record without events: `{"v":1,"at":1764000000,"events":[],"times":[]}`.
const EMPTY_RECORD: usize = 46;
