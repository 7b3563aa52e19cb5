//! ALS beside Spark's: the RMSE of explicit ALS on the same splits with the same settings, mean of 3 seeds, and the
//! time of implicit ALS to Spark's loss. Prints the figures and their ratios, and fails where a bound is missed.
//!
//! ```sh
//! cargo run --release --example als_spark -- ML-100K-DIR ML-1M-DIR
//! ```
//!
//! `PYTHON` names the interpreter that has `benches/peers/requirements.txt`, else `python3`; Java 17 must be there.

use burnrec_bench::peers;
use burnrec_data::Csr;
use burnrec_data::filter::Filters;
use burnrec_data::read::{ReadOptions, read};
use burnrec_data::split::{GivenSplit, SplitConfig, split};
use burnrec_data::{ItemIx, UserIx, filter};
use burnrec_measure::{holds, seconds_to_loss};
use burnrec_models::Model;
use burnrec_models::als::AlsLearner;
use burnrec_models::als::{AlsConfig, Convention, Solver};
use burnrec_models::{Learner, Silent};
use burnrec_train::metrics::RatingErrors;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const SEEDS: u64 = 3;
const RANK: usize = 10;
const REG: f32 = 0.1;
const EPOCHS: u32 = 10;

fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [small, large] = args.as_slice() else { return Err("usage: als_spark ML-100K-DIR ML-1M-DIR".into()) };
    let (train, test) = fold(&format!("{small}/u1"))?;
    let mut held = rmse("ml-100k u1", &train, &test)?;
    let (train, test) = tenth(large)?;
    held &= rmse("ml-1m, a tenth held out", &train, &test)?;
    held &= speed(&train, &test)?;
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

/// Reads the train and test rows that come with the files.
fn fold(path: &str) -> Fallible<(Csr, Csr)> {
    let outcome = read(path.as_ref(), &ReadOptions::default())?;
    let Some(GivenSplit::Fold { test }) = outcome.given else {
        return Err(format!("{path} is no fold").into());
    };
    let (n_users, n_items) = (outcome.dataset.users.len(), outcome.dataset.items.len());
    Ok((outcome.dataset.interactions.to_csr(n_users, n_items), test.to_csr(n_users, n_items)))
}

/// Reads rows, and holds out a tenth of them at random as test.
fn tenth(path: &str) -> Fallible<(Csr, Csr)> {
    let dataset =
        filter::apply(read(path.as_ref(), &ReadOptions::default())?.dataset, &Filters::default())?.0;
    let (n_users, n_items) = (dataset.users.len(), dataset.items.len());
    let (parts, _) = split(&dataset, &SplitConfig::Random { valid: 0.1, test: 0.1 }, 0)?;
    let mut train = parts.train;
    let valid = &parts.valid_rows;
    for k in 0..valid.len() {
        train.push(valid.users[k], valid.items[k], valid.values[k], valid.times[k]);
    }
    let mut test = burnrec_data::Interactions::default();
    for (row, user) in parts.test.users.iter().enumerate() {
        let (items, values) = parts.test.relevant.row(row);
        items.iter().zip(values).for_each(|(&item, &value)| test.push(*user, ItemIx(item), value, 0));
    }
    Ok((train.to_csr(n_users, n_items), test.to_csr(n_users, n_items)))
}

/// Compares the mean RMSE over the seeds. Pairs of users or items without training rows are left out on both sides.
fn rmse(name: &str, train: &Csr, test: &Csr) -> Fallible<bool> {
    let config = AlsConfig { dim: RANK, reg: REG, solver: Solver::Cholesky, ..AlsConfig::explicit() };
    let dir = tempfile::tempdir()?;
    let paths = [dir.path().join("train.csv"), dir.path().join("test.csv")];
    peers::write_rows(&paths[0], train)?;
    peers::write_rows(&paths[1], test)?;
    let [train_file, test_file] = paths.map(|path| path.display().to_string());
    let (mut ours, mut theirs) = (0.0, 0.0);
    for seed in 0..SEEDS {
        let mut learner = AlsLearner::new(train, config.clone(), seed)?;
        for _ in 0..EPOCHS {
            learner.epoch(&Silent)?;
        }
        ours += error(&*learner.model(), train, test) / SEEDS as f64;
        let (rank, reg, epochs, seed) =
            (RANK.to_string(), REG.to_string(), EPOCHS.to_string(), seed.to_string());
        let args = ["--train", &train_file, "--test", &test_file, "--rank", &rank, "--reg", &reg];
        let record =
            peers::run("spark_als.py", &[&args[..], &["--iterations", &epochs, "--seed", &seed]].concat())?;
        theirs += peers::figure(&record, "/rmse")? / SEEDS as f64;
    }
    Ok(holds(&format!("{name}: RMSE, mean of {SEEDS} seeds"), ours, theirs, 1.005))
}

fn error(model: &dyn Model, train: &Csr, test: &Csr) -> f64 {
    let items = train.transpose();
    let mut errors = RatingErrors::default();
    for user in 0..test.n_rows() {
        if train.row(user).0.is_empty() {
            continue;
        }
        for (&item, &rating) in test.row(user).0.iter().zip(test.row(user).1) {
            if !items.row(item as usize).0.is_empty() {
                let mut score = [0.0];
                model.score_pairs(&[UserIx(user as u32)], &[ItemIx(item)], &mut score);
                errors.add(score[0], rating);
            }
        }
    }
    errors.rmse()
}

/// Compares the times to the loss that Spark has after 15 iterations of implicit ALS, dim 64.
fn speed(train: &Csr, test: &Csr) -> Fallible<bool> {
    let dir = tempfile::tempdir()?;
    let paths = [dir.path().join("train.csv"), dir.path().join("test.csv")];
    peers::write_rows(&paths[0], train)?;
    peers::write_rows(&paths[1], test)?;
    let [train_file, test_file] = paths.map(|path| path.display().to_string());
    let args = ["--train", &train_file, "--test", &test_file, "--implicit", "--alpha", "1", "--rank", "64"];
    let record = peers::run("spark_als.py", &[&args[..], &["--reg", "0.1", "--iterations", "15"]].concat())?;
    let (theirs, loss) = (peers::figure(&record, "/fit_seconds")?, peers::figure(&record, "/loss/total")?);
    let config = AlsConfig { reg: 0.1, ..AlsConfig::implicit(Convention::Spark) };
    let (ours, epochs) = seconds_to_loss(train, &config, loss)?.ok_or("Spark's loss was not reached")?;
    let what = format!("ml-1m implicit dim 64: seconds to Spark's loss ({epochs} epochs, 15 of Spark)");
    Ok(holds(&what, ours, theirs, 1.0 / 75.0))
}
