//! Steps of one's own: between decode and score, and between score and sink.
//!
//! ```text
//! decode ─► before-score ─► score ─► join, filter ─► after-score ─► sink
//! ```
//!
//! A [`Step`] is a type of the program that embeds the service, [registered](register) under a name, or an external process
//! that reads and writes JSON lines. Either is a table `[steps.NAME]` of the config, which says its place and what to do
//! where it fails. A step sees an event again whenever the event is answered again: at a retry, after a failure of Kafka.
//!
//! ```
//! use burnrec_serve::step::{Step, StepEvent, register};
//!
//! /// Answers with no more than three items.
//! struct AtMostThree;
//!
//! impl Step for AtMostThree {
//!     fn apply(&self, batch: &mut [StepEvent<'_>]) {
//!         for answer in batch.iter_mut().filter_map(|event| event.answer.as_mut()) {
//!             answer.items.truncate(3);
//!         }
//!     }
//! }
//!
//! register("at-most-three", AtMostThree)?; // [steps.at-most-three] place = "after-score"
//! # Ok::<(), burnrec_serve::Error>(())
//! ```

mod chain;
mod counts;
mod exchange;
mod line;
mod pool;
mod process;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::message::{Request, WireId};
use crate::{Error, Result};

pub use chain::Steps;

/// Steps that the program has registered, by name.
static REGISTERED: RwLock<BTreeMap<&'static str, Arc<dyn Step>>> = RwLock::new(BTreeMap::new());

/// A step of one's own.
pub trait Step: Send + Sync {
    /// Goes through events of a batch, which it may change, [filter](StepEvent::filter) or [fail](StepEvent::fail) one by
    /// one. Several threads may call it at once. A panic fails all of them.
    fn apply(&self, batch: &mut [StepEvent<'_>]);
}

/// An event at a step.
#[derive(Debug)]
pub struct StepEvent<'a> {
    /// `topic/partition/offset` of the event; `None` over HTTP.
    pub source: Option<String>,
    /// The request. Before it is scored what is asked may change, but not its type, its id and its user.
    pub request: Request<'a>,
    /// The answer, once it is scored. Requests of type `event` have none, so that they come before score alone.
    pub answer: Option<StepAnswer<'a>>,
    /// What steps add to the event, which a JSON reply carries. The names of a reply's own fields are taken.
    pub fields: Map<String, Value>,
    /// The event's index in what the engine answers.
    pub(crate) at: usize,
    pub(crate) end: Option<StepEnd>,
}

/// How an event ended at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StepEnd {
    Filtered,
    /// The reason and the text of the reject.
    Failed(&'static str, String),
}

/// The answer to a request as the reply would give it.
#[derive(Debug)]
pub struct StepAnswer<'a> {
    /// The items with their scores, which may change, go and come. An item must be known to the model.
    pub items: Vec<StepItem<'a>>,
    /// What scores are, as in replies: `probability`, `rating`, `cosine`, `weight` or `score`.
    pub score_is: &'a str,
    /// What gave the scores, where it is not the user's own row in the model.
    pub by: Option<&'static str>,
    /// The model's name.
    pub model: &'a str,
    /// What replies call its version.
    pub version: &'a str,
    /// The hash of its manifest.
    pub hash: &'a str,
}

/// An item of an answer.
#[derive(Clone, Debug)]
pub struct StepItem<'a> {
    /// The item's id.
    pub item: WireId<'a>,
    /// Its score, which is finite; none where the model does not know it.
    pub score: Option<f32>,
    /// Its title and the columns of the table, and what steps add.
    pub columns: Map<String, Value>,
}

impl<'a> StepEvent<'a> {
    /// Makes an event that no step has seen.
    pub(crate) fn new(at: usize, source: Option<String>, request: Request<'a>) -> Self {
        Self { source, request, answer: None, fields: Map::new(), at, end: None }
    }

    /// Ends the event without a reply.
    pub fn filter(&mut self) {
        self.end = Some(StepEnd::Filtered);
    }

    /// Lets the event fail: it is tried again or rejected, as `steps.NAME.failures` says, with this text.
    pub fn fail(&mut self, text: impl Into<String>) {
        self.fail_for("refused", text);
    }

    pub(crate) fn fail_for(&mut self, reason: &'static str, text: impl Into<String>) {
        self.end = Some(StepEnd::Failed(reason, text.into()));
    }
}

/// Registers a step, so that configs may name it.
///
/// # Errors
/// When the name is taken.
pub fn register(name: &str, step: impl Step + 'static) -> Result<()> {
    let mut all = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    match all.contains_key(name) {
        true => Err(Error::config("step", format!("a second step {name:?}"), "a name that is not taken")),
        false => {
            all.insert(interned(name), Arc::new(step));
            Ok(())
        }
    }
}

fn registered(name: &str) -> Result<Arc<dyn Step>> {
    let all = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    all.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = all.keys().copied().collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        let expected = format!("a program to start, or the name of a step that is registered: {known}");
        Error::config(format!("steps.{name}.command"), "none", expected)
    })
}

/// Returns a step's name for rejects and metrics, which keep it as long as the process lives.
pub(crate) fn interned(name: &str) -> &'static str {
    static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());
    let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.iter().find(|known| **known == name) {
        return known;
    }
    let name: &'static str = name.to_owned().leak();
    names.push(name);
    name
}
