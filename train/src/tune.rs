//! Searching for the best settings of a model: many trials, each trained on train and judged on valid, never on test.
//!
//! A training config with a `[search]` table says which settings to try ([`TuneConfig`]): each combination of a grid,
//! or settings drawn at random. [`search`] runs the trials one after the other and keeps each in a line of a file, so
//! that a search that was stopped can go on.

mod budget;
mod config;
mod log;
mod range;
mod search;
mod space;

pub use budget::Budget;
pub use config::{Method, SearchConfig, Trial, TuneConfig};
pub use log::{BEST, FoldScore, TrialOutcome, TrialRecord};
pub use search::{SearchResult, search, sort};
