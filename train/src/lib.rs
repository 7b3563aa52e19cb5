//! The one epoch loop, and judging.
//!
//! [`run`](run::run) takes any trainer through a whole run: [`fit`](fit::fit) is the only epoch loop, the epoch is chosen
//! on valid, the model is fitted again on train and valid together, test is touched once. [`evaluate`](evaluate::evaluate)
//! judges any scorer on a holdout: it ranks with ties and NaN against the model, and metrics are pure functions of ranks.
//! [`tune`] searches for the best settings. No family of models is known here by name.

pub mod bootstrap;
pub mod checkpoints;
pub mod config;
pub mod error;
pub mod evaluate;
pub mod fit;
pub mod machine;
pub mod metrics;
pub mod rank;
pub mod record;
pub mod run;
pub mod run_dir;
pub mod tune;

pub use config::{RunConfig, TrainConfig};
pub use error::{Error, Result};
