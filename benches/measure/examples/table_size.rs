//! What a training step costs as the tables grow: at the sizes of MovieLens 1M and 20M, and at ten times as many users
//! and items again. Prints the figures and their ratios, and fails where a bound is missed.
//!
//! ```sh
//! cargo run --release --example table_size -- [neumf] [mf]
//! ```
//!
//! The rows are synthetic, and only those that an epoch of a hundred steps needs are kept. The machine should be idle.

mod allocator;

use burnrec_data::Csr;
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_measure::neural::{NeuralTask, epoch, thin};
use burnrec_measure::{holds, median};
use burnrec_models::{DeviceChoice, device};
use burnrec_train::machine::peak_memory_bytes;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const BATCH: usize = 16_384;
const STEPS: usize = 100;
const NEGATIVES: usize = 4;
const EPOCHS: usize = 3;

/// Users, items, and the fewest rows that such a dataset is drawn with.
const SIZES: [(u32, u32, u32); 3] =
    [(6_040, 3_706, 1_000_000), (138_493, 26_744, 2_000_000), (1_384_930, 267_440, 2_000_000)];

fn main() -> Fallible<()> {
    allocator::keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut tasks = vec![NeuralTask::neumf(64, BATCH), NeuralTask::mf(64, BATCH)];
    if let Some(unknown) = args.iter().find(|arg| tasks.iter().all(|task| task.kind() != *arg)) {
        return Err(format!("found {unknown:?}; usage: table_size [neumf] [mf]").into());
    }
    tasks.retain(|task| args.is_empty() || args.iter().any(|arg| arg == task.kind()));
    let mut milliseconds = vec![Vec::new(); tasks.len()];
    for size in SIZES {
        let train = rows(size)?;
        for (task, taken) in tasks.iter().zip(&mut milliseconds) {
            taken.push(step_milliseconds(task, &train)?);
        }
    }
    let mut held = true;
    for (task, taken) in tasks.iter().zip(milliseconds) {
        let [small, large, largest] = taken[..] else { return Err("a size without a figure".into()) };
        held &= holds(&format!("{task}: ms a step, ML-20M's tables against ML-1M's"), large, small, 2.0);
        held &=
            holds(&format!("{task}: ms a step, ten times ML-20M's against ML-20M's"), largest, large, 1.5);
    }
    println!("peak memory {:.2} GB", peak_memory_bytes() as f64 / 1e9);
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

fn rows((n_users, n_items, n_rows): (u32, u32, u32)) -> Fallible<Csr> {
    let dataset = synth(&SynthConfig::new(n_users, n_items, n_rows, 0))?;
    let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
    Ok(thin(&train, STEPS * (BATCH / (1 + NEGATIVES))))
}

/// Returns the milliseconds of a step, the median over some epochs after a first one that is not counted.
fn step_milliseconds(task: &NeuralTask, train: &Csr) -> Fallible<f64> {
    let mut learner = task.learner(train, &device::open(DeviceChoice::Cpu)?)?;
    epoch(&mut learner)?;
    let mut taken = Vec::new();
    for _ in 0..EPOCHS {
        taken.push(1e3 * epoch(&mut learner)?.seconds / STEPS as f64);
    }
    eprintln!("{task}: {} x {}: ms a step {taken:.2?}", train.n_rows(), train.n_cols());
    Ok(median(taken))
}
