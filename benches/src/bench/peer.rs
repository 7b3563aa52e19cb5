//! Runs a peer's program on the same split: the peer trains and writes scores, which are judged as burnrec's are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use burnrec_data::tensors::TensorFile;
use burnrec_data::write::write_file;
use burnrec_data::{Csr, Error as DataError, Holdout, ItemIx, Prepared, UserIx};
use burnrec_models::Scorer;
use burnrec_models::trained::{Answering, TrainedRows};
use burnrec_models::{Phase, Progress};
use burnrec_train::Result;
use burnrec_train::evaluate::{EvaluateOptions, Scores, evaluate};
use burnrec_train::machine::Machine;
use serde_json::Value;

pub use super::arguments::{stands, with};
use super::outcome::CaseOutcome;
use super::seen;
use crate::peers;
use crate::record::{EpochPoint, Inference};

/// The most bytes of scores that a peer may be asked for.
const MOST: u64 = 4 << 30;

/// Runs a script on the rows of train and valid together, and judges the scores that it writes on test. The files that go in
/// and come out are kept in `dir`.
///
/// # Errors
/// As [`judge`].
pub fn run(
    data: &Prepared,
    rating: bool,
    dir: &Path,
    script: &str,
    args: &[String],
    progress: &dyn Progress,
) -> Result<CaseOutcome> {
    let (said, test) = judge(data, &seen(data), &data.split.test, rating, dir, script, args, progress)?;
    Ok(outcome(&said, test))
}

/// Runs a script on the rows of `train`, `[n_users, n_items]`, and judges the scores that it writes on `holdout`. Returns the
/// script's own record too. The files that go in and come out are kept in `dir`.
///
/// # Errors
/// When there would be too many scores, the script fails or writes anything but scores, or judging fails.
#[expect(clippy::too_many_arguments, reason = "what a script is run on and how")]
pub fn judge(
    data: &Prepared,
    train: &Csr,
    holdout: &Holdout,
    rating: bool,
    dir: &Path,
    script: &str,
    args: &[String],
    progress: &dyn Progress,
) -> Result<(Value, Scores)> {
    let (n_users, n_items) = (train.n_rows(), train.n_cols());
    let bytes = holdout.len() as u64 * n_items as u64 * 4;
    if holdout.fold_in || bytes > MOST {
        let found = format!("{} users to score {n_items} items for", holdout.len());
        let expected = format!("users with rows in training, and at most {MOST} bytes of scores");
        return Err(DataError::setting("peer", found, expected).into());
    }
    fs::create_dir_all(dir).map_err(DataError::io("make", dir))?;
    let path = |name: &str| dir.join(name);
    let (rows, users, scores) = (path("train.csv"), path("users.txt"), path("scores.safetensors"));
    peers::write_rows(&rows, train).map_err(DataError::io("write", &rows))?;
    let list: String = holdout.users.iter().map(|user| format!("{}\n", user.0)).collect();
    write_file(&users, list.as_bytes())?;

    let [n_users, n_items_text] = [n_users, n_items].map(|n| n.to_string());
    let seed = data.manifest.seed.to_string();
    let [rows, users, out] = [&rows, &users, &scores].map(|path| path.display().to_string());
    let mut words = vec!["--train", &rows, "--n-users", &n_users, "--n-items", &n_items_text];
    words.extend(["--score-users", &users, "--scores", &out, "--seed", &seed]);
    words.extend(args.iter().map(String::as_str));
    let said = peers::run(script, &words).map_err(DataError::io("run", script))?;

    let file = TensorFile::open(&scores)?;
    let (shape, values) = file.get::<f32>("scores")?;
    if shape != [holdout.len(), n_items] {
        let expected = format!("[{}, {n_items}]", holdout.len());
        return Err(DataError::malformed(&scores, format!("scores of shape {shape:?}"), expected).into());
    }
    let scorer = Written {
        rows: holdout.users.iter().enumerate().map(|(row, user)| (*user, row)).collect(),
        n_items,
        values,
    };
    let options = EvaluateOptions { rating, ..EvaluateOptions::default() };
    let trained = Arc::new(TrainedRows::of(train));
    let scores = evaluate(&Answering::new(&scorer, &trained), holdout, train, &options, progress)?;
    Ok((said, scores))
}

/// Makes the result of a case from a script's record. A figure that the record lacks is 0 or absent.
fn outcome(said: &Value, test: Scores) -> CaseOutcome {
    let figure = |pointer: &str| said.pointer(pointer).and_then(Value::as_f64);
    let number = |key: &str| figure(&format!("/{key}"));
    let numbers = |key: &str| -> Vec<f64> {
        said.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let fit_seconds = number("fit_seconds").unwrap_or_default();
    let seconds = numbers("epoch_seconds");
    let losses = numbers("losses");
    let n_epochs = number("epochs").unwrap_or(seconds.len() as f64) as u32;
    let samples_per_second = number("samples_per_second").unwrap_or_default();
    let point = |(at, &seconds): (usize, &f64)| EpochPoint {
        phase: Phase::Refit,
        epoch: at as u32 + 1,
        loss: losses.get(at).copied(),
        valid: None,
        seconds,
        samples_per_second,
    };
    let versions = said.get("versions").and_then(Value::as_object).into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    CaseOutcome {
        config: said.get("config").cloned().unwrap_or_default(),
        order_aware: false,
        tuned: None,
        epochs: seconds.iter().enumerate().map(point).collect(),
        chosen_epochs: n_epochs,
        fit_seconds,
        total_seconds: number("total_seconds").unwrap_or(fit_seconds),
        peak_memory_bytes: number("peak_memory_bytes").unwrap_or_default() as u64,
        parameters: number("parameters").unwrap_or_default() as u64,
        device: said.get("device").map_or_else(|| "cpu".to_owned(), text),
        threads: number("threads").map_or_else(rayon::current_num_threads, |n| n as usize),
        machine: Machine::read(),
        versions: versions.map(|(name, version)| (name.clone(), text(version))).collect(),
        inference: Inference {
            pairs_per_second: figure("/inference/pairs_per_second"),
            top10_users_per_second: figure("/inference/recommend_users_per_second"),
            service_requests_per_second: None,
        },
        valid: Scores { protocol: test.protocol.clone(), ..Scores::default() },
        test,
    }
}

/// The scores that a peer wrote, as a scorer: `[users, n_items]`.
struct Written {
    rows: BTreeMap<UserIx, usize>,
    n_items: usize,
    values: Vec<f32>,
}

impl Written {
    /// Returns a user's scores; none where the peer wrote none for the user.
    fn of(&self, user: UserIx) -> Option<&[f32]> {
        let row = *self.rows.get(&user)?;
        self.values.get(row * self.n_items..(row + 1) * self.n_items)
    }
}

impl Scorer for Written {
    fn n_users(&self) -> usize {
        self.rows.keys().next_back().map_or(0, |user| user.at() + 1)
    }

    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((user, item), out) in users.iter().zip(items).zip(out) {
            *out = self.of(*user).map_or(f32::NAN, |scores| scores[item.at()]);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        for (user, out) in users.iter().zip(out.chunks_exact_mut(self.n_items)) {
            match self.of(*user) {
                Some(scores) => out.copy_from_slice(scores),
                None => out.fill(f32::NAN),
            }
        }
    }
}
