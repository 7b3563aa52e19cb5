//! The files of a search: its settings, and a line for each finished trial, so that a stopped search can go on.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use burnrec_data::Error as DataError;
use burnrec_data::write::write_file;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Trial;
use crate::Result;

/// The file with all that the trials depend on; written first.
const SEARCH: &str = "search.json";
/// The file of the best settings in the directory of a search; written last.
pub const BEST: &str = "best.toml";
/// The file with one JSON object per line for each finished trial.
const TRIALS: &str = "trials.jsonl";

/// A finished trial, as a line of `trials.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Counted from 1.
    pub number: usize,
    /// The values of the searched settings.
    pub settings: Value,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: TrialOutcome,
    /// The best value on valid so far after each evaluation; empty with cross-validation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<f64>,
    /// Whether it was stopped before its last epoch because others were better by then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopped: bool,
    /// Seconds of all its fits and evaluations.
    pub seconds: f64,
}

/// Returns whether a field is left out of what is written.
pub fn is_false(value: &bool) -> bool {
    !value
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TrialOutcome {
    /// It was judged.
    Scored {
        /// The metric on valid at the best epoch; the mean over folds where there are any.
        value: f64,
        /// The best epoch; the mean over folds, rounded, where there are any.
        epoch: u32,
        /// The score of each fold; empty without cross-validation.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        folds: Vec<FoldScore>,
    },
    /// It could not be trained or judged.
    Failed {
        /// Why not.
        failed: String,
    },
}

/// The best epoch on one holdout.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldScore {
    /// The metric on the holdout.
    pub value: f64,
    /// Counted from 1.
    pub epoch: u32,
}

impl TrialRecord {
    /// Returns the value of the metric, if the trial was judged.
    pub fn value(&self) -> Option<f64> {
        match self.outcome {
            TrialOutcome::Scored { value, .. } => Some(value),
            TrialOutcome::Failed { .. } => None,
        }
    }
}

/// The open file of trials.
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the directory of a search described by `search`, and gives the trials finished there, in the order of
    /// their lines. A last line that was not written to its end is cut off. With `replace` all that a search left is
    /// removed first.
    ///
    /// # Errors
    /// When the directory holds another search or something else, a line does not belong to one of `trials`, or the
    /// system refuses.
    pub fn open(
        dir: &Path,
        search: &Value,
        trials: &[Trial],
        replace: bool,
    ) -> Result<(Self, Vec<TrialRecord>)> {
        let (about, path) = (dir.join(SEARCH), dir.join(TRIALS));
        if replace && about.exists() {
            // The settings are removed last: without them, files that are left would not be recognised as those of a
            // search.
            for path in [&dir.join(BEST), &path, &about].into_iter().filter(|path| path.exists()) {
                fs::remove_file(path).map_err(DataError::io("remove", path))?;
            }
        }
        if about.exists() {
            same_search(&about, search)?;
        } else {
            if let Some(name) = ["manifest.json", TRIALS].into_iter().find(|name| dir.join(name).exists()) {
                let found = format!("{name}, but no {SEARCH}");
                return Err(DataError::malformed(dir, found, "a new directory, or one of a search").into());
            }
            let text = serde_json::to_vec_pretty(search).expect("a JSON value has only string keys");
            write_file(&about, &text)?;
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&path).map_err(DataError::io("write", &path))?;
        let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(DataError::io("write", &path))?;
        let mut done: Vec<TrialRecord> = Vec::new();
        for (line, text) in (1..).zip(text[..whole].lines()) {
            let bad = |found: String, expected: &str| {
                let (path, expected) = (path.clone(), expected.to_owned());
                DataError::Malformed { path, line: Some(line), found, expected }
            };
            let record: TrialRecord =
                serde_json::from_str(text).map_err(|error| bad(error.to_string(), "a finished trial"))?;
            if done.iter().any(|earlier| earlier.number == record.number) {
                return Err(bad(format!("trial {} again", record.number), "each trial once").into());
            }
            // Skips trials with higher numbers, which an earlier command asked for.
            if let Some(trial) = record.number.checked_sub(1).and_then(|place| trials.get(place)) {
                let expected = as_read(&settings(trial));
                if record.settings != expected {
                    let found = format!("trial {} with {}", record.number, record.settings);
                    return Err(bad(found, &format!("{expected}, as its number has")).into());
                }
                done.push(record);
            }
        }
        Ok((Self { path, file }, done))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, record: &TrialRecord) -> Result<()> {
        let mut line = serde_json::to_string(record).expect("a record has only string keys");
        line.push('\n');
        Ok(self.file.write_all(line.as_bytes()).map_err(DataError::io("write", &self.path))?)
    }
}

