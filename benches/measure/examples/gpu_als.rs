//! ALS on a graphics card beside the CPU of the same machine: seconds of the sweeps and objective by solver, as a Markdown
//! table. Exit code 1 says that the two do not agree.
//!
//! ```sh
//! cargo run --release --example gpu_als -- [--device gpu|gpu:N] [--sweeps N] [--small]
//! ```
//!
//! The rows are synthetic, with the sizes of MovieLens 20M, and the factors have length 64. `--small` has a tiny table, for an
//! adapter of software, and compares all factors too.

mod allocator;

use std::process::ExitCode;
use std::time::Instant;

use burnrec_data::Csr;
use burnrec_measure::neural::skewed;
use burnrec_models::als::{AlsConfig, AlsLearner, Solver};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::{DeviceChoice, Learner, Result, Shape, Silent};
use clap::Parser;

#[derive(Parser)]
struct Args {
    /// The card.
    #[arg(long, default_value = "gpu")]
    device: DeviceChoice,
    /// Epochs of a training run; each solves all items and all users once.
    #[arg(long, default_value_t = 15)]
    sweeps: usize,
    /// A tiny table.
    #[arg(long)]
    small: bool,
}

/// What a training run took, and where it ended.
struct Trained {
    /// Seconds of the sweeps alone.
    sweeps: f64,
    /// Seconds with putting the rows on the card and reading the factors back.
    in_all: f64,
    objective: f64,
    factors: [Vec<f32>; 2],
}

fn main() -> Result<ExitCode> {
    allocator::keep_freed_memory();
    let args = Args::parse();
    let card = device::open(args.device)?;
    let (shape, n, dim) = match args.small {
        true => (Shape { n_users: 600, n_items: 300 }, 12_000, 16),
        false => (Shape { n_users: 138_493, n_items: 26_744 }, 20_000_000, 64),
    };
    let train = skewed(shape, n, 0);
    let (n_entries, n_threads) = (train.nnz(), std::thread::available_parallelism().map_or(1, usize::from));
    println!(
        "ALS, implicit feedback, dim {dim}, {} sweeps over {} x {} with {n_entries} entries, on {} and on {n_threads} threads\n",
        args.sweeps, shape.n_users, shape.n_items, card.name
    );
    println!(
        "| solver | card: sweeps, s | with upload, s | objective | CPU: sweeps, s | objective | times |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut agree = true;
    for solver in [Solver::Cg, Solver::Cholesky] {
        let config = AlsConfig { solver, dim, ..AlsConfig::default() };
        // The first sweep compiles the kernels.
        trained(&train, &config, Some(&card), 1)?;
        let ours = trained(&train, &config, Some(&card), args.sweeps)?;
        let host = trained(&train, &config, None, args.sweeps)?;
        println!(
            "| {} | {:.3} | {:.3} | {:.6e} | {:.3} | {:.6e} | {:.1} |",
            format!("{solver:?}").to_lowercase(),
            ours.sweeps,
            ours.in_all,
            ours.objective,
            host.sweeps,
            host.objective,
            host.sweeps / ours.sweeps
        );
        agree &= (ours.objective / host.objective - 1.0).abs() < 1e-4;
        if args.small {
            let apart =
                apart(&ours.factors[0], &host.factors[0]).max(apart(&ours.factors[1], &host.factors[1]));
            eprintln!("{solver:?}: factors differ by {apart:.1e} of the largest");
            agree &= apart < 1e-4;
        }
    }
    if !agree {
        eprintln!("FAILED: the card and the CPU do not agree");
    }
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Trains on a card, or on the host.
fn trained(train: &Csr, config: &AlsConfig, card: Option<&OpenDevice>, sweeps: usize) -> Result<Trained> {
    let mut learner = AlsLearner::new(train, config.clone(), 0)?;
    let start = Instant::now();
    if let Some(card) = card {
        learner.move_to(card)?;
    }
    let begin = Instant::now();
    for _ in 0..sweeps {
        learner.epoch(&Silent)?;
    }
    let sweeps = begin.elapsed().as_secs_f64();
    let (users, items) = learner.factors();
    let in_all = start.elapsed().as_secs_f64();
    let factors = [users.to_vec(), items.to_vec()];
    Ok(Trained { sweeps, in_all, objective: learner.objective().total(), factors })
}

/// The largest difference of two lists of values, beside the largest magnitude of the second.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    let size = b.iter().fold(0.0f32, |size, value| size.max(value.abs()));
    a.iter().zip(b).fold(0.0f32, |apart, (a, b)| apart.max((a - b).abs())) / size
}
