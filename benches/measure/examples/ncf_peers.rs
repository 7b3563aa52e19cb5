//! NeuMF beside PyTorch, in one run: samples a second in training at two sizes, and pairs a second when scoring the
//! whole catalogue for all users. Prints the figures and their ratios, and fails where a bound is missed.
//!
//! ```sh
//! cargo run --release --example ncf_peers -- RATINGS [--device cpu|gpu]
//! ```
//!
//! PyTorch runs `benches/peers/torch_ncf.py` in its fastest setup. Ours and theirs take turns, since the pace of a
//! machine drifts, and the median of each counts. `PYTHON` names the interpreter that has
//! `benches/peers/requirements.txt`, else `python3`; the machine should be idle.

mod allocator;

use burnrec_bench::peers;
use burnrec_data::read::{ReadOptions, read};
use burnrec_data::{Csr, UserIx};
use burnrec_measure::neural::{NeuralTask, Torch, epoch};
use burnrec_measure::{holds, median, seconds};
use burnrec_models::Learner;
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::{DeviceChoice, Model};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The number of turns that ours and theirs take.
const TURNS: usize = 3;

/// The largest ratio of our time to theirs at which the measurement passes.
const BOUND: f64 = 1.0 / 2.0;
/// The ratio that is aimed at; the output says whether it is reached.
const GOAL: f64 = 1.0 / 3.0;

/// The largest ratio of a side's fastest turn to its slowest. PyTorch's threads wait for each other in busy loops, so
/// that other work on the machine slows them several times more than ours, and the comparison would flatter burnrec.
const MOST_SPREAD: f64 = 1.4;

/// The number of users whose scores are in memory at a time.
const USERS_AT_ONCE: usize = 256;

fn main() -> Fallible<()> {
    allocator::keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (ratings, choice) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [ratings] => (ratings, DeviceChoice::Cpu),
        [ratings, "--device", choice] => (ratings, choice.parse()?),
        _ => return Err("usage: ncf_peers RATINGS [--device cpu|gpu]".into()),
    };
    let dataset = read(ratings.as_ref(), &ReadOptions::default())?.dataset;
    let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
    let device = device::open(choice)?;
    let dir = tempfile::tempdir()?;
    let rows = dir.path().join("train.csv");
    peers::write_rows(&rows, &train)?;
    let torch = Torch::new(rows, &train, choice);
    println!("{} ratings, {}", train.nnz(), device.name);

    let mut held = training(&NeuralTask::neumf(8, 2_560), &train, &device, &torch)?;
    let large = NeuralTask::neumf(64, 16_384);
    held &= training(&large, &train, &device, &torch)?;
    held &= scoring(&large, &train, &device, &torch)?;
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

/// Compares the seconds for a million samples.
fn training(task: &NeuralTask, train: &Csr, device: &OpenDevice, torch: &Torch) -> Fallible<bool> {
    let way = torch.fastest_setup(task)?;
    let mut learner = task.learner(train, device)?;
    let warm_up = epoch(&mut learner)?;
    let (mut ours, mut theirs, mut loss) = (Vec::new(), Vec::new(), f64::NAN);
    for _ in 0..TURNS {
        ours.push(epoch(&mut learner)?.samples_per_second);
        let record = torch.run(task, way, &[])?;
        theirs.push(peers::figure(&record, "/samples_per_second")?);
        loss = peers::figure(&record, "/loss")?;
    }
    // Both losses are of one epoch over the same rows, from initial weights of the same distribution.
    if (warm_up.loss / loss - 1.0).abs() > 0.05 {
        return Err(format!("{task}: loss {} in the first epoch, {loss} in PyTorch", warm_up.loss).into());
    }
    println!("{task}: loss of the first epoch {:.4} and {loss:.4}", warm_up.loss);
    Ok(compare(&format!("{task}: s for a million samples"), ours, theirs, way[0]))
}

/// Compares the seconds for a million pairs.
fn scoring(task: &NeuralTask, train: &Csr, device: &OpenDevice, torch: &Torch) -> Fallible<bool> {
    let model = task.learner(train, device)?.model();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(pairs_per_second(&*model));
        let record =
            torch.run(task, torch.setups()[0], &["--warmup", "0", "--steps", "1", "--score-catalog"])?;
        theirs.push(peers::figure(&record, "/catalog/pairs_per_second")?);
    }
    Ok(compare(&format!("{task}: s for a million scores"), ours, theirs, "inference_mode"))
}

/// Returns the pairs a second of scoring all items for all users.
fn pairs_per_second(model: &dyn Model) -> f64 {
    let users: Vec<UserIx> = (0..model.n_users() as u32).map(UserIx).collect();
    let mut out = vec![0.0; USERS_AT_ONCE * model.n_items()];
    let seconds = seconds(|| {
        for users in users.chunks(USERS_AT_ONCE) {
            model.score_catalog(users, &mut out[..users.len() * model.n_items()]);
        }
    });
    (users.len() * model.n_items()) as f64 / seconds
}

/// Compares the medians of both sides' paces and prints the ratio; `way` is PyTorch's setup. Returns false where the
/// bound is missed or the machine was too busy to measure.
fn compare(what: &str, ours: Vec<f64>, theirs: Vec<f64>, way: &str) -> bool {
    eprintln!("{what}: a second, ours {ours:.0?}, PyTorch's {theirs:.0?} ({way})");
    let spread = |paces: &[f64]| {
        paces.iter().copied().fold(0.0, f64::max) / paces.iter().copied().fold(f64::INFINITY, f64::min)
    };
    if spread(&ours).max(spread(&theirs)) > MOST_SPREAD {
        println!(
            "{what}: NOT MEASURED, the turns of one side differ by more than {MOST_SPREAD}: the machine is busy"
        );
        return false;
    }
    let (ours, theirs) = (1e6 / median(ours), 1e6 / median(theirs));
    let reached = if ours / theirs <= GOAL { "reached" } else { "not reached" };
    holds(&format!("{what} (PyTorch: {way}; goal {GOAL:.2} {reached})"), ours, theirs, BOUND)
}
