//! The times when requests are due, and the percentiles of the waits for their replies. A wait is counted from when the
//! request was due, even if the sender or the connection was busy and sent it later: a user would have waited since
//! then.

use std::io;
use std::time::{Duration, Instant};

/// A schedule of requests at even intervals, the first of which warm up the program and are not counted.
#[derive(Clone, Copy)]
pub struct Schedule {
    start: Instant,
    rate: f64,
    warm: usize,
}

impl Schedule {
    /// Starts a schedule now, of `rate` requests a second; the first `warm` are not counted.
    pub fn from_now(rate: f64, warm: usize) -> Self {
        Self { start: Instant::now() + Duration::from_millis(10), rate, warm }
    }

    /// Returns when request `k` is due.
    pub fn due(&self, k: usize) -> Instant {
        self.start + Duration::from_secs_f64(k as f64 / self.rate)
    }

    /// Returns the number of requests that are due by now.
    pub fn due_by_now(&self) -> usize {
        (Instant::now().saturating_duration_since(self.start).as_secs_f64() * self.rate).ceil() as usize
    }

    /// Sleeps until request `k` is due.
    pub fn wait_for(&self, k: usize) {
        std::thread::sleep(self.due(k).saturating_duration_since(Instant::now()));
    }

    /// Returns the microseconds since request `k` was due.
    pub fn late_us(&self, k: usize) -> u32 {
        Instant::now().saturating_duration_since(self.due(k)).as_micros().try_into().unwrap_or(u32::MAX)
    }

    /// Returns the percentiles of the counted requests' waits.
    ///
    /// # Errors
    /// When the wait of a request is unknown.
    pub fn percentiles(&self, late_us: &[Option<u32>]) -> io::Result<Percentiles> {
        let missing = late_us.iter().filter(|late| late.is_none()).count();
        if missing > 0 {
            return Err(io::Error::other(format!("{missing} of {} requests without a reply", late_us.len())));
        }
        let mut counted: Vec<u32> = late_us.iter().flatten().copied().skip(self.warm).collect();
        counted.sort_unstable();
        // The smallest wait that at least this share of the requests does not exceed.
        let at = |share: f64| {
            let rank = (share * counted.len() as f64).ceil() as usize;
            counted.get(rank.saturating_sub(1)).map_or(f64::NAN, |&us| f64::from(us) / 1e3)
        };
        Ok(Percentiles { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms: at(1.0) })
    }
}

/// Percentiles of waits.
#[derive(Clone, Copy, Debug)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}
