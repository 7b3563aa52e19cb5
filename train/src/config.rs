//! The settings of a training run: one flat table in a file, split here by owner.

use burnrec_models::ModelConfig;
use serde::{Deserialize, Serialize};

/// All settings of one training run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// The model's own settings.
    pub model: ModelConfig,
    /// How a Burn model learns; of no use to the others.
    pub burn: BurnConfig,
    /// The run's settings.
    pub run: RunConfig,
}

/// How a Burn model learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BurnConfig {
    /// Rows of one step: positives and their negatives together, or ratings.
    pub batch_size: usize,
    /// Step length of the optimiser.
    pub learning_rate: f64,
    /// Drawn negatives for each positive, where the loss takes them.
    pub negatives: usize,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Decoupled weight decay of every weight, by step.
    pub weight_decay: f32,
}

/// The optimiser of a Burn model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// Plain stochastic gradient descent.
    Sgd,
}

impl Default for BurnConfig {
    fn default() -> Self {
        Self {
            batch_size: 16384,
            learning_rate: 0.001,
            negatives: 4,
            optimizer: Optimizer::Adam,
            weight_decay: 0.0,
        }
    }
}

/// The settings of a run that do not depend on the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Seeds every draw of the run: first weights, order, negatives.
    pub seed: u64,
    /// The most epochs.
    pub epochs: u32,
    /// Whether the best setting is trained once more on train and valid together before test is touched.
    pub refit: bool,
    /// The metric on valid that chooses the epoch; by default `rmse` for models of ratings, else `ndcg@10`.
    pub select_by: Option<String>,
    /// Epochs from one evaluation on valid to the next.
    pub eval_every: u32,
    /// When to stop before `epochs`.
    pub early_stopping: Option<EarlyStopping>,
}

/// When to stop before the last epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// Evaluations on valid without a better value.
    pub patience: u32,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { seed: 42, epochs: 20, refit: true, select_by: None, eval_every: 1, early_stopping: None }
    }
}
