//! The records of a bench, from which alone its report is made: one file for each split and one for each case, complete
//! before the next case begins.
//!
//! Records hold figures and no ratings. A user is identified by the position among the judged users, an item by its id.

mod task;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burnrec_data::Error as DataError;
use burnrec_data::write::{list_dir, write_file};
use burnrec_models::DataFacts;
use burnrec_models::Phase;
use burnrec_train::evaluate::Scores;
use burnrec_train::machine::Machine;
use burnrec_train::metrics::Metric;
use burnrec_train::record::EpochRecord;
use burnrec_train::tune::{Budget, TrialRecord};
use burnrec_train::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Table;

pub use task::Task;

/// The format of the files that this version writes; files of another format are refused.
pub const FORMAT: u32 = 1;

/// One split of the data, which all cases of its task and seed share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The task.
    pub task: Task,
    /// The seed of every draw of the split.
    pub seed: u64,
    /// The name and the hash of the data.
    pub data: DataFacts,
    /// Users, items and rows of the data after filters.
    pub counts: SplitCounts,
    /// How it was split, as in the config.
    pub split: serde_json::Value,
    /// What a user's relevant items are ranked against, in words: `full ranking`, `99 drawn candidates`.
    pub protocol: String,
    /// `[judged users]`: training rows of each user, ascending by user index.
    pub user_activity: Vec<u32>,
    /// `[items]`: the id of each item.
    pub item_ids: Vec<String>,
    /// `[items]`: training rows of each item.
    pub item_popularity: Vec<u32>,
    /// `[items]`: for how many judged users the item is relevant.
    pub item_relevant: Vec<u32>,
}

/// The size of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitCounts {
    /// Users.
    pub users: u64,
    /// Items.
    pub items: u64,
    /// Rows of train.
    pub train: u64,
    /// Rows of valid.
    pub valid: u64,
    /// Rows of test.
    pub test: u64,
}

/// One model, trained and judged on one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The task.
    pub task: Task,
    /// The name of the case, unique in its task: `als`, `neumf-pretrained`.
    pub case: String,
    /// The name in reports: `ALS`, `NeuMF, pretrained`.
    pub label: String,
    /// The peer that trained it: `implicit`, `Spark`, `PyTorch`; none where burnrec did.
    pub peer: Option<String>,
    /// Whether the model reads the order of a user's rows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub order_aware: bool,
    /// The seed of the split and of the training.
    pub seed: u64,
    /// The hash of the split.
    pub data_hash: String,
    /// Every setting, defaults included.
    pub config: serde_json::Value,
    /// How settings were searched on valid of the split; none where they were taken as they stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Tuned>,
    /// The metric that is shown first and tested; it was fixed before anything was trained.
    pub metric: Metric,
    /// The epochs, those of the final fit too.
    pub epochs: Vec<EpochPoint>,
    /// The number of epochs chosen on valid.
    pub chosen_epochs: u32,
    /// Seconds of the final fit alone, without any evaluation.
    pub fit_seconds: f64,
    /// Seconds of all fits and evaluations together.
    pub total_seconds: f64,
    /// The most memory that the process held while it trained, in bytes.
    pub peak_memory_bytes: u64,
    /// The number of weights.
    pub parameters: u64,
    /// The device that it was trained on.
    pub device: String,
    /// The number of CPU threads.
    pub threads: usize,
    /// The machine that it was trained on.
    pub machine: Machine,
    /// Versions by name: `burnrec`, `burn`, or the peer's.
    pub versions: BTreeMap<String, String>,
    /// How fast it answers.
    pub inference: Inference,
    /// The chosen epoch's scores on valid.
    pub valid: Scores,
    /// The final model's scores on test.
    pub test: Scores,
    /// `[judged users]` for each metric that is tested: the user's value, in the order of
    /// [`SplitRecord::user_activity`].
    pub per_user: BTreeMap<Metric, Vec<f32>>,
    /// `[judged users]`: each user's sum of squared errors, sum of absolute errors, and number of pairs; empty where
    /// ratings were not judged.
    pub per_user_errors: Vec<[f64; 3]>,
    /// The length of the lists that `item_shown` and `item_hits` count.
    pub k: usize,
    /// `[items]`: in how many judged users' top `k` the item was.
    pub item_shown: Vec<u32>,
    /// `[items]`: in how many of these lists it was relevant for the user.
    pub item_hits: Vec<u32>,
}

/// How the settings of a case were searched on valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// What the search was allowed; the same for all cases of a bench.
    pub budget: Budget,
    /// For each searched setting its values or its range.
    pub space: serde_json::Value,
    /// The values of the searched settings with which the case was trained.
    pub chosen: serde_json::Value,
    /// The metric on valid with the settings as they stood in the config; none where they could not be trained.
    pub stood: Option<f64>,
    /// The metric on valid with the chosen settings.
    pub best: f64,
    /// How many settings were tried.
    pub trials: usize,
    /// How many of them were stopped early, as others were better by then.
    pub stopped: usize,
    /// How many of them could not be trained.
    pub failed: usize,
    /// Seconds of all of them together.
    pub seconds: f64,
}

