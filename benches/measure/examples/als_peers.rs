//! ALS beside the `implicit` package, in one run: the time to the loss that the package has after 15 epochs, top-10 for
//! all users, and what a rating costs at 20 M rows. Prints the figures and their ratios, and fails where a bound is
//! missed.
//!
//! ```sh
//! cargo run --release --example als_peers -- RATINGS [--without-scale]
//! ```
//!
//! `PYTHON` names the interpreter that has `benches/peers/requirements.txt`, else `python3`; the machine should be
//! idle.

use burnrec_bench::peers;
use burnrec_data::read::{ReadOptions, read};
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_data::{Csr, Interactions, UserIx};
use burnrec_measure::{holds, seconds, seconds_to_loss};
use burnrec_models::als::AlsLearner;
use burnrec_models::als::{AlsConfig, Convention};
use burnrec_models::topk::top_k;
use burnrec_models::{Learner, Silent};
use burnrec_train::machine::peak_memory_bytes;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How often ours and theirs are timed; the shortest time counts.
const REPEATS: usize = 5;

fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ratings = args.first().ok_or("usage: als_peers RATINGS [--without-scale]")?;
    let dataset = read(ratings.as_ref(), &ReadOptions::default())?.dataset;
    let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
    let peer = implicit(&train)?;
    let config = AlsConfig::implicit(Convention::Implicit);

    let mut fits: Vec<(f64, u32)> = Vec::new();
    for _ in 0..REPEATS {
        fits.push(seconds_to_loss(&train, &config, peer.loss)?.ok_or("implicit's loss was not reached")?);
    }
    let (seconds, epochs) = fits.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no fit")?;
    let mut learner = AlsLearner::new(&train, config.clone(), 42)?;
    learner.epoch(&Silent)?;
    let model = learner.model();
    let users: Vec<UserIx> = (0..train.n_rows() as u32).map(UserIx).collect();
    let lists = least_seconds(|| drop(top_k(&*model, &users, 10, |at| train.row(at).0, None)));

    println!("{} ratings, dim {}, loss {:.0}", train.nnz(), config.dim, peer.loss);
    let mut held = true;
    held &= holds(&format!("to this loss ({epochs} epochs, 15 of implicit)"), seconds, peer.fit, 0.5);
    held &= holds("top-10 for all users", lists, peer.recommend, 0.5);
    if !args.iter().any(|arg| arg == "--without-scale") {
        drop(model);
        drop(learner);
        drop(train);
        held &= scale(&config)?;
    }
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

fn least_seconds(mut work: impl FnMut()) -> f64 {
    let times = (0..REPEATS).map(|_| seconds(&mut work));
    times.fold(f64::INFINITY, f64::min)
}

/// What the `implicit` package took and reached: seconds of its fit and of its lists, and its loss.
struct Peer {
    fit: f64,
    recommend: f64,
    loss: f64,
}

/// Fits ALS by the `implicit` package on the same rows.
fn implicit(train: &Csr) -> Fallible<Peer> {
    let dir = tempfile::tempdir()?;
    let rows = dir.path().join("train.csv");
    peers::write_rows(&rows, train)?;
    let (rows, repeats) = (rows.display().to_string(), REPEATS.to_string());
    let args = ["--train", &rows, "--dim", "64", "--epochs", "15", "--threads", "2", "--recommend-k", "10"];
    let record = peers::run("implicit_als.py", &[&args[..], &["--repeats", &repeats]].concat())?;
    let fits = record["fit_seconds_all"].as_array().ok_or("the peer's record lacks its fits")?;
    let fit = fits.iter().filter_map(|fit| fit.as_f64()).fold(f64::INFINITY, f64::min);
    let recommend = peers::figure(&record, "/recommend_seconds")?;
    Ok(Peer { fit, recommend, loss: peers::figure(&record, "/loss/total")? })
}

/// Compares the cost of a rating at 20 M rows with that at 1 M, and bounds the memory beside the factors.
fn scale(config: &AlsConfig) -> Fallible<bool> {
    let small = cost(config, "ml-1m")?;
    let large = cost(config, "ml-20m")?;
    let mut held = holds("ns a rating and epoch, 20 M rows against 1 M", large.0, small.0, 3.0);
    held &= holds("peak memory at 20 M rows beside the factors, bytes a row", large.1, 1.0, 60.0);
    Ok(held)
}

/// Returns the nanoseconds for each rating in one epoch, and the peak bytes a row beside the factors.
fn cost(config: &AlsConfig, like: &str) -> Fallible<(f64, f64)> {
    let dataset = synth(&SynthConfig::like(like)?)?;
    let rows: Interactions = dataset.interactions;
    let (n_users, n_items, n) = (dataset.users.len(), dataset.items.len(), rows.len() as f64);
    let train = rows.to_csr(n_users, n_items);
    drop(rows);
    let mut learner = AlsLearner::new(&train, config.clone(), 42)?;
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let mut epoch = Ok(Default::default());
        least = least.min(seconds(|| epoch = learner.epoch(&Silent)));
        epoch?;
    }
    let factors = 4.0 * ((n_users + n_items) * config.dim) as f64;
    Ok((1e9 * least / n, (peak_memory_bytes() as f64 - factors) / n))
}
