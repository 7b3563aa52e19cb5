//! What learns: one epoch at a time, with a usable model after each.

use std::path::Path;

use burnrec_models::Model;

use crate::{Error, Result};

/// Something that turns training interactions into a model, an epoch at a time.
pub trait Learner {
    /// Goes through the training data once and gives the loss of that epoch.
    ///
    /// # Errors
    /// When the model diverged (a loss that is not finite), the device failed, or `progress` says to stop: within a
    /// batch or half a sweep, and the learner is then of no more use.
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss>;

    /// The model as learned so far.
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

/// The loss of one epoch.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochLoss {
    /// What the learner minimises, if it was computed this epoch: for ALS the whole objective, for Burn models
    /// the mean over the epoch's terms.
    pub total: Option<f64>,
    /// What it is made of, by name (`observed`, `unobserved`, `regulariser`); empty where it is one thing.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub parts: std::collections::BTreeMap<String, f64>,
    /// How many samples the epoch went through: entries of the training matrix for ALS, positives and negatives for Burn models.
    pub samples: u64,
}

/// Where long work says how far it is, and hears that it should stop.
pub trait Progress: Sync {
    /// A piece of work of `total` steps begins; `what` names them, such as `samples of epoch 3`.
    fn begin(&self, what: &str, total: u64);

    /// `steps` more of them are done.
    fn advance(&self, steps: u64);

    /// A word on how it goes, such as the loss.
    fn note(&self, text: &str);

    /// The piece of work is done.
    fn end(&self);

    /// Whether the work should stop where it stands.
    fn interrupted(&self) -> bool {
        false
    }

    /// For work to ask between its steps.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when it should stop.
    fn check(&self) -> Result<()> {
        if self.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn end(&self) {}
}
