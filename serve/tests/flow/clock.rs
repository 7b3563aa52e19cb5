//! A clock that passes only where the twin or the flow lets it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use burnrec_serve::clock::Clock;

/// The simulated Unix time at which every run begins.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// A run that takes this long counts as one that never ends.
const NEVER: Duration = Duration::from_secs(3600);

/// The simulated time of a cluster and all flows in it.
pub struct SimClock {
    /// Any moment: only differences count.
    begin: Instant,
    passed: Mutex<Duration>,
}

impl SimClock {
    pub fn new() -> Self {
        Self { begin: Instant::now(), passed: Mutex::default() }
    }

    /// Returns how much time has passed.
    pub fn passed(&self) -> Duration {
        *self.passed.lock().expect("no panic while it is held")
    }

    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        let mut passed = self.passed.lock().expect("no panic while it is held");
        *passed += span;
        let is_over = *passed > NEVER;
        drop(passed);
        assert!(!is_over, "it never ends");
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.begin + self.passed()
    }

    fn unix_ms(&self) -> i64 {
        BEGIN_MS + self.passed().as_millis() as i64
    }

    fn sleep(&self, span: Duration) {
        self.advance(span);
    }
}
