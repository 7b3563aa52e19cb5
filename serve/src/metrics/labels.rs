//! The labels of the series.

use prometheus_client::encoding::EncodeLabelSet;

use crate::outcome::EventOutcome;

/// Labels of an outcome.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// `replied`, `filtered`, `resubmitted`, `given-up`, `expired`, `rejected` or `dropped`.
    pub outcome: &'static str,
    /// The request's type if it was replied to, else the reason.
    pub of: &'static str,
    /// The stage of the flow at which it ended, if it was not answered.
    pub stage: &'static str,
}

/// Labels of a queue.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct QueueLabels {
    /// The worker.
    pub worker: u64,
    /// The route.
    pub route: u64,
}

/// Labels of a partition.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct PartitionLabels {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// Labels of an HTTP reply.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct HttpLabels {
    /// The path.
    pub path: String,
    /// The status.
    pub status: u16,
}

/// Labels of a model.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub struct ModelLabels {
    /// Its name in the config.
    pub model: String,
    /// What replies call its version.
    pub version: String,
}

/// Labels of a failure that the flow recovered from.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RecoveryLabels {
    /// `abort` or `rebuild`.
    pub by: &'static str,
}

impl OutcomeLabels {
    /// Returns the labels of an event's outcome.
    pub fn of(outcome: &EventOutcome) -> Self {
        let (of, stage) = match outcome {
            EventOutcome::Replied(kind) => (kind.name(), ""),
            EventOutcome::Filtered => ("threshold", "filter"),
            EventOutcome::FilteredBy(step) => ("step", *step),
            EventOutcome::Resubmitted => ("event", ""),
            EventOutcome::GivenUp(why) => (*why, ""),
            EventOutcome::Expired(reject) => ("age", reject.stage.name()),
            EventOutcome::Failed(reject) | EventOutcome::Dropped(reject) => {
                (reject.reason, reject.stage.name())
            }
        };
        Self { outcome: outcome.name(), of, stage }
    }
}
