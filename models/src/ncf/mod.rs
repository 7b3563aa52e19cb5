//! Neural collaborative filtering (He et al. 2017): GMF, the elementwise product of two vectors; an MLP tower over the
//! concatenation of two others; and NeuMF, both with embeddings of their own, joined by one output layer (section 3.4,
//! equation 12). One network serves all three, with one part or both.

mod config;
mod family;
#[cfg(feature = "train")]
mod learner;
mod model;
mod network;
#[cfg(feature = "train")]
mod pretrained;

pub use config::{GmfConfig, MlpConfig, NcfSpec, NeumfConfig, TowerWidths};
#[cfg(feature = "train")]
pub use learner::{NeumfTraining, Pretrained};
pub use model::NcfModel;
pub use network::NcfNetwork;
