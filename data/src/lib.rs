//! Ratings in, interactions out.
//!
//! A ratings file is read into [`Interactions`]: columns of user rows, item rows, values and times, with the
//! outside ids kept apart in a [`Vocab`]. Filters and a seeded split turn them into a [`Split`]: the training
//! interactions and two [`Holdout`]s with their candidates, drawn once and saved with hashes of what went in
//! and what came out ([`Prepared`]). Nothing here knows a model or a metric, and no polars type is in a public
//! signature.

pub mod calendar;
pub mod counts;
pub mod csr;
pub mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod filter;
mod from_columns;
pub mod hash;
mod id_builder;
pub mod ids;
pub mod index;
pub mod interactions;
pub mod negatives;
pub mod prepared;
pub mod read;
pub mod rng;
pub mod split;
pub mod synth;
pub mod table;
pub mod tensors;
#[cfg(feature = "testing")]
pub mod testing;
pub mod vocab_file;
pub mod write;

pub use csr::Csr;
pub use error::{Error, Result};
pub use from_columns::IdColumn;
pub use ids::{Id, ItemIx, OwnedId, UserIx, Vocab};
pub use index::Index;
pub use interactions::{Dataset, Interactions, Titles};
pub use prepared::Prepared;
pub use split::{Candidates, Holdout, Lists, Split};
