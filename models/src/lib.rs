//! Models that score, and how they learn: popularity, ALS, item-item models in closed form (EASE, nearest neighbours, RP3beta),
//! transitions between items, matrix factorisation, neural collaborative filtering, and blends of saved runs.
//!
//! ```
//! # #[cfg(feature = "train")] {
//! use burnrec_data::{Csr, ItemIx, UserIx};
//! use burnrec_models::als::{AlsConfig, AlsLearner};
//! use burnrec_models::{Learner, Scorer, Silent};
//!
//! // User 0 has the items 0 and 1, user 1 has item 0, user 2 has the items 2 and 3. For user 1, item 1 should score
//! // best of the items that the user does not have yet.
//! let (users, items) = ([0, 0, 1, 2, 2].map(UserIx), [0, 1, 0, 2, 3].map(ItemIx));
//! let train = Csr::from_rows(3, 4, &users, &items, &[1.0; 5]);
//! let mut learner = AlsLearner::new(&train, AlsConfig { dim: 2, ..AlsConfig::default() }, 42)?;
//! for _ in 0..10 {
//!     learner.epoch(&Silent)?;
//! }
//! let mut scores = [0.0; 4];
//! learner.model().score_catalog(&[UserIx(1)], &mut scores);
//! assert!(scores[1] > scores[2] && scores[1] > scores[3]);
//! # }
//! # Ok::<(), burnrec_models::Error>(())
//! ```
//!
//! Other crates use a model through [`Scorer`], in batches of rows. What only some models can do is behind methods that
//! return an `Option` ([`Scorer::as_fold_in`], [`Scorer::item_vectors`]). A [`Model`] is a scorer that can be saved:
//! [`saved`] writes and opens the run directory that is all that recommending and serving need.
//!
//! A family of models is one folder with its settings ([`Family`]), its model and, with the feature `train`, its
//! learner ([`Learner`]); networks share what is in [`nn`]. [`registry`] lists the families; no other shared code names
//! one.

#![deny(missing_docs)]

mod allowed;
pub mod als;
pub mod blend;
pub mod bpmf;
pub mod drift;
pub mod ease;
pub mod error;
#[cfg(feature = "train")]
mod free_memory;
pub mod item_item;
pub mod knn;
#[cfg(feature = "train")]
pub mod learner;
pub mod least_squares;
#[cfg(feature = "train")]
mod linalg;
pub mod mf;
pub mod model;
pub mod ncf;
pub mod nn;
mod output;
pub mod popularity;
pub mod progress;
pub mod recency;
pub mod recommender;
pub mod registry;
mod retrieval;
pub mod rp3beta;
pub mod sasrec;
pub mod saved;
pub mod scorer;
pub mod settings;
pub mod simd;
pub mod similar;
pub mod slim;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topk;
pub mod trained;
#[cfg(feature = "train")]
pub mod trainer;
pub mod transition;
pub mod user_array;
mod vectors;
pub mod weights;

pub use error::{Error, Result};
#[cfg(feature = "train")]
pub use learner::{EpochLoss, FitInput, Learner, Phase};
pub use model::{Compute, Family, Model, ModelConfig, Output};
pub use nn::device::{self, DeviceChoice};
pub use progress::{Progress, Silent};
pub use recency::Recency;
pub use recommender::{DataFacts, FoldedUser, Query, Recommender, ScoredItem};
pub use scorer::{Factors, FoldIn, Scorer, Shape, Vectors};
#[cfg(feature = "train")]
pub use trainer::{Trainable, Trainer};
pub use user_array::UserArray;

/// The version of Burn that is linked, as the manifest pins it.
pub const BURN_VERSION: &str = "0.22.1";
