//! What can go wrong, by where it went wrong.

/// An error that says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Ratings or prepared data cannot be read, written, filtered or split.
    #[error(transparent)]
    Data(burnrec_data::Error),
    /// A setting is wrong, a run cannot be opened or saved, a model cannot do what is asked, training diverged or was
    /// interrupted.
    #[error(transparent)]
    Model(burnrec_models::Error),
    /// A run cannot be judged, or its record cannot be read.
    #[error(transparent)]
    Train(burnrec_train::Error),
    /// A config of the service is wrong, or the brokers do not do what is asked of them.
    #[cfg(feature = "serve")]
    #[error(transparent)]
    Serve(burnrec_serve::Error),
    /// An MLflow tracking server does not answer, or not as one does.
    #[error("{address}: found {found}, expected {expected}")]
    Mlflow {
        /// The address.
        address: String,
        /// What answered.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// An MLflow tracking server refuses what it is asked.
    #[error("{address}: MLflow refuses with status {status}, {code}: {message}")]
    MlflowRefused {
        /// The address.
        address: String,
        /// The status of HTTP.
        status: u16,
        /// MLflow's name of the reason.
        code: String,
        /// MLflow's own words.
        message: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<burnrec_data::Error> for Error {
    fn from(error: burnrec_data::Error) -> Self {
        Self::Data(error)
    }
}

impl From<burnrec_models::Error> for Error {
    fn from(error: burnrec_models::Error) -> Self {
        match error {
            burnrec_models::Error::Data(error) => Self::Data(error),
            error => Self::Model(error),
        }
    }
}

impl From<burnrec_train::Error> for Error {
    fn from(error: burnrec_train::Error) -> Self {
        match error {
            burnrec_train::Error::Data(error) => Self::Data(error),
            burnrec_train::Error::Model(error) => error.into(),
            error => Self::Train(error),
        }
    }
}

#[cfg(feature = "serve")]
impl From<burnrec_serve::Error> for Error {
    fn from(error: burnrec_serve::Error) -> Self {
        match error {
            burnrec_serve::Error::Data(error) => Self::Data(error),
            error => Self::Serve(error),
        }
    }
}
