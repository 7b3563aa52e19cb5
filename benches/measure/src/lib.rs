//! Shared by the measuring programs: timing, the check of bounds, training tasks for burnrec and PyTorch, and the
//! service's requests, contenders and replies.
//!
//! The programs are in `examples/`, the criterion bench in `benches/`. The scripts of the peers are in `benches/peers/`
//! of the repository.

pub mod kafka;
pub mod neural;

use std::time::Instant;

use burnrec_data::Csr;
use burnrec_models::als::AlsConfig;
use burnrec_models::als::AlsLearner;
use burnrec_models::{Learner, Result, Silent};

/// The root folder of the repository, as it was at build time.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Returns the seconds that `work` takes.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Returns the median: the upper of the two middle values where their number is even, NaN where there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints our figure, theirs and the ratio, and returns whether the ratio is at most `bound`.
pub fn holds(what: &str, ours: f64, theirs: f64, bound: f64) -> bool {
    let ratio = ours / theirs;
    let verdict = if ratio <= bound { "holds" } else { "MISSED" };
    println!("{what}: {ours:.4} against {theirs:.4}, ratio {ratio:.4}, at most {bound:.4} {verdict}");
    ratio <= bound
}

/// Fits ALS until its training loss is at most `loss`, and returns the seconds and epochs that this took, or none where
/// 100 epochs do not reach it. Computing the loss is not timed, as the peers do not compute it either.
///
/// # Errors
/// When training fails.
pub fn seconds_to_loss(train: &Csr, config: &AlsConfig, loss: f64) -> Result<Option<(f64, u32)>> {
    let start = Instant::now();
    let mut learner = AlsLearner::new(train, config.clone(), 42)?;
    let mut seconds = start.elapsed().as_secs_f64();
    for epoch in 1..=100 {
        let start = Instant::now();
        learner.epoch(&Silent)?;
        seconds += start.elapsed().as_secs_f64();
        if learner.objective().total() <= loss {
            return Ok(Some((seconds, epoch)));
        }
    }
    Ok(None)
}
