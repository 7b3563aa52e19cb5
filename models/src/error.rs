//! What can go wrong with a model.

use std::path::PathBuf;

/// An error that says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of a run directory cannot be read or written, or does not hold what it should.
    #[error(transparent)]
    Data(#[from] burnrec_data::Error),
    /// A config has a key or a value it must not have.
    #[error("{key}: found {found}, expected {expected}")]
    Config {
        /// The key, with its table.
        key: String,
        /// The value that was found.
        found: String,
        /// The values that are allowed.
        expected: String,
    },
    /// A directory is not a run that this program can open.
    #[error("{}: found {found}, expected {expected}", path.display())]
    Run {
        /// The directory or file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The device asked for is not there, or cannot do what it must.
    #[error("device {asked}: {why}")]
    Device {
        /// The device as asked for.
        asked: String,
        /// Why it cannot be had.
        why: String,
    },
    /// Histories to fold in do not fit the model.
    #[error("fold-in: found {found}, expected {expected}")]
    FoldIn {
        /// What was given.
        found: String,
        /// What the model takes.
        expected: String,
    },
    /// A value of a matrix of interactions is not one that the model can take.
    #[error("value of user row {user}, item row {item}: found {found}, expected {expected}")]
    Value {
        /// The row of the matrix.
        user: usize,
        /// The column of the matrix.
        item: u32,
        /// The value.
        found: f32,
        /// The values that the model takes.
        expected: &'static str,
    },
    /// The data has rows with negative values, each of which the model would count as a positive.
    #[error(
        "model {kind}: found {rows} rows with a negative value, the least {least}, the first {first} of user {user} and item \
         {item}, expected values of at least 0, as the model counts each row as a positive; prepare the data with \
         `--positive-from VALUE`, or train a model of ratings"
    )]
    NegativeValues {
        /// The kind of model.
        kind: &'static str,
        /// How many rows have a negative value.
        rows: u64,
        /// The least value.
        least: f32,
        /// The value of the first such row.
        first: f32,
        /// Its user's id.
        user: String,
        /// Its item's id.
        item: String,
    },
    /// The model reads the order of a user's rows, and the data has no times.
    #[error(
        "model {kind}: found rows without times, expected times that differ, as {by} reads the order of a user's rows; \
         prepare the data again from a file with a column of times"
    )]
    NoTimes {
        /// The kind of model.
        kind: &'static str,
        /// What reads the order: the model, or one of its settings.
        by: String,
    },
    /// An outside id has no row in the model.
    #[error("{what} {id:?} is not in the run, which has {n} {what}s from {first} to {last}")]
    UnknownId {
        /// `user` or `item`.
        what: &'static str,
        /// The id asked for.
        id: String,
        /// How many ids the model has.
        n: usize,
        /// The first of them.
        first: String,
        /// The last of them.
        last: String,
    },
    /// An outside id has a row in the model that never learned, since nothing in training is of it.
    #[error("{what} {id:?} has no training row; expected one of the {n_trained} {what}s that have")]
    Untrained {
        /// `user` or `item`.
        what: &'static str,
        /// The id asked for.
        id: String,
        /// How many ids have training rows.
        n_trained: usize,
    },
    /// The model cannot do what is asked.
    #[error("{kind} has no {lacks}")]
    Unable {
        /// The kind of model.
        kind: &'static str,
        /// What it lacks.
        lacks: &'static str,
    },
    /// Training diverged: the loss or a weight is not finite.
    #[error(
        "training diverged in epoch {epoch}: the loss is {loss}, expected a finite number; try a smaller learning rate or a larger reg"
    )]
    Diverged {
        /// The epoch, counted from 1.
        epoch: u32,
        /// The loss.
        loss: f64,
    },
    /// The work was asked to stop before its end.
    #[error("interrupted")]
    Interrupted,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns the error of a config that has a key or a value it must not have.
    pub fn config(key: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Config { key: key.into(), found: found.to_string(), expected: expected.into() }
    }
}
