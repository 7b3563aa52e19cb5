//! Models that score, and how they learn: popularity, ALS, matrix factorisation and neural collaborative filtering.
//!
//! Everything outside talks to a model through [`Scorer`], in batches of rows; what only some models can do is asked for
//! ([`Scorer::as_fold_in`], [`Scorer::item_vectors`]). A [`Model`] is a scorer that can be saved: [`saved`] writes and
//! opens the run directory that is all that recommending and serving need.
//!
//! A family of models is one folder with its settings ([`Family`]), its model and, with the feature `train`, its learner
//! ([`Learner`]); networks share what is in [`nn`]. [`registry`] lists the families: nothing else names one.

#![deny(missing_docs)]

pub mod als;
pub mod error;
#[cfg(feature = "train")]
pub mod learner;
pub mod mf;
pub mod model;
pub mod ncf;
pub mod nn;
pub mod popularity;
pub mod progress;
pub mod recommender;
pub mod registry;
pub mod saved;
pub mod scorer;
pub mod settings;
pub mod simd;
pub mod similar;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topk;
#[cfg(feature = "train")]
pub mod trainer;
pub mod weights;

pub use error::{Error, Result};
#[cfg(feature = "train")]
pub use learner::{EpochLoss, FitInput, Learner, Phase};
pub use model::{Compute, Family, Model, ModelConfig, Output};
pub use nn::device::{self, DeviceChoice};
pub use progress::{Progress, Silent};
pub use recommender::{DataFacts, FoldedUser, Query, Recommender, ScoredItem};
pub use scorer::{FoldIn, Scorer, Shape, Vectors};
#[cfg(feature = "train")]
pub use trainer::{Trainable, Trainer};

/// The version of Burn that is linked, as the manifest pins it.
pub const BURN_VERSION: &str = "0.22.1";
