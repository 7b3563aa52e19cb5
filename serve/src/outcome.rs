//! The ends of events.

use crate::{Kind, Reject};

/// How an event ended. Each event has exactly one end.
#[derive(Clone, Debug, PartialEq)]
pub enum EventOutcome {
    /// Its reply is among the messages.
    Replied(Kind),
    /// Its items are all under their thresholds, or a replay skips it.
    Filtered,
    /// A step of one's own left it out.
    FilteredBy(&'static str),
    /// It goes back to the topic it came from before it was rejected; in a replay.
    Resubmitted,
    /// It is left where it is: a reject that was tried too often or holds only a part of the event; in a replay.
    GivenUp(&'static str),
    /// It waited too long.
    Expired(Reject),
    /// It could not be answered.
    Failed(Reject),
    /// The same, and the config says to leave no reject.
    Dropped(Reject),
}

impl EventOutcome {
    /// Returns the word for it in receipts and metrics.
    pub fn name(&self) -> &'static str {
        ENDS[self.place()]
    }

    /// Returns the place of its word in [`ENDS`].
    pub fn place(&self) -> usize {
        match self {
            Self::Replied(_) => 0,
            Self::Filtered | Self::FilteredBy(_) => 1,
            Self::Resubmitted => 2,
            Self::GivenUp(_) => 3,
            Self::Expired(_) => 4,
            Self::Failed(_) => 5,
            Self::Dropped(_) => 6,
        }
    }
}

/// The words for how events end.
pub const ENDS: [&str; 7] =
    ["replied", "filtered", "resubmitted", "given-up", "expired", "rejected", "dropped"];
