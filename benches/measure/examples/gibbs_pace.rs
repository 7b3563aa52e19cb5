//! A sweep of the Gibbs sampler of Bayesian matrix factorisation beside an epoch of explicit ALS with biases of the same `dim`,
//! in one run. Prints seconds and their ratios, and fails where a sweep takes more than 1.5 times as long as an epoch that
//! solves the same systems, by Cholesky's method.
//!
//! ```sh
//! cargo run --release --example gibbs_pace -- RATINGS
//! ```

use burnrec_data::read::{ReadOptions, read};
use burnrec_measure::{holds, median, seconds};
use burnrec_models::als::{AlsConfig, AlsLearner, Solver};
use burnrec_models::bpmf::{BpmfConfig, BpmfLearner, Implicit};
use burnrec_models::{Learner, Result, Silent};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How many epochs of each are timed, in turn; the median counts.
const REPEATS: usize = 7;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let ratings = std::env::args().nth(1).ok_or("usage: gibbs_pace RATINGS")?;
    let dataset = read(ratings.as_ref(), &ReadOptions::default())?.dataset;
    let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
    println!("{} rows, {} users, {} items", train.nnz(), train.n_rows(), train.n_cols());
    let mut held = true;
    for dim in [15, 31, 63] {
        let als = |solver| {
            let config = AlsConfig { dim, solver, biases: true, ..AlsConfig::explicit() };
            AlsLearner::new(&train, config, 1)
        };
        let gibbs = |implicit| {
            let config = BpmfConfig { dim, implicit, samples: 1, ..BpmfConfig::default() };
            BpmfLearner::new(&train, config, 1)
        };
        let mut learners: [Box<dyn Learner + '_>; 4] = [
            Box::new(als(Solver::Cholesky)?),
            Box::new(als(Solver::Cg)?),
            Box::new(gibbs(Implicit::None)?),
            Box::new(gibbs(Implicit::Both)?),
        ];
        let [cholesky, cg, plain, both] = paces(&mut learners)?;
        held &= holds(&format!("dim {dim}, sweep by Cholesky's epoch"), plain, cholesky, 1.5);
        held &= holds(&format!("dim {dim}, sweep with implicit = \"both\" by the same"), both, cholesky, 1.5);
        println!("dim {dim}, sweep by an epoch of conjugate gradients, {cg:.4} s: {:.2}", plain / cg);
    }
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

/// Returns the median seconds of an epoch of each learner, after two that are not timed.
fn paces<const N: usize>(learners: &mut [Box<dyn Learner + '_>; N]) -> Result<[f64; N]> {
    let mut times = [const { Vec::new() }; N];
    for repeat in 0..REPEATS + 2 {
        for (learner, times) in learners.iter_mut().zip(&mut times) {
            let mut done = Ok(Default::default());
            let seconds = seconds(|| done = learner.epoch(&Silent));
            done?;
            if repeat >= 2 {
                times.push(seconds);
            }
        }
    }
    Ok(times.map(median))
}
