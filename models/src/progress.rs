//! Where long work says how far it is, and hears that it should stop.

use crate::{Error, Result};

/// Hears how far long work is. The program draws bars of it; a library user may count, log or stay silent.
pub trait Progress: Sync {
    /// Begins a piece of work of `total` steps; `what` names them, such as `samples of epoch 3`.
    fn begin(&self, what: &str, total: u64);

    /// Tells that `steps` more of them are done.
    fn advance(&self, steps: u64);

    /// Tells how it goes, such as the loss.
    fn note(&self, text: &str);

    /// Ends the piece of work.
    fn end(&self);

    /// Returns whether the work should stop where it stands.
    fn interrupted(&self) -> bool {
        false
    }

    /// Asks, between two steps, whether to go on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the work should stop.
    fn check(&self) -> Result<()> {
        if self.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Says nothing and never stops the work.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn end(&self) {}
}
