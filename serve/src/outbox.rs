//! What the engine returns for a batch of events: the messages to write, and how each event ended.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::model::Served;
pub use crate::outcome::{ENDS, EventOutcome};
use crate::provenance::Traces;
use crate::settings::Live;

/// A topic by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum To {
    /// Replies.
    Replies,
    /// What could not be answered.
    Rejects,
    /// What shadow models reply.
    Shadow,
    /// The histories of users, compacted.
    State,
    /// A receipt for each event.
    Receipts,
    /// The topic of requests that an event came from before it was rejected.
    Requests,
}

/// A message to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// The topic that it is for.
    pub to: To,
    /// The event that it comes from, by its index in the batch.
    pub event: u32,
    /// The key in the outbox's bytes; the event's own where it is `None`.
    pub key: Option<Range<usize>>,
    /// The value in the outbox's bytes; `None` writes the event's own payload.
    pub value: Option<Range<usize>>,
    /// Headers to add to the event's.
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

/// What a batch of events leads to.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// Keys and values of the messages.
    pub bytes: Vec<u8>,
    /// The messages, in the order of their events.
    pub messages: Vec<Outgoing>,
    /// How each event ended, in their order.
    pub outcomes: Vec<EventOutcome>,
    /// The number of the model that each event was for; 0 where it was for none.
    pub answered: Vec<u64>,
    /// The settings and the models that answered.
    pub live: Option<Arc<Live>>,
    /// Events that came in another partition than their user's id belongs to, with that one.
    pub elsewhere: Vec<(usize, i32)>,
    /// What the index notes of the requests.
    pub traces: Traces,
}

impl Outbox {
    /// Empties it; its memory is used again.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
        self.outcomes.clear();
        self.answered.clear();
        self.live = None;
        self.elsewhere.clear();
        self.traces.clear();
    }

    /// Adds how the next event ended, and the model that it was for.
    pub fn end(&mut self, outcome: EventOutcome, by: Option<&Served>) {
        self.outcomes.push(outcome);
        self.answered.push(by.map_or(0, |served| served.number));
    }

    /// Returns the model that an event was for.
    pub fn answered_by(&self, at: usize) -> Option<&Served> {
        self.of_number(*self.answered.get(at)?)
    }

    fn of_number(&self, number: u64) -> Option<&Served> {
        let models = self.live.iter().filter(|_| number > 0).flat_map(|live| live.models.values());
        models.map(|served| &**served).find(|served| served.number == number)
    }

    /// Counts the replies by the models that gave them, but for those to the events of `except`.
    pub fn count_replies(&self, except: &[usize]) {
        let is_counted = |(at, outcome): &(usize, &EventOutcome)| {
            matches!(outcome, EventOutcome::Replied(_)) && !except.contains(at)
        };
        let numbers = self.outcomes.iter().enumerate().filter(is_counted);
        let mut numbers = numbers.filter_map(|(at, _)| self.answered.get(at)).peekable();
        while let Some(number) = numbers.next() {
            let like_it = std::iter::from_fn(|| numbers.next_if_eq(&number)).count();
            if let Some(served) = self.of_number(*number) {
                served.replies.fetch_add(1 + like_it as u64, Ordering::Relaxed);
            }
        }
    }

    /// Adds a message whose value `write` appends to the bytes.
    pub fn put(&mut self, to: To, event: usize, write: impl FnOnce(&mut Vec<u8>)) -> &mut Outgoing {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let value = Some(start..self.bytes.len());
        self.messages.push(Outgoing { to, event: event as u32, key: None, value, headers: Vec::new() });
        self.messages.last_mut().expect("a message was just added")
    }

    /// Returns the value of a message, where it is not the event's own payload.
    pub fn value(&self, message: &Outgoing) -> Option<&[u8]> {
        message.value.clone().map(|range| &self.bytes[range])
    }
}
