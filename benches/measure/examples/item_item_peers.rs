//! EASE beside numpy, k nearest neighbours beside the `implicit` package and RP3beta beside numpy, in one run: how far the item-item
//! matrices are apart, and what a fit takes. Prints the figures and their ratios, and fails where a bound is missed.
//!
//! ```sh
//! cargo run --release --example item_item_peers -- RATINGS
//! ```
//!
//! `PYTHON` names the interpreter that has `benches/peers/requirements.txt`, else `python3`; the machine should be
//! idle.

use burnrec_bench::peers;
use burnrec_data::Csr;
use burnrec_data::read::{ReadOptions, read};
use burnrec_data::tensors::TensorFile;
use burnrec_measure::{holds, seconds};
use burnrec_models::Silent;
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::{ClosedForm, ItemItemLearner, ItemMatrix};
use burnrec_models::knn::{KnnConfig, Similarity};
use burnrec_models::rp3beta::Rp3betaConfig;
use burnrec_models::{Learner, ModelConfig};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How often ours and theirs are timed; the shortest time counts.
const REPEATS: usize = 5;

fn main() -> Fallible<()> {
    let ratings = std::env::args().nth(1).ok_or("usage: item_item_peers RATINGS")?;
    let dataset = read(ratings.as_ref(), &ReadOptions::default())?.dataset;
    let train = dataset.interactions.to_csr(dataset.users.len(), dataset.items.len());
    println!("{} rows, {} users, {} items", train.nnz(), train.n_rows(), train.n_cols());
    let mut held = compare(&EaseConfig::default(), &train, 1e-4, 1.0)?;
    for similarity in [Similarity::Cosine, Similarity::Tfidf, Similarity::Bm25] {
        held &= compare(&KnnConfig { similarity, ..KnnConfig::default() }, &train, 1e-5, 0.5)?;
    }
    held &= compare(&Rp3betaConfig::default(), &train, 1e-4, 0.5)?;
    if held { Ok(()) } else { Err("a bound is missed".into()) }
}

/// Compares the matrix of a config with the peer's, and the seconds of both fits.
fn compare<F: ClosedForm>(config: &F, train: &Csr, difference: f64, ratio: f64) -> Fallible<bool> {
    let dir = tempfile::tempdir()?;
    let (rows, theirs) = (dir.path().join("train.csv"), dir.path().join("matrix.safetensors"));
    peers::write_rows(&rows, train)?;
    let settings = serde_json::to_string(&ModelConfig::new(config.clone()))?;
    let (n_users, n_items) = (train.n_rows().to_string(), train.n_cols().to_string());
    let (rows, out, repeats) =
        (rows.display().to_string(), theirs.display().to_string(), REPEATS.to_string());
    let args = ["--train", &rows, "--n-users", &n_users, "--n-items", &n_items, "--config", &settings];
    let record = peers::run("item_item.py", &[&args[..], &["--repeats", &repeats, "--out", &out]].concat())?;

    let mut ours = f64::INFINITY;
    for _ in 0..REPEATS {
        let mut fitted = Ok(Default::default());
        let mut learner = ItemItemLearner::new(train, config.clone())?;
        ours = ours.min(seconds(|| fitted = learner.epoch(&Silent)));
        fitted?;
    }
    println!("{settings}, numpy's BLAS {}", record["blas"]);
    let (_, theirs) = TensorFile::open(&theirs)?.get::<f32>("matrix")?;
    let apart = apart(&config.solve(train, &Silent)?, &theirs);
    let mut held = holds("  greatest difference, of the greatest weight", apart, 1.0, difference);
    held &= holds("  seconds of a fit", ours, peers::figure(&record, "/fit_seconds")?, ratio);
    Ok(held)
}

/// Returns the greatest difference of weights from another program's matrix, `[n_items, n_items]`, in parts of its greatest. Of
/// weights equal to the least that a row keeps, either program may keep others: they are compared in order of size alone.
fn apart(matrix: &ItemMatrix, theirs: &[f32]) -> f64 {
    let n_items = matrix.n_items();
    let most = theirs.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let mut apart = 0.0f32;
    let mut row = vec![0.0; n_items];
    for (item, theirs) in theirs.chunks_exact(n_items).enumerate() {
        row.fill(0.0);
        match matrix {
            ItemMatrix::Dense { weights, .. } => {
                row.copy_from_slice(&weights[item * n_items..(item + 1) * n_items]);
            }
            ItemMatrix::Sparse(rows) => {
                let (items, weights) = rows.row(item);
                items.iter().zip(weights).for_each(|(&item, &weight)| row[item as usize] = weight);
            }
        }
        let sparse = matches!(matrix, ItemMatrix::Sparse(_));
        for (ours, theirs) in row.iter().zip(theirs).filter(|(a, b)| !sparse || (**a != 0.0 && **b != 0.0)) {
            apart = apart.max((ours - theirs).abs());
        }
        let mut theirs: Vec<f32> = theirs.to_vec();
        row.sort_by(f32::total_cmp);
        theirs.sort_by(f32::total_cmp);
        let kept = row.iter().filter(|weight| **weight != 0.0).count();
        for (ours, theirs) in row.iter().rev().zip(theirs.iter().rev()).take(kept) {
            apart = apart.max((ours - theirs).abs());
        }
    }
    f64::from(apart / most)
}
