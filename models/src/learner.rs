//! What learns: one epoch at a time, with a usable model after each.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use burnrec_data::{Csr, Prepared};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::device::OpenDevice;
use crate::model::Model;
use crate::progress::Progress;

/// Something that turns training interactions into a model, an epoch at a time.
pub trait Learner {
    /// Goes through the training data once and returns the loss of that epoch.
    ///
    /// # Errors
    /// When the model diverged (a loss that is not finite), the device failed, or `progress` says to stop: within a
    /// batch or half a sweep, and the learner is then of no more use.
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss>;

    /// Returns the model as learned so far.
    fn model(&self) -> Box<dyn Model>;

    /// Writes all that the next epochs depend on into `dir`, which exists.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn save_state(&self, dir: &Path) -> Result<()>;

    /// Goes back to a state written by [`Learner::save_state`].
    ///
    /// # Errors
    /// When a file cannot be read or belongs to another learner.
    fn load_state(&mut self, dir: &Path) -> Result<()>;
}

/// What a learner is made from: one fit of a run.
#[derive(Clone, Copy)]
pub struct FitInput<'a> {
    /// The training matrix, `[n_users, n_items]`.
    pub train: &'a Csr,
    /// The prepared data that the matrix is from, with the ids of its rows.
    pub data: &'a Prepared,
    /// Which of the run's two fits it is.
    pub phase: Phase,
    /// The seed of every draw: first weights, order, negatives.
    pub seed: u64,
    /// Where a model that trains on a device computes.
    pub device: &'a OpenDevice,
}

/// Which fit of a run an epoch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On train, judged on valid to choose the epoch.
    Choose,
    /// On train and valid together, for the chosen number of epochs.
    Refit,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Choose => "choose",
            Self::Refit => "refit",
        })
    }
}

/// The loss of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochLoss {
    /// What the learner minimises, if it was computed this epoch: for ALS the whole objective, for networks the mean
    /// over the epoch's terms.
    pub total: Option<f64>,
    /// What it is made of, by name (`observed`, `unobserved`, `regulariser`); empty where it is one thing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// How many samples the epoch went through: entries of the training matrix for ALS, positives and negatives for
    /// networks.
    pub samples: u64,
}
