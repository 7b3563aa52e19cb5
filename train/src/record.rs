//! What a run leaves behind: one line per epoch, and one record of the whole.

use std::collections::BTreeMap;

use burnrec_models::checkpoint::DataFacts;
use serde::{Deserialize, Serialize};

use crate::evaluate::Scores;
use crate::machine::Machine;

/// One epoch, as a line of `record.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct EpochRecord {
    /// Which fit it belongs to.
    pub phase: Phase,
    /// Counted from 1.
    pub epoch: u32,
    /// What was minimised, where the epoch computed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What it is made of, by name, where it is more than one thing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub loss_parts: BTreeMap<String, f64>,
    /// Scores on valid after the epoch, where it was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<Scores>,
    /// Training time of the epoch alone.
    pub seconds: f64,
    /// Samples of the epoch by its seconds.
    pub samples_per_second: f64,
}

/// Which fit an epoch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On train, judged on valid to choose the epoch.
    Choose,
    /// On train and valid together, for the chosen number of epochs.
    Refit,
}

/// The record of a finished run: all that could change a number, and the numbers.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    /// The value of the `model` key.
    pub model: &'static str,
    /// Every setting, defaults included.
    pub config: serde_json::Value,
    /// What the model was trained on.
    pub data: DataFacts,
    /// What it scored.
    pub metrics: Metrics,
    /// Seconds of the final fit alone, without any evaluation.
    pub fit_seconds: f64,
    /// Seconds of all fits and evaluations together.
    pub total_seconds: f64,
    /// The number of epochs of the final fit: the one chosen on valid.
    pub epochs: u32,
    /// The most memory that the process held so far, in bytes.
    pub peak_memory_bytes: u64,
    /// The number of weights.
    pub parameters: u64,
    /// Where Burn computed, or the host.
    pub device: String,
    /// Threads of the host.
    pub threads: usize,
    /// The machine.
    pub machine: Machine,
    /// The version of the program.
    pub version: &'static str,
    /// The version of Burn.
    pub burn: &'static str,
}

/// The scores of a run on both holdouts.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// Of the chosen epoch, before the refit.
    pub valid: Scores,
    /// Of the final model; computed once.
    pub test: Scores,
}
