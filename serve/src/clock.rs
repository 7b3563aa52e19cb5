//! The time as the flow sees it: the system's in the service, a simulated one in tests, so that a run can be repeated.

use std::time::{Duration, Instant};

use burnrec_data::calendar::unix_ms;

/// Tells the time, and sleeps.
pub trait Clock: Send + Sync {
    /// Returns now, on a clock that never goes back.
    fn now(&self) -> Instant;

    /// Returns now, in Unix milliseconds.
    fn unix_ms(&self) -> i64;

    /// Sleeps for this long.
    fn sleep(&self, span: Duration);

    /// Returns how long ago a moment was.
    fn since(&self, moment: Instant) -> Duration {
        self.now().saturating_duration_since(moment)
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_ms(&self) -> i64 {
        unix_ms()
    }

    fn sleep(&self, span: Duration) {
        std::thread::sleep(span);
    }
}
