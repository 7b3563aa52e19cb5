//! SASRec beside PyTorch, in one run: rows a second in training with both losses, and users a second in scoring from
//! histories. Prints the figures and their ratios, and fails where a bound is missed.
//!
//! ```sh
//! cargo run --release --example sasrec_peers -- RATINGS
//! ```
//!
//! PyTorch runs `benches/peers/torch_sasrec.py`. Ours and theirs take turns, since the pace of a machine drifts, and the
//! median of each counts. `PYTHON` names the interpreter that has `benches/peers/requirements.txt`, else `python3`; the
//! machine should be idle.

mod allocator;

use std::io::Write;
use std::path::Path;

use burnrec_bench::peers;
use burnrec_data::read::{ReadOptions, read};
use burnrec_data::{Csr, UserIx};
use burnrec_measure::{holds, median, seconds};
use burnrec_models::device;
use burnrec_models::nn::NnTraining;
use burnrec_models::sasrec::{SasrecConfig, SasrecLearner, SequenceLoss};
use burnrec_models::{DeviceChoice, Learner, Scorer, Silent};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The number of turns that ours and theirs take.
const TURNS: usize = 3;

/// The largest ratios of our time to theirs at which the measurement passes: in training and in scoring.
const BOUNDS: [f64; 2] = [1.0 / 1.5, 1.0 / 2.0];

/// The rows of an optimiser step.
const BATCH_SIZE: usize = 16_384;

/// The number of users whose scores are in memory at a time.
const USERS_AT_ONCE: usize = 256;

fn main() -> Fallible<()> {
    allocator::keep_freed_memory();
    let ratings = std::env::args().nth(1).ok_or("usage: sasrec_peers RATINGS")?;
    let dataset = read(ratings.as_ref(), &ReadOptions::default())?.dataset;
    let train = dataset.interactions.to_histories(dataset.users.len(), dataset.items.len(), 0);
    println!("{} rows, {}", train.nnz(), device::open(DeviceChoice::Cpu)?.name);
    let dir = tempfile::tempdir()?;
    let rows = dir.path().join("train.csv");
    write_histories(&rows, &train)?;
    let mut held = true;
    for (loss, name) in
        [(SequenceLoss::Softmax, "softmax"), (SequenceLoss::SampledSoftmax, "sampled-softmax")]
    {
        held &= compare(loss, name, &train, &rows)?;
    }
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

/// Writes the rows, each user's from the oldest on.
fn write_histories(path: &Path, train: &Csr) -> Fallible<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "user,item,value")?;
    for user in 0..train.n_rows() {
        for entry in train.history(user) {
            writeln!(file, "{user},{},{}", entry.col, entry.value)?;
        }
    }
    Ok(file.flush()?)
}

/// Compares the paces with a loss.
fn compare(loss: SequenceLoss, name: &str, train: &Csr, rows: &Path) -> Fallible<bool> {
    let config = SasrecConfig { loss, ..SasrecConfig::default() };
    let training = NnTraining { batch_size: BATCH_SIZE, ..NnTraining::default() };
    let device = device::open(DeviceChoice::Cpu)?;
    let mut learner = SasrecLearner::new(train, &config, &training, 42, &device)?;
    let (n_users, n_items) = (train.n_rows().to_string(), train.n_cols().to_string());
    let (rows, batch_rows) = (rows.display().to_string(), BATCH_SIZE.to_string());
    let args = ["--train", &rows, "--n-users", &n_users, "--n-items", &n_items, "--loss", name];
    let args = [&args[..], &["--batch-rows", &batch_rows, "--score"]].concat();
    let (mut ours, mut theirs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..TURNS {
        let mut samples = 0;
        let mut failed = None;
        let epoch = seconds(|| match learner.epoch(&Silent) {
            Ok(loss) => samples = loss.samples,
            Err(error) => failed = Some(error),
        });
        failed.map_or(Ok(()), Err)?;
        ours[0].push(samples as f64 / epoch);
        ours[1].push(users_per_second(&learner, train)?);
        let record = peers::run("torch_sasrec.py", &args)?;
        theirs[0].push(peers::figure(&record, "/samples_per_second")?);
        theirs[1].push(peers::figure(&record, "/scoring/users_per_second")?);
    }
    let mut held = true;
    for (at, what) in ["rows a second in training", "users a second in scoring"].into_iter().enumerate() {
        eprintln!("{name}, {what}: ours {:.0?}, PyTorch's {:.0?}", ours[at], theirs[at]);
        let [ours, theirs] = [&ours, &theirs].map(|paces| 1e6 / median(paces[at].clone()));
        held &= holds(&format!("{name}, s for a million ({what})"), ours, theirs, BOUNDS[at]);
    }
    Ok(held)
}

/// Returns the users a second of scoring all items from histories.
fn users_per_second(learner: &SasrecLearner<'_>, train: &Csr) -> Fallible<f64> {
    let model = learner.model();
    let fold_in = model.as_fold_in().ok_or("SASRec folds users in")?;
    let users: Vec<UserIx> = (0..train.n_rows() as u32).map(UserIx).collect();
    let mut out = vec![0.0; USERS_AT_ONCE * train.n_cols()];
    let mut failed = None;
    let seconds = seconds(|| match fold_in.fold_in(train) {
        Ok(folded) => score(&*folded, &users, &mut out),
        Err(error) => failed = Some(error),
    });
    failed.map_or(Ok(()), Err)?;
    Ok(users.len() as f64 / seconds)
}

fn score(scorer: &dyn Scorer, users: &[UserIx], out: &mut [f32]) {
    for users in users.chunks(USERS_AT_ONCE) {
        scorer.score_catalog(users, &mut out[..users.len() * scorer.n_items()]);
    }
}
