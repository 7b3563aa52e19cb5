//! Ratings in, interactions out: readers, filters, splits, negative sampling and synthetic data.
//!
//! ```
//! use burnrec_data::Id;
//! use burnrec_data::read::{ReadOptions, read};
//! use burnrec_data::split::{SplitConfig, split};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("ratings.csv");
//! let ratings = "user,item,rating,time\nann,7,5,1\nann,8,4,2\nann,9,3,3\nbob,7,4,1\nbob,9,2,2\nbob,8,5,3\n";
//! std::fs::write(&path, ratings)?;
//!
//! let dataset = read(&path, &ReadOptions::default())?.dataset;
//! let leave_one_out = SplitConfig::LeaveOneOut { candidates: None };
//! let (split, summary) = split(&dataset, &leave_one_out, 42)?;
//! assert_eq!((split.train.len(), summary.valid.rows, summary.test.rows), (2, 2, 2));
//!
//! let ann = split.test.users[0];
//! let held_out = split.test.relevant.row(0).0[0];
//! assert_eq!(dataset.users.id(ann.0), Id::Str("ann"));
//! assert_eq!(dataset.items.id(held_out), Id::Int(9), "the last item that ann rated");
//! # Ok(())
//! # }
//! ```
//!
//! [`read::read`] turns a ratings file, and [`Dataset::from_columns`] columns in memory, into [`Interactions`]: columns
//! of user indices, item indices, values and times, with the outside ids apart in a [`Vocab`]. [`filter::apply`] and a
//! seeded [`split()`](split::split) turn them into a [`Split`]: the training interactions and two [`Holdout`]s with
//! their candidates, drawn once and saved as [`Prepared`] data with hashes of what went in and what came out. Nothing
//! here knows a model or a metric, and no polars type is in a public signature.
//!
//! # Features
//! Both are on by default.
//! - `parquet`: Parquet files are read and written, by polars. Without it they are refused with
//!   [`Error::NotBuilt`].
//! - `fetch`: the module `fetch` downloads MovieLens.

#![deny(missing_docs)]

pub mod calendar;
pub mod counts;
pub mod csr;
pub mod draws;
pub mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod filter;
mod from_columns;
pub mod hash;
pub mod held;
mod id_builder;
pub mod ids;
pub mod index;
pub mod interactions;
pub mod negatives;
pub mod prepared;
pub mod read;
pub mod rng;
pub mod split;
mod stop;
pub mod synth;
pub mod table;
pub mod tensors;
#[cfg(feature = "testing")]
pub mod testing;
pub mod vocab_file;
pub mod write;

pub use csr::{Csr, Entry, Foreign, Order, Shared};
pub use error::{Error, Result};
pub use from_columns::IdColumn;
pub use ids::{Id, ItemIx, OwnedId, UserIx, Vocab};
pub use index::Index;
pub use interactions::{Dataset, Interactions, Titles};
pub use prepared::Prepared;
pub use split::{Candidates, Holdout, Lists, Split};
pub use stop::Stop;
