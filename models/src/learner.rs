//! Learners train a model one epoch at a time; after each epoch there is a usable model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use burnrec_data::{Csr, Prepared};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::device::OpenDevice;
use crate::model::Model;
use crate::progress::Progress;

/// Trains a model on interactions, one epoch at a time.
pub trait Learner {
    /// Goes through the training data once and returns the loss of that epoch.
    ///
    /// # Errors
    /// When the model diverges (a loss or a weight is not finite), the device fails, or `progress` says to stop. The
    /// epoch is then incomplete, so the learner must not be used any more.
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss>;

    /// Returns the model as learned so far.
    fn model(&self) -> Box<dyn Model>;

    /// Returns whether another epoch would change nothing, as after the first of a closed form.
    fn is_finished(&self) -> bool {
        false
    }

    /// Returns what computes the epochs, where a device can do it in more than one way.
    fn computed_by(&self) -> Option<String> {
        None
    }

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

/// What a learner is made from: the data, the seed and the device of one fit of a run.
#[derive(Clone, Copy)]
pub struct FitInput<'a> {
    /// The training matrix, `[n_users, n_items]`; its rows have an order where the model reads it
    /// ([`Family::reads_order`](crate::Family::reads_order)) and the data has times.
    pub train: &'a Csr,
    /// The prepared data that the matrix is from, with the ids of its rows.
    pub data: &'a Prepared,
    /// Which of the run's two fits it is.
    pub phase: Phase,
    /// The seed of every draw: initial weights, order, negatives.
    pub seed: u64,
    /// Where a model that trains on a device computes.
    pub device: &'a OpenDevice,
}

/// Which fit of a run an epoch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Trains on train and is judged on valid, to choose the epoch.
    Choose,
    /// Trains on train and valid together, for the chosen number of epochs.
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
    /// over all terms of the loss in the epoch.
    pub total: Option<f64>,
    /// The parts that add up to `total`, by name (`observed`, `unobserved`, `regulariser`); empty where the learner
    /// does not split it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// How many samples the epoch went through: entries of the training matrix for ALS, positives and negatives for
    /// networks.
    pub samples: u64,
}
