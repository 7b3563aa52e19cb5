//! Rejects: why an event could not be answered. Bad input always ends in a reject, and never crashes the service.

use std::fmt;

/// A stage of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Waiting for a batch.
    Queue,
    /// Reading the message.
    Decode,
    /// Looking up the ids and scoring.
    Score,
    /// Writing the reply.
    Sink,
    /// A step of one's own, by its name.
    Step(&'static str),
}

impl Stage {
    /// Returns its name in headers, metrics and on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Decode => "decode",
            Self::Score => "score",
            Self::Sink => "sink",
            Self::Step(name) => name,
        }
    }
}

/// Why an event was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The stage at which it failed.
    pub stage: Stage,
    /// Why, in a word that programs can match.
    pub reason: &'static str,
    /// What was found and what was expected.
    pub text: String,
}

impl Reject {
    /// Makes a reject of any stage.
    pub fn new(stage: Stage, reason: &'static str, text: impl Into<String>) -> Self {
        Self { stage, reason, text: short(text.into()) }
    }

    /// Makes a reject of what waits for a batch.
    pub fn queue(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Stage::Queue, reason, text)
    }

    /// Makes a reject of the stage that reads the message.
    pub fn decode(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Stage::Decode, reason, text)
    }

    /// Makes a reject of the stage that scores.
    pub fn score(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Stage::Score, reason, text)
    }

    /// Makes a reject of the stage that writes.
    pub fn sink(reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(Stage::Sink, reason, text)
    }
}

/// Shortens a text for a header: what it cites of a message may be as long as the message.
fn short(mut text: String) -> String {
    const MOST: usize = 300;
    if text.len() > MOST {
        text.truncate(text.floor_char_boundary(MOST));
        text.push('…');
    }
    text
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.text)
    }
}
