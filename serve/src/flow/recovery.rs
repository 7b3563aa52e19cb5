//! How the flow goes on after a failure: back to the last commit, and on from there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Flow, Transport, Trouble};
use crate::Result;

/// The longest wait between two tries.
const MOST_BACKOFF: Duration = Duration::from_secs(5);

impl<T: Transport> Flow<T> {
    /// Recovers from a failure; returns when the flow can go on.
    pub(super) fn recover(&mut self, done: Result<(), Trouble>, stop: &AtomicBool) -> Result<()> {
        let mut trouble = match done {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        loop {
            let (text, rebuild) = match trouble {
                Trouble::Abort(text) => (text, false),
                Trouble::Rebuild(text) => (text, true),
                Trouble::Later(_) => return Ok(()),
                Trouble::Fatal(error) => return Err(error),
            };
            self.metrics.trouble(&text, rebuild);
            tracing::warn!(cause = text, rebuild, "rolling back to the last commit");
            self.failures_in_a_row += 1;
            let backoff = self.options.backoff.saturating_mul(1 << self.failures_in_a_row.min(7));
            let until = self.clock.now() + backoff.min(MOST_BACKOFF);
            self.roll_back();
            match self.transport.abort(rebuild).and_then(|()| self.rewind(rebuild)) {
                Ok(()) => {
                    // The flow goes on at once after a first failure; it waits only when failures follow each other.
                    if self.failures_in_a_row > 1 {
                        self.wait(until, stop);
                    }
                    return Ok(());
                }
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(Trouble::Abort(text) | Trouble::Rebuild(text) | Trouble::Later(text)) => {
                    trouble = Trouble::Rebuild(text);
                }
            }
            self.wait(until, stop);
            if stop.load(Ordering::Relaxed) {
                // What is not committed is read again by whoever comes next.
                return Ok(());
            }
        }
    }

    /// Waits until a moment, or until `stop` is set.
    fn wait(&self, until: Instant, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let left = until.saturating_duration_since(self.clock.now());
            if left.is_zero() {
                return;
            }
            self.clock.sleep(left.min(Duration::from_millis(10)));
        }
    }

    /// Takes back all changes since the last commit.
    fn roll_back(&mut self) {
        self.engine.state.undo(std::mem::take(&mut self.undo));
        self.backlog.clear();
        self.trail.roll_back();
        self.offsets.roll_back();
        self.received.clear();
        self.unsaved = false;
        self.paused.clear();
        self.is_holding = false;
        self.erase_again();
    }
}
