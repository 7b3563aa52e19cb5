//! What the index keeps of an event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{IdHash, IdHasher};
use crate::Kind;
use crate::event::TopicPartition;
use crate::message::{Ask, Request};

/// A place in a list of hashes: where it begins, and how many there are.
pub type Span = (u32, u16);

/// What is noted of a request while it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trace {
    /// The user.
    pub user: IdHash,
    /// The `id` of the request.
    pub id: IdHash,
    /// Its type, if it could be read.
    pub kind: Option<Kind>,
    /// The items that it asks about.
    pub asked: Span,
    /// The items of its reply, where it asks for the best.
    pub best: Span,
}

/// What is noted of the requests of a batch.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// Of each event, in their order; empty without an index.
    pub all: Vec<Trace>,
    /// The items of them.
    pub items: Vec<IdHash>,
}

impl Traces {
    /// Empties it.
    pub fn clear(&mut self) {
        self.all.clear();
        self.items.clear();
    }

    /// Notes the request of the last event, with up to `most` of its items.
    pub fn note(&mut self, ids: &IdHasher, request: &Request<'_>, most: usize) {
        let Some(trace) = self.all.last_mut() else { return };
        trace.user = request.user().map_or(0, |user| ids.user(user.id()));
        trace.id = request.id.as_ref().map_or(0, |id| ids.request(id.id()));
        trace.kind = Some(request.kind());
        let start = self.items.len();
        match &request.ask {
            Ask::Score { items, .. } | Ask::Recommend { only: Some(items), .. } => {
                self.items.extend(items.iter().take(most).map(|item| ids.item(item.id())));
            }
            Ask::Similar { item, .. } | Ask::Event { item, .. } if most > 0 => {
                self.items.push(ids.item(item.id()));
            }
            _ => {}
        }
        trace.asked = (start as u32, (self.items.len() - start) as u16);
    }

    /// Notes the items of the reply to an event.
    pub fn note_best(&mut self, at: usize, items: impl Iterator<Item = IdHash>) {
        let start = self.items.len();
        self.items.extend(items);
        if let Some(trace) = self.all.get_mut(at) {
            trace.best = (start as u32, (self.items.len() - start) as u16);
        }
    }

    /// Returns the items at a place.
    pub fn items(&self, (start, n): Span) -> &[IdHash] {
        &self.items[start as usize..][..usize::from(n)]
    }
}

/// The model that answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct ModelFacts {
    /// Its name in the config.
    pub name: String,
    /// What replies call its version.
    pub version: String,
    /// The hash of its manifest.
    pub hash: String,
    /// The hash of the data that it was trained on.
    pub data: String,
}

/// What many events have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Facts {
    /// The request's type; empty where it could not be read.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it ended.
    pub outcome: String,
    /// Why, where it was not replied to.
    pub reason: String,
    /// The stage of the flow at which it ended, where it was not answered.
    pub stage: String,
    /// The model that it was for.
    pub model: Option<ModelFacts>,
    /// The version of the config; 0 where it does not change while the service runs.
    pub config: u64,
    /// How many times it was tried.
    pub attempts: u32,
    /// The number of the replay that answered it.
    pub replay: Option<u64>,
    /// The token that brought it over HTTP.
    pub by: Option<String>,
    /// Whether it is not known if it was committed: it may have been answered again.
    pub unconfirmed: bool,
}

/// An event of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Where it was read.
    pub part: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// Its place in [`Batch::facts`].
    pub facts: u16,
    /// From reading it to its end, in microseconds.
    pub latency_us: u32,
    /// The user.
    pub user: IdHash,
    /// The `id` of the request.
    pub id: IdHash,
    /// How many of [`Batch::items`] are its items, after those of the events before it.
    pub items: u16,
}

/// The events of a batch that ended.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The names of the topics.
    pub topics: Arc<[String]>,
    /// When they ended, in Unix milliseconds.
    pub at_ms: i64,
    /// What they have in common.
    pub facts: Vec<Facts>,
    /// The events.
    pub rows: Vec<Row>,
    /// Their items, those of one event after those of another.
    pub items: Vec<IdHash>,
    /// The message of an event, by its place in the batch, where it is in no topic.
    pub inputs: Vec<(u32, Vec<u8>)>,
}

impl Batch {
    /// Returns how much memory it takes, in events: a batch of one is more than an event, and so is a message.
    pub fn weight(&self) -> usize {
        let inputs: usize = self.inputs.iter().map(|(_, input)| input.len()).sum();
        8 + self.rows.len() + self.items.len() / 8 + inputs / size_of::<Row>()
    }

    /// Leaves out all events of topics but some.
    pub fn only(mut self, is_kept: impl Fn(&Row) -> bool) -> Self {
        let (mut start, mut items) = (0, Vec::new());
        self.rows.retain(|row| {
            let range = start..start + usize::from(row.items);
            start = range.end;
            let kept = is_kept(row);
            if kept {
                items.extend_from_slice(&self.items[range]);
            }
            kept
        });
        self.items = items;
        self
    }

    /// Marks the events as such of which it is not known whether they were committed.
    pub fn unconfirmed(mut self) -> Self {
        self.facts.iter_mut().for_each(|facts| facts.unconfirmed = true);
        self
    }
}
