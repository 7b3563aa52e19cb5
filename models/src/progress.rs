//! Progress of long work: where it is reported to, and what tells the work to stop.

use crate::{Error, Result};

/// Receives the progress of long work. The program draws bars of it; a library user may count, log or ignore it.
pub trait Progress: Sync {
    /// Begins a piece of work of `total` steps; `what` names them, such as `samples of epoch 3`.
    fn begin(&self, what: &str, total: u64);

    /// Reports that `steps` more of them are done.
    fn advance(&self, steps: u64);

    /// Reports a text to show beside the progress, such as the loss.
    fn note(&self, text: &str);

    /// Ends the piece of work.
    fn end(&self);

    /// Returns whether the work should stop where it stands.
    fn interrupted(&self) -> bool {
        false
    }

    /// Returns an error if the work should stop; called between two steps.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the work should stop.
    fn check(&self) -> Result<()> {
        if self.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Ignores progress and never stops the work.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn end(&self) {}
}
