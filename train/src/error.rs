//! What can go wrong in training and judging.

/// An error that says what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Data cannot be read or written, or does not fit.
    #[error(transparent)]
    Data(#[from] burnrec_data::Error),
    /// A model cannot be made, opened or asked.
    #[error(transparent)]
    Model(#[from] burnrec_models::Error),
    /// Training left the finite numbers.
    #[error(
        "training diverged in epoch {epoch}: the loss is {loss}, expected a finite number; try a smaller learning rate or a larger reg"
    )]
    Diverged {
        /// The epoch, counted from 1.
        epoch: u32,
        /// The loss.
        loss: f64,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
