//! What a bench leaves behind, and all that its report is made of: one record for each split and one for each case, a file each, written
//! whole before the next begins.
//!
//! Records hold figures, not rows: a user is its place among the judged ones, an item its id.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use burnrec_data::Error as DataError;
use burnrec_data::write::write_file;
use burnrec_models::DataFacts;
use burnrec_models::Phase;
use burnrec_train::Result;
use burnrec_train::evaluate::Scores;
use burnrec_train::machine::Machine;
use burnrec_train::metrics::Metric;
use burnrec_train::record::EpochRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The number of the format of the files; another one is refused.
pub const FORMAT: u32 = 1;

/// What is asked of the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Which items a user takes.
    Ranking,
    /// Which ratings a user gives.
    Rating,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ranking => "ranking",
            Self::Rating => "rating",
        })
    }
}

/// One split of the data, which all cases of its task and seed share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// What is asked.
    pub task: Task,
    /// What the split was drawn from.
    pub seed: u64,
    /// Its name and hash.
    pub data: DataFacts,
    /// Users, items and rows of the data after filters.
    pub counts: SplitCounts,
    /// How it was split, as in the config.
    pub split: serde_json::Value,
    /// What a user's relevant items are ranked against, in words: `full ranking`, `99 drawn candidates`.
    pub protocol: String,
    /// `[judged users]`: rows of each in training, ascending by user row.
    pub user_activity: Vec<u32>,
    /// `[items]`: ids.
    pub item_ids: Vec<String>,
    /// `[items]`: rows in training.
    pub item_popularity: Vec<u32>,
    /// `[items]`: how many judged users have it as relevant.
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
    /// Rows to learn from.
    pub train: u64,
    /// Rows to choose by.
    pub valid: u64,
    /// Rows to be judged on, once.
    pub test: u64,
}

/// One model, trained and judged on one split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// What is asked.
    pub task: Task,
    /// The name of the case, unique in its task: `als`, `neumf-pretrained`.
    pub case: String,
    /// How people call it: `ALS`, `NeuMF, pretrained`.
    pub label: String,
    /// Whose program trained it: none of ours, or the peer: `implicit`, `Spark`, `PyTorch`.
    pub peer: Option<String>,
    /// The seed of the split and of the training.
    pub seed: u64,
    /// The hash of the split.
    pub data_hash: String,
    /// Every setting, defaults included.
    pub config: serde_json::Value,
    /// The metric that was decided to be shown first, before anything was trained.
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
    /// Where it computed.
    pub device: String,
    /// Threads of the host.
    pub threads: usize,
    /// The machine.
    pub machine: Machine,
    /// Versions by name: `burnrec`, `burn`, or the peer's.
    pub versions: BTreeMap<String, String>,
    /// How fast it answers.
    pub inference: Inference,
    /// The chosen epoch's scores on valid.
    pub valid: Scores,
    /// The final model's scores on test.
    pub test: Scores,
    /// `[judged users]` for each metric that is tested: the user's value, in the order of [`SplitRecord::user_activity`].
    pub per_user: BTreeMap<Metric, Vec<f32>>,
    /// `[judged users]`: sum of squared errors, sum of absolute errors, and pairs of each user; empty where ratings were not judged.
    pub per_user_errors: Vec<[f64; 3]>,
    /// The cut of the two below.
    pub k: usize,
    /// `[items]`: in how many judged users' first `k` the item stood.
    pub item_shown: Vec<u32>,
    /// `[items]`: in how many of these it was relevant.
    pub item_hits: Vec<u32>,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochPoint {
    /// Which fit it belongs to.
    pub phase: Phase,
    /// Counted from 1.
    pub epoch: u32,
    /// What was minimised, where the epoch computed it.
    pub loss: Option<f64>,
    /// The value on valid of the metric that chooses, where it was judged.
    pub valid: Option<f64>,
    /// Training time of the epoch alone.
    pub seconds: f64,
    /// Samples of the epoch by its seconds.
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
    /// Where it lies in a bench's folder.
    pub fn path(dir: &Path, task: Task, seed: u64) -> PathBuf {
        dir.join("records").join(format!("{task}-seed{seed}.split.json"))
    }
}

impl CaseRecord {
    /// Where it lies in a bench's folder.
    pub fn path(dir: &Path, task: Task, case: &str, seed: u64) -> PathBuf {
        dir.join("records").join(format!("{task}-seed{seed}-{case}.case.json"))
    }
}

/// What a bench set out to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The command that made it.
    pub command: String,
    /// The whole config, defaults included.
    pub config: serde_json::Value,
    /// The cases in the order of the config.
    pub cases: Vec<CaseName>,
    /// The case of each task that the others are tested against.
    pub against: BTreeMap<Task, String>,
}

/// A case of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseName {
    /// What is asked.
    pub task: Task,
    /// The name.
    pub case: String,
}

impl BenchRecord {
    /// Where it lies in a bench's folder.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("bench.json")
    }
}

/// All records of a bench.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    /// What it set out to do.
    pub bench: BenchRecord,
    /// The splits, ascending by task and seed.
    pub splits: Vec<SplitRecord>,
    /// The cases that are finished, ascending by task, then in the order of the config, then by seed.
    pub cases: Vec<CaseRecord>,
}

impl Records {
    /// All records in a bench's folder.
    ///
    /// # Errors
    /// When it is none, or a file in it is no record.
    pub fn read(dir: &Path) -> Result<Self> {
        let bench: BenchRecord = read(&BenchRecord::path(dir))?;
        let (mut splits, mut cases) = (Vec::<SplitRecord>::new(), Vec::<CaseRecord>::new());
        let folder = dir.join("records");
        for entry in fs::read_dir(&folder).map_err(DataError::io("read", &folder))? {
            let path = entry.map_err(DataError::io("read", &folder))?.path();
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
/// When there is none, or it is of another format.
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

/// Writes a record; it is there as a whole or not at all.
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
