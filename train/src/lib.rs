//! Training and judging.
//!
//! A [`Learner`] runs one epoch at a time and gives a usable model after each; [`fit`](fit::fit) is the only
//! epoch loop, for ALS and Burn models alike. [`evaluate`](evaluate::evaluate) judges any scorer on a holdout:
//! it ranks with ties and NaN against the model, and metrics are pure functions of ranks. [`tune`] searches for the best
//! settings.

pub mod als;
pub mod bootstrap;
pub mod burn;
pub mod checkpoints;
pub mod config;
pub mod error;
pub mod evaluate;
pub mod fit;
pub mod learner;
pub mod machine;
pub mod metrics;
pub mod popularity;
pub mod pretrained;
pub mod rank;
pub mod record;
pub mod run;
pub mod tune;
pub mod warm_start;

pub use config::{BurnConfig, RunConfig, TrainConfig};
pub use error::{Error, Result};
pub use learner::{EpochLoss, Learner, Progress, Silent};