impl Tuned {
    /// Takes the figures of a search. Trial 1 is of the settings as they stood, and the first of the list is the best.
    ///
    /// # Errors
    /// When no trial could be trained.
    pub fn of(budget: Budget, space: &Table, trials: &[TrialRecord]) -> Result<Self> {
        let none = || {
            let found = format!("{} settings of which none could be trained and judged", trials.len());
            Error::Evaluate { found, expected: "at least one".into() }
        };
        let first = trials.first().ok_or_else(none)?;
        let count = |holds: fn(&TrialRecord) -> bool| trials.iter().filter(|trial| holds(trial)).count();
        Ok(Self {
            budget,
            space: serde_json::to_value(space).expect("settings are plain values"),
            chosen: first.settings.clone(),
            stood: trials.iter().find(|trial| trial.number == 1).and_then(TrialRecord::value),
            best: first.value().ok_or_else(none)?,
            trials: trials.len(),
            stopped: count(|trial| trial.stopped),
            failed: count(|trial| trial.value().is_none()),
            seconds: trials.iter().map(|trial| trial.seconds).sum(),
        })
    }
}

/// One epoch of a learning curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochPoint {
    /// Which fit it belongs to.
    pub phase: Phase,
    /// The number of the epoch, from 1.
    pub epoch: u32,
    /// The training loss, where the epoch computed it.
    pub loss: Option<f64>,
    /// The value on valid of the metric that chooses the epoch, where the epoch was evaluated.
    pub valid: Option<f64>,
    /// Training time of the epoch alone.
    pub seconds: f64,
    /// The samples of the epoch divided by its seconds.
    pub samples_per_second: f64,
}

impl EpochPoint {
    /// Takes an epoch of a run; `metric` is the one that chose among the epochs.
    pub fn of(epoch: &EpochRecord, metric: Metric) -> Self {
        Self {
            phase: epoch.phase,
            epoch: epoch.epoch,
            loss: epoch.loss,
            valid: epoch.valid.as_ref().and_then(|scores| scores.value(metric)),
            seconds: epoch.seconds,
            samples_per_second: epoch.samples_per_second,
        }
    }
}

/// How fast a model answers, each figure the best of several rounds; none where it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inference {
    /// Scores of drawn pairs of user and item.
    pub pairs_per_second: Option<f64>,
    /// Users given their ten best items, without what they have seen.
    pub top10_users_per_second: Option<f64>,
    /// Requests through the service's engine in memory, from JSON bytes to JSON bytes.
    pub service_requests_per_second: Option<f64>,
}

impl SplitRecord {
    /// Returns the path of a split's record in a bench's folder.
    pub fn path(dir: &Path, task: Task, seed: u64) -> PathBuf {
        dir.join("records").join(format!("{task}-seed{seed}.split.json"))
    }
}

impl CaseRecord {
    /// Returns the path of a case's record in a bench's folder.
    pub fn path(dir: &Path, task: Task, case: &str, seed: u64) -> PathBuf {
        dir.join("records").join(format!("{task}-seed{seed}-{case}.case.json"))
    }
}

/// The plan of a bench, as `bench.json` holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The command that made it.
    pub command: String,
    /// The resolved config, defaults included.
    pub config: serde_json::Value,
    /// The cases in the order of the config.
    pub cases: Vec<CaseName>,
    /// The case of each task that the others are tested against.
    pub against: BTreeMap<Task, String>,
    /// What the config has and the data cannot be asked, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// A case of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseName {
    /// The task.
    pub task: Task,
    /// The name.
    pub case: String,
}

impl BenchRecord {
    /// Returns the path of `bench.json` in a bench's folder.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("bench.json")
    }
}

/// All records of a bench.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// The plan of the bench.
    pub bench: BenchRecord,
    /// The splits, ascending by task and seed.
    pub splits: Vec<SplitRecord>,
    /// The cases that are finished, ascending by task, then in the order of the config, then by seed.
    pub cases: Vec<CaseRecord>,
}

impl Records {
    /// Reads all records in a bench's folder.
    ///
    /// # Errors
    /// When the folder has no bench, or one of its files is not a record.
    pub fn read(dir: &Path) -> Result<Self> {
        let bench: BenchRecord = read(&BenchRecord::path(dir))?;
        let (mut splits, mut cases) = (Vec::<SplitRecord>::new(), Vec::<CaseRecord>::new());
        let folder = dir.join("records");
        for path in list_dir(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".split.json") {
                splits.push(read(&path)?);
            } else if name.ends_with(".case.json") {
                cases.push(read(&path)?);
            }
        }
        splits.sort_by_key(|split| (split.task, split.seed));
        let place =
            |task, case: &str| bench.cases.iter().position(|name| name.task == task && name.case == case);
        cases.sort_by_key(|case| (case.task, place(case.task, &case.case), case.case.clone(), case.seed));
        Ok(Self { bench, splits, cases })
    }
}

/// Reads a record.
///
/// # Errors
/// When there is no record, or it is of another format.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let text = fs::read(path).map_err(DataError::io("read", path))?;
    let malformed =
        |error: serde_json::Error| DataError::malformed(path, error.to_string(), "a record of a bench");
    let Format { format } = serde_json::from_slice(&text).map_err(malformed)?;
    if format != FORMAT {
        return Err(DataError::malformed(path, format!("format {format}"), format!("format {FORMAT}")).into());
    }
    Ok(serde_json::from_slice(&text).map_err(malformed)?)
}

/// Writes a record atomically: the file is complete or not there.
///
/// # Errors
/// When it cannot be written.
pub fn save(record: &impl Serialize, path: &Path) -> Result<()> {
    let mut text = serde_json::to_vec(record).expect("a record has only string keys");
    text.push(b'\n');
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(DataError::io("make", folder))?;
    }
    Ok(write_file(path, &text)?)
}
