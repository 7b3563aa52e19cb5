//! What all networks share: batches, losses, optimisers, kernels of the CPU and of a GPU, the device.
//!
//! A family of networks is an [`Architecture`](network::Architecture): it names its weights and makes its
//! [`Network`](network::Network), which scores a batch and gives the gradients of a loss over it. The learner of all of
//! them draws batches with negatives, asks for gradients and updates the weights.

#[cfg(all(test, feature = "train"))]
pub(crate) mod autodiff;
pub mod batch;
#[cfg(feature = "train")]
mod batches;
pub mod device;
#[cfg(all(feature = "cube", feature = "train"))]
pub(crate) mod gpu;
#[cfg(all(test, feature = "train"))]
mod gradient_tests;
pub mod kernels;
#[cfg(feature = "train")]
mod learner;
#[cfg(feature = "train")]
pub(crate) mod learner_state;
pub mod loss;
#[cfg(feature = "train")]
mod loss_gradients;
#[cfg(feature = "train")]
pub(crate) mod memory;
pub mod network;
pub mod on_card;
#[cfg(feature = "train")]
pub(crate) mod optimizer;
pub mod pair_score;
pub mod params;
#[cfg(feature = "train")]
mod training;

#[cfg(all(feature = "cube", feature = "train"))]
pub use gpu::{KernelTimes, Traffic};
#[cfg(feature = "train")]
pub use learner::{InitialWeights, NnLearner};
#[cfg(feature = "train")]
pub use training::{EmbeddingUpdate, NnTraining, Optimizer, Schedule, ScheduleKind};
