//! ALS beside the `implicit` package, in one run: the time to the loss that the package has after 15 epochs, top-10 for all
//! users, and what a rating costs at 20 M rows. Prints the figures and their ratios, and fails where a bound is missed.
//!
//! ```sh
//! cargo run --release -p burnrec-bench --example als_peers -- RATINGS [--without-scale]
//! ```
//!
//! `PYTHON` names the interpreter that has `benches/peers/requirements.txt`, else `python3`; the machine should be idle.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use burnrec_data::read::{ReadOptions, read};
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_data::{Csr, Interactions, UserIx};
use burnrec_models::als::{AlsConfig, Convention};
use burnrec_models::topk::top_k;
use burnrec_train::als::AlsLearner;
use burnrec_train::machine::peak_memory_bytes;
use burnrec_train::{Learner, Silent};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Of each time the least of so many is taken, here as there.
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
        fits.push(until(&train, &config, peer.loss)?);
    }
    let (seconds, epochs) = fits.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).ok_or("no fit")?;
    let mut learner = AlsLearner::new(&train, config.clone(), 42)?;
    learner.epoch(&Silent)?;
    let model = learner.model();
    let users: Vec<UserIx> = (0..train.n_rows() as u32).map(UserIx).collect();
    let lists = least_seconds(|| drop(top_k(&*model, &users, 10, |at| train.row(at).0, None)));

    println!("{} ratings, dim {}, loss {:.0}", train.nnz(), config.dim, peer.loss);
    let mut held = true;
    held &= ratio(&format!("to this loss ({epochs} epochs, 15 of implicit)"), seconds, peer.fit, 0.5);
    held &= ratio("top-10 for all users", lists, peer.recommend, 0.5);
    if !args.iter().any(|arg| arg == "--without-scale") {
        drop(model);
        drop(learner);
        drop(train);
        held &= scale(&config)?;
    }
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

/// Prints ours, theirs and the ratio, and says whether it is within the bound.
fn ratio(what: &str, ours: f64, theirs: f64, bound: f64) -> bool {
    let ratio = ours / theirs;
    let verdict = if ratio <= bound { "holds" } else { "MISSED" };
    println!("{what}: {ours:.4} against {theirs:.4}, ratio {ratio:.3}, at most {bound} {verdict}");
    ratio <= bound
}

/// Seconds and epochs of a fit, from the matrix to the loss; computing the loss is not counted, as it is not in the peer.
fn until(train: &Csr, config: &AlsConfig, loss: f64) -> Fallible<(f64, u32)> {
    let start = Instant::now();
    let mut learner = AlsLearner::new(train, config.clone(), 42)?;
    let mut seconds = start.elapsed().as_secs_f64();
    for epoch in 1..=100 {
        let start = Instant::now();
        learner.epoch(&Silent)?;
        seconds += start.elapsed().as_secs_f64();
        if learner.objective().total() <= loss {
            return Ok((seconds, epoch));
        }
    }
    Err("the peer's loss was not reached in 100 epochs".into())
}

fn least_seconds(mut work: impl FnMut()) -> f64 {
    let times = (0..REPEATS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// What the package took, and the loss it reached.
struct Peer {
    fit: f64,
    recommend: f64,
    loss: f64,
}

fn implicit(train: &Csr) -> Fallible<Peer> {
    let dir = tempfile::tempdir()?;
    let rows = dir.path().join("train.csv");
    let mut text = String::from("user,item,value\n");
    for user in 0..train.n_rows() {
        let (items, values) = train.row(user);
        items.iter().zip(values).for_each(|(item, value)| text.push_str(&format!("{user},{item},{value}\n")));
    }
    std::fs::write(&rows, text)?;
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/implicit_als.py");
    let output = Command::new(&python)
        .arg(&script)
        .arg("--train")
        .arg(&rows)
        .args(["--dim", "64", "--epochs", "15", "--threads", "2", "--recommend-k", "10"])
        .args(["--repeats", &REPEATS.to_string()])
        .output()
        .map_err(|error| format!("cannot run {python}: {error}; PYTHON names the interpreter to take"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", script.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |value: &serde_json::Value| value.as_f64().ok_or("the peer's record lacks a figure");
    let fits = json["fit_seconds_all"].as_array().ok_or("the peer's record lacks its fits")?;
    let fit = fits.iter().filter_map(|fit| fit.as_f64()).fold(f64::INFINITY, f64::min);
    Ok(Peer { fit, recommend: number(&json["recommend_seconds"])?, loss: number(&json["loss"]["total"])? })
}

/// What a rating costs at 20 M rows against 1 M, and the memory beside the factors.
fn scale(config: &AlsConfig) -> Fallible<bool> {
    let small = cost(config, "ml-1m")?;
    let large = cost(config, "ml-20m")?;
    let mut held = ratio("ns a rating and epoch, 20 M rows against 1 M", large.0, small.0, 3.0);
    held &= ratio("peak memory at 20 M rows beside the factors, bytes a row", large.1, 1.0, 60.0);
    Ok(held)
}

/// Nanoseconds for each rating in one epoch, and peak bytes a row beside the factors.
fn cost(config: &AlsConfig, like: &str) -> Fallible<(f64, f64)> {
    let dataset = synth(&SynthConfig::like(like)?)?;
    let rows: Interactions = dataset.interactions;
    let (n_users, n_items, n) = (dataset.users.len(), dataset.items.len(), rows.len() as f64);
    let train = rows.to_csr(n_users, n_items);
    drop(rows);
    let mut learner = AlsLearner::new(&train, config.clone(), 42)?;
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        learner.epoch(&Silent)?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    let factors = 4.0 * ((n_users + n_items) * config.dim) as f64;
    Ok((1e9 * least / n, (peak_memory_bytes() as f64 - factors) / n))
}
