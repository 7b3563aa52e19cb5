//! What can go wrong in training and judging.

/// An error that says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Data cannot be read or written, or does not fit.
    #[error(transparent)]
    Data(#[from] burnrec_data::Error),
    /// A model cannot be made, opened or used.
    #[error(transparent)]
    Model(#[from] burnrec_models::Error),
    /// The name of a metric that does not exist.
    #[error("metric {found:?}: expected {expected}")]
    Metric {
        /// The name.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A saved run has no record, or one that cannot be read.
    #[error("record: found {found}, expected {expected}")]
    Record {
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A model cannot be judged on a holdout.
    #[error("evaluate: found {found}, expected {expected}")]
    Evaluate {
        /// What was given.
        found: String,
        /// What can be judged.
        expected: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns the error of a key in a table with the path of the key in the whole file: `dim` in `search.space` is
    /// `search.space.dim`.
    pub(crate) fn under(self, table: &str) -> Self {
        match self {
            Self::Model(burnrec_models::Error::Config { key, found, expected }) => {
                let key = format!("{table}.{key}");
                Self::Model(burnrec_models::Error::Config { key, found, expected })
            }
            other => other,
        }
    }

    /// Returns whether the work was asked to stop before its end.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Model(burnrec_models::Error::Interrupted))
    }

    /// Returns the error of a model that cannot be judged on a holdout.
    pub(crate) fn evaluate(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Evaluate { found: found.into(), expected: expected.into() }
    }
}
