//! Measurement: the bench of a config, its records, and what the programs under `benches/` share.

pub mod bench;
pub mod chart;
pub mod kafka;
pub mod neural;
pub mod peers;
pub mod record;
pub mod report;
pub mod stats;

use std::time::Instant;

use burnrec_data::Csr;
use burnrec_models::als::AlsConfig;
use burnrec_train::als::AlsLearner;
use burnrec_train::{Learner, Result, Silent};

/// The seconds of a piece of work.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The middle one, or the upper of the two in the middle; NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints ours, theirs and the ratio, and says whether the ratio is within the bound.
pub fn holds(what: &str, ours: f64, theirs: f64, bound: f64) -> bool {
    let ratio = ours / theirs;
    let verdict = if ratio <= bound { "holds" } else { "MISSED" };
    println!("{what}: {ours:.4} against {theirs:.4}, ratio {ratio:.4}, at most {bound:.4} {verdict}");
    ratio <= bound
}

/// Seconds and epochs of an ALS fit, from the matrix to a loss, if 100 epochs reach it; computing the loss is not counted, as peers do not
/// compute it either.
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
