//! What families share whose models are an item-item matrix `B`: a user with history `x_u` scores
//! `s_uj = sum over the history of x_ui B_ij`, with `x_ui` what the row counts, which may fall with its age ([`Recency`](crate::Recency)).
//!
//! [`ItemMatrix`] is `B`, whole or with the entries of the k nearest items alone. [`ItemItemModel`] scores by it, folds users
//! in and is saved: a row of histories is all that it knows of a user. [`ItemItemLearner`] computes the closed form of a
//! family in one epoch; [`add_common_users`]
//! counts X'X; [`nearest`] finds the k nearest items of each by a product of sparse matrices, and [`SymmetricTiles`] inverts.

#[cfg(feature = "train")]
mod gram;
mod histories;
#[cfg(feature = "train")]
mod inverse;
#[cfg(feature = "train")]
mod learner;
mod matrix;
mod model;
#[cfg(feature = "train")]
mod nearest;
mod neighbours;

#[cfg(feature = "train")]
pub use gram::add_common_users;
pub use histories::Histories;
#[cfg(feature = "train")]
pub use inverse::SymmetricTiles;
#[cfg(feature = "train")]
pub use learner::{ClosedForm, ItemItemLearner};
pub use matrix::ItemMatrix;
pub use model::{ItemItem, ItemItemModel, ones};
#[cfg(feature = "train")]
pub use nearest::{Itself, from_rows, nearest};
pub use neighbours::NeighboursOf;
