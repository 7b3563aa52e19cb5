//! A blend of saved runs: the weighted sum of their scores, of each user on one scale.
//!
//! ```text
//! s_uj = sum over the parts p of weights_p scale(s_puj)
//! zscore: (s - mean) / standard deviation        rank: the share of items that s is above, equal ones counted half
//! ```
//!
//! where mean, deviation and shares are those of the part's scores of all items that the user has not had. Weights are
//! settings, which `tune` searches: in the fit that is judged on valid the parts have the weights that their own runs chose on
//! valid, before they were trained on it, and in the refit their final ones ([`Stage`](crate::saved::Stage)), so that no part
//! knows what it is judged by.
//!
//! The saved model holds no weights of its parts: it names their run directories by relative paths, with the hash of each
//! one's manifest, which in turn holds the hashes of all its files. A part that is gone or was replaced is an error.

mod config;
#[cfg(feature = "train")]
mod learner;
mod model;
mod part;
mod scale;

pub use config::BlendConfig;
#[cfg(feature = "train")]
pub use learner::{BlendLearner, BlendTraining};
pub use model::Blend;
pub use part::Part;
pub use scale::Scale;
