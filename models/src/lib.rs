//! Models that score: popularity, ALS, and matrix factorisation and neural collaborative filtering on Burn.
//!
//! Everything outside talks to a model through [`Scorer`], in batches of rows; what only some models can do is
//! asked for ([`Scorer::as_fold_in`], [`Scorer::item_vectors`]). A [`Model`] is a scorer that can be saved:
//! [`checkpoint`] writes and opens the run directory that is all that recommending and serving need. How a
//! model learns is not here.

pub mod als;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod error;
pub mod fields;
pub mod kernels;
pub mod load;
pub mod loss;
pub mod mf;
pub mod ncf;
pub mod network;
pub mod params;
pub mod popularity;
pub mod scorer;
pub mod simd;
pub mod similar;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topk;
pub mod weights;

pub use config::{ModelConfig, Output};
pub use device::DeviceChoice;
pub use error::{Error, Result};
pub use load::load;
pub use scorer::{FoldIn, Model, Scorer, Shape, Vectors};

/// The version of Burn that is linked, as the manifest pins it.
pub const BURN_VERSION: &str = "0.22.1";
