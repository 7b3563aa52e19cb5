//! What a run leaves behind: one line per epoch, and one record of the whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use burnrec_data::Error as DataError;
use burnrec_models::settings::{Settings, cut};
use burnrec_models::{DataFacts, Phase, Recommender};
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::device::AutoDevice;
use crate::evaluate::Scores;
use crate::machine::Machine;
use crate::{Error, Result};

/// One epoch, as a line of `record.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Which fit it belongs to.
    pub phase: Phase,
    /// Counted from 1.
    pub epoch: u32,
    /// The loss, where the epoch computed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The parts of the loss by name, where the learner splits it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loss_parts: BTreeMap<String, f64>,
    /// Scores on valid after the epoch, where it was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<Scores>,
    /// Training time of the epoch alone.
    pub seconds: f64,
    /// Samples of the epoch divided by its seconds.
    pub samples_per_second: f64,
}

/// `record.jsonl`: a line for each epoch, in their order.
pub struct EpochLog {
    path: PathBuf,
    file: File,
}

/// The fields that say which epoch a line is of.
#[derive(Deserialize)]
struct LineKey {
    phase: Phase,
    epoch: u32,
}

impl EpochLog {
    /// Creates an empty log at `path`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(DataError::io("write", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Opens the log at `path` and drops the lines after that of this epoch.
    ///
    /// # Errors
    /// When the file cannot be read or written, or the epoch has no line in it.
    pub fn up_to(path: &Path, phase: Phase, epoch: u32) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(DataError::io("read", path))?;
        let (mut end, mut last) = (0, None);
        for line in text.split_inclusive('\n') {
            // A line that a crash cut short is dropped. If it should have been that of `epoch`, the check below fails.
            let Ok(key) = serde_json::from_str::<LineKey>(line) else { break };
            if (key.phase, key.epoch) > (phase, epoch) {
                break;
            }
            end += line.len();
            last = Some((key.phase, key.epoch));
        }
        if last != Some((phase, epoch)) {
            let found = match last {
                Some((phase, epoch)) => format!("lines up to {phase} epoch {epoch}"),
                None => "no line of an epoch".to_owned(),
            };
            let expected = format!("lines up to {phase} epoch {epoch}, where the checkpoint is");
            return Err(DataError::malformed(path, found, expected).into());
        }
        let file = OpenOptions::new().append(true).open(path).map_err(DataError::io("write", path))?;
        file.set_len(end as u64).map_err(DataError::io("write", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Adds the line of an epoch, on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, epoch: &EpochRecord) -> Result<()> {
        let line = serde_json::to_string(epoch).expect("a record has only string keys");
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.sync_data());
        Ok(written.map_err(DataError::io("write", &self.path))?)
    }
}

/// The record of a finished run: all that its results depend on, and the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The value of the `model` key.
    pub model: String,
    /// Every setting, defaults included.
    pub config: toml::Table,
    /// What the model was trained on.
    pub data: DataFacts,
    /// Its scores on valid and on test.
    pub metrics: Metrics,
    /// Seconds of the final fit alone, without any evaluation.
    pub fit_seconds: f64,
    /// Seconds of all fits and evaluations together.
    pub total_seconds: f64,
    /// The number of epochs of the final fit: the one chosen on valid.
    pub epochs: u32,
    /// The most memory that the process held so far, in bytes.
    pub peak_memory_bytes: u64,
    /// The number of weights.
    pub parameters: u64,
    /// The device that the model was trained on; `cpu` for models that are trained on the host.
    pub device: String,
    /// Why `auto` took the device; missing where it was asked for by name, and for models that are trained on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_device: Option<AutoDevice>,
    /// Threads of the host.
    pub threads: usize,
    /// The machine.
    pub machine: Machine,
    /// The version of the program.
    pub version: String,
    /// The version of Burn.
    pub burn: String,
}

impl RunRecord {
    /// Reads the record of a saved run.
    ///
    /// # Errors
    /// When the run was saved by something else than a training run, and has none.
    pub fn of(run: &Recommender) -> Result<Self> {
        serde_json::from_value(run.record.clone()).map_err(|error| Error::Record {
            found: error.to_string(),
            expected: "the record of a training run, in manifest.json",
        })
    }

    /// Returns the settings of the run that do not depend on the model.
    ///
    /// # Errors
    /// When they are none that this version knows.
    pub fn run_config(&self) -> Result<RunConfig> {
        Ok(RunConfig::from_table(cut(&mut self.config.clone(), &RunConfig::keys()))?)
    }
}

/// The scores of a run on both holdouts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The scores on valid of the chosen epoch, before the refit.
    pub valid: Scores,
    /// The scores on test of the final model; test is judged only once.
    pub test: Scores,
}
