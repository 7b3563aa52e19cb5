//! The learner of a blend, which has nothing to learn: it opens the parts.

use std::path::{Path, PathBuf};

use burnrec_data::Csr;
use serde::{Deserialize, Serialize};

use super::{Blend, BlendConfig, Part};
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::model::Model;
use crate::progress::Progress;
use crate::saved::{self, Stage};
use crate::trainer::Trainable;
use crate::{Error, Result};

/// The settings of a blend that only training reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendTraining {
    /// The directories of the parts' runs, all on the same prepared data; the saved blend names them by relative paths.
    pub parts: Vec<PathBuf>,
}

impl Trainable for BlendConfig {
    type Training = BlendTraining;

    /// What a value means was asked when the parts were trained.
    fn takes_negative_values(&self) -> bool {
        true
    }

    fn starts_from_runs(_: &BlendTraining) -> Option<&'static str> {
        Some("parts")
    }

    fn learner<'a>(&self, training: &BlendTraining, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        if training.parts.is_empty() {
            return Err(Error::config("parts", "none", "the directories of the runs to blend"));
        }
        let open = |run: &PathBuf| {
            saved::check_data("parts", run, &saved::manifest(run)?, fit.data)?;
            Part::open(run, Stage::of(fit.phase), fit.device)
        };
        let parts = training.parts.iter().map(open).collect::<Result<_>>()?;
        Ok(Box::new(BlendLearner::new(fit.train, self.clone(), parts)?))
    }
}

/// Makes a blend of opened parts.
pub struct BlendLearner {
    blend: Blend,
    n_rows: u64,
}

impl BlendLearner {
    /// Blends parts for the users of the training matrix, `[n_users, n_items]`.
    ///
    /// # Errors
    /// As [`Blend::new`].
    pub fn new(train: &Csr, config: BlendConfig, parts: Vec<Part>) -> Result<Self> {
        Ok(Self { blend: Blend::new(config, parts, train)?, n_rows: train.nnz() as u64 })
    }
}

impl Learner for BlendLearner {
    fn epoch(&mut self, _: &dyn Progress) -> Result<EpochLoss> {
        Ok(EpochLoss { samples: self.n_rows, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        Box::new(self.blend.clone())
    }

    fn is_finished(&self) -> bool {
        true
    }

    /// Writes nothing: the parts are opened again.
    fn save_state(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn load_state(&mut self, _: &Path) -> Result<()> {
        Ok(())
    }
}
