//! Matrix factorisation with biases: trained as a network ([`MfNetwork`]), served as plain host arrays ([`MfModel`]),
//! because its score is no more than a dot product.

mod config;
mod family;
mod fold_in;
mod lbfgs;
#[cfg(feature = "train")]
mod learner;
mod model;
mod negatives;
mod network;

pub use config::MfConfig;
#[cfg(feature = "train")]
pub use learner::AgedMfLearner;
pub use model::MfModel;
pub use network::MfNetwork;