/// Returns a trial's values of the searched settings, as JSON.
pub fn settings(trial: &Trial) -> Value {
    serde_json::to_value(&trial.settings).expect("settings are plain values")
}

/// Refuses the directory of another search, naming the first difference. The version of the program may differ.
fn same_search(about: &Path, expected: &Value) -> Result<()> {
    let text = fs::read(about).map_err(DataError::io("read", about))?;
    let found: Value = serde_json::from_slice(&text)
        .map_err(|error| DataError::malformed(about, error.to_string(), "the settings of a search"))?;
    match difference("", &found, &as_read(expected)) {
        None => Ok(()),
        Some((key, found, expected)) => {
            let found = format!("a search with {key} = {found}");
            let expected = format!("{expected}; another --out directory, or --force to start anew");
            Err(DataError::malformed(about, found, expected).into())
        }
    }
}

/// Returns the path of the first key at which two values differ, and both values there.
fn difference(key: &str, found: &Value, expected: &Value) -> Option<(String, String, String)> {
    if let (Value::Object(ours), Value::Object(theirs)) = (found, expected) {
        return theirs.keys().chain(ours.keys()).find_map(|name| {
            let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let of = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            difference(&path, &of(ours), &of(theirs))
        });
    }
    let told = |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    (found != expected && key != VERSION).then(|| (key.to_owned(), told(found), told(expected)))
}

/// The key of the program's version among the settings.
pub const VERSION: &str = "burnrec";

/// Returns a value as it comes back from a file, where the last digit of a number may differ.
fn as_read(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).expect("what was written is JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let one = json!({"burnrec": "1", "config": {"dim": 1, "reg": 0.1}, "data": {"hash": "a"}});
        let told = |other: Value| difference("", &one, &other).map(|(key, ..)| key);
        assert_eq!(told(one.clone()), None);
        let with = |path: &str, value: Value| {
            let mut other = one.clone();
            *other.pointer_mut(path).expect("a place") = value;
            other
        };
        assert_eq!(told(with("/burnrec", json!("2"))), None);
        assert_eq!(told(with("/config/reg", json!(0.2))).as_deref(), Some("config.reg"));
        assert_eq!(told(with("/data", json!({}))).as_deref(), Some("data.hash"));
        assert_eq!(
            told(with("/config", json!({"dim": 1, "reg": 0.1, "nu": 1}))).as_deref(),
            Some("config.nu")
        );
    }

    #[test]
    fn a_line_is_flat_and_comes_back() {
        let scored = TrialOutcome::Scored { value: 0.25, epoch: 3, folds: Vec::new() };
        let record = TrialRecord {
            number: 2,
            settings: json!({"dim": 8}),
            outcome: scored,
            curve: Vec::new(),
            stopped: false,
            seconds: 0.5,
        };
        let line = serde_json::to_string(&record).expect("JSON");
        assert_eq!(line, r#"{"number":2,"settings":{"dim":8},"value":0.25,"epoch":3,"seconds":0.5}"#);
        assert_eq!(serde_json::from_str::<TrialRecord>(&line).expect("a record"), record);
        let stopped = TrialRecord { curve: vec![0.125, 0.25], stopped: true, ..record.clone() };
        let line = serde_json::to_string(&stopped).expect("JSON");
        assert_eq!(serde_json::from_str::<TrialRecord>(&line).expect("a record"), stopped);
        let failed = TrialRecord { outcome: TrialOutcome::Failed { failed: "diverged".into() }, ..record };
        let line = serde_json::to_string(&failed).expect("JSON");
        assert_eq!(serde_json::from_str::<TrialRecord>(&line).expect("a record"), failed);
    }
}
