//! Recommenders trained, judged side by side, and served.
//!
//! ```
//! use burnrec::{AlsConfig, PrepareOptions, Recommender};
//!
//! # fn main() -> burnrec::Result<()> {
//! # let folder = tempfile::tempdir().expect("a folder");
//! # std::env::set_current_dir(&folder).expect("the folder is there");
//! # let ratings = burnrec::data::synth::SynthConfig::new(60, 40, 900, 1);
//! # burnrec::data::synth::write_movielens(&burnrec::data::synth::synth(&ratings)?, ".".as_ref())?;
//! let data = burnrec::prepare("ratings.csv", &PrepareOptions::default())?;
//! let trained = burnrec::train(&data, AlsConfig { dim: 16, ..AlsConfig::default() })?;
//! println!("{}", trained.record.metrics.test);
//! trained.recommender.save("runs/als")?;
//!
//! let recommender = Recommender::open("runs/als")?;
//! for item in recommender.recommend(7, 10)? {
//!     println!("{:>6} {:.3} {}", item.id, item.score, item.title.as_deref().unwrap_or(""));
//! }
//! # assert_eq!(recommender.recommend("7", 10)?.len(), 10);
//! # Ok(())
//! # }
//! ```
//!
//! [`prepare`] reads ratings from a file (or [`prepare_dataset`] from columns in memory) and splits them once;
//! [`train()`] chooses the epoch on valid, fits again on train and valid together and uses test once; [`evaluate`]
//! judges any [`Scorer`] on any holdout; a [`Recommender`] answers in the ids of the ratings file. A model of one's own
//! is a [`Family`]: [`register`](registry::register) it, and training, evaluation, saved runs and the service treat it
//! like any other.
//!
//! | feature | brings | default |
//! |---|---|---|
//! | `parquet` | Parquet files, by polars; directories of Spark's ALS | yes |
//! | `mlflow` | runs on a tracking server of MLflow ([`interchange`]) | yes |
//! | `fetch` | downloads of MovieLens | yes |
//! | `gpu` | networks on any graphics card, by wgpu | yes |
//! | `kafka`, `http` | the scoring service ([`serve`]) and its two sides; with `kafka` the erasure of a user (`person`) | yes |
//! | `program` | the program `burnrec`, as a function too (`program`) | yes |
//! | `vulkan`, `cuda`, `ndarray` | other ways to compute | no |

#![deny(missing_docs)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/library.md")]
struct LibraryPage;

// The modules of the program name the library as other programs do.
#[cfg(feature = "program")]
extern crate self as burnrec;

#[cfg(feature = "mlflow")]
mod agent;
mod error;
pub mod interchange;
#[cfg(feature = "kafka")]
pub mod person;
mod prepare;
mod training;

#[cfg(feature = "program")]
mod cli;
#[cfg(feature = "program")]
mod commands;
#[cfg(feature = "program")]
mod interrupt;
#[cfg(feature = "program")]
mod layers;
#[cfg(feature = "program")]
pub mod program;
#[cfg(feature = "program")]
mod progress;
#[cfg(feature = "program")]
mod show;
#[cfg(feature = "program")]
mod start;
#[cfg(feature = "program")]
mod tracking;

pub use burnrec_data as data;
pub use burnrec_models as models;
#[cfg(feature = "serve")]
pub use burnrec_serve as serve;
pub use burnrec_train as train;

pub use burnrec_data::filter::{Duplicates, Filters};
pub use burnrec_data::read::ReadOptions;
pub use burnrec_data::split::SplitConfig;
pub use burnrec_data::{Csr, Dataset, Holdout, ItemIx, Prepared, UserIx};
pub use burnrec_models::als::{AlsConfig, AlsTraining};
pub use burnrec_models::blend::{BlendConfig, BlendTraining};
pub use burnrec_models::ease::EaseConfig;
pub use burnrec_models::item_item::NeighboursOf;
pub use burnrec_models::knn::{KnnConfig, Similarity};
pub use burnrec_models::mf::MfConfig;
pub use burnrec_models::ncf::{GmfConfig, MlpConfig, NeumfConfig, NeumfTraining};
pub use burnrec_models::nn::NnTraining;
pub use burnrec_models::popularity::PopularityConfig;
pub use burnrec_models::rp3beta::Rp3betaConfig;
pub use burnrec_models::sasrec::{SasrecConfig, SequenceLoss};
pub use burnrec_models::slim::SlimConfig;
pub use burnrec_models::transition::TransitionConfig;
pub use burnrec_models::{
    DeviceChoice, EpochLoss, Family, FitInput, FoldedUser, Learner, Model, ModelConfig, Output, Phase,
    Progress, Query, Recency, Recommender, ScoredItem, Scorer, Shape, Silent, Trainable, device, registry,
};
pub use burnrec_train::evaluate::{EvaluateOptions, Scores};
pub use burnrec_train::metrics::Metric;
pub use burnrec_train::record::RunRecord;
pub use burnrec_train::releases::Releases;
pub use burnrec_train::run::Trained;
pub use burnrec_train::run_dir::Begin;
pub use burnrec_train::{RunConfig, TrainConfig};

pub use error::{Error, Result};
pub use prepare::{PrepareOptions, prepare, prepare_dataset};
pub use training::{EvaluateOn, Training, evaluate, evaluate_run, train};
