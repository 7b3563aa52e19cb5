//! Neural models at the same task, here and in PyTorch.

use std::fmt;
use std::io;
use std::path::PathBuf;

use burnrec_data::{Csr, Interactions};
use burnrec_models::device::OpenDevice;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::NeumfConfig;
use burnrec_models::{DeviceChoice, ModelConfig, Shape};
use burnrec_train::burn::BurnLearner;
use burnrec_train::{BurnConfig, Learner, Result, Silent};
use serde_json::Value;

use burnrec_bench::peers;

use crate::seconds;

/// A model, and the samples of a step: positives and negatives.
#[derive(Clone, Debug)]
pub struct Task {
    /// The model; the settings beside `dim` are its defaults.
    pub model: ModelConfig,
    /// Vectors' length.
    pub dim: usize,
    /// Samples of a step.
    pub batch_size: usize,
}

impl Task {
    /// NeuMF with the tower that follows from `dim`.
    pub fn neumf(dim: usize, batch_size: usize) -> Self {
        Self { model: ModelConfig::Neumf(NeumfConfig { dim, ..NeumfConfig::default() }), dim, batch_size }
    }

    /// Matrix factorisation.
    pub fn mf(dim: usize, batch_size: usize) -> Self {
        Self { model: ModelConfig::Mf(MfConfig { dim, ..MfConfig::default() }), dim, batch_size }
    }

    /// Ours, before its first epoch.
    ///
    /// # Errors
    /// When there is nothing to learn from.
    pub fn learner(&self, train: &Csr, device: &OpenDevice) -> Result<BurnLearner> {
        let burn = BurnConfig { batch_size: self.batch_size, ..BurnConfig::default() };
        BurnLearner::new(train, &self.model, &burn, 42, device)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, dim {}, batch {}", self.model.name(), self.dim, self.batch_size)
    }
}

/// What an epoch took, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Positives and negatives for each second.
    pub samples_per_second: f64,
    /// All of it.
    pub seconds: f64,
    /// The mean over its samples.
    pub loss: f64,
}

/// One epoch, from the drawing of its order to the reading of its last loss.
///
/// # Errors
/// When training fails.
pub fn epoch(learner: &mut BurnLearner) -> Result<Pace> {
    let mut outcome = Ok(Default::default());
    let seconds = seconds(|| outcome = learner.epoch(&Silent));
    let loss = outcome?;
    let samples_per_second = loss.samples as f64 / seconds;
    Ok(Pace { samples_per_second, seconds, loss: loss.total.unwrap_or(f64::NAN) })
}

/// At most `n` of the rows, from first to last at even distances, in tables of the same size: what a step costs depends
/// on the batch and the tables, so that an epoch need not be long.
pub fn thin(rows: &Interactions, n: usize, shape: Shape) -> Csr {
    let n = n.min(rows.len());
    let kept: Vec<u32> = (0..n as u64).map(|k| (k * rows.len() as u64 / n as u64) as u32).collect();
    rows.select(&kept).to_csr(shape.n_users, shape.n_items)
}

/// PyTorch, on rows written by [`peers::write_rows`].
pub struct Torch {
    /// The file.
    pub rows: PathBuf,
    /// What the tables have to hold.
    pub shape: Shape,
    /// Whether it computes on a CUDA device.
    pub cuda: bool,
}

/// An optimiser of PyTorch's, and where its negatives are drawn.
pub type Way = [&'static str; 2];

impl Torch {
    /// PyTorch on the device that stands for ours.
    pub fn new(rows: PathBuf, train: &Csr, ours: DeviceChoice) -> Self {
        let shape = Shape { n_users: train.n_rows(), n_items: train.n_cols() };
        Self { rows, shape, cuda: ours != DeviceChoice::Cpu }
    }

    /// The ways to run it that are worth a trial.
    pub fn ways(&self) -> &'static [Way] {
        match self.cuda {
            true => &[["fused", "device"], ["adam", "device"], ["sparseadam", "device"], ["fused", "worker"]],
            false => &[["adam", "inline"], ["fused", "inline"], ["sparseadam", "inline"]],
        }
    }

    /// The record of a run with more arguments of the script's.
    ///
    /// # Errors
    /// As [`peers::run`].
    pub fn run(&self, task: &Task, [optimizer, sampling]: Way, more: &[&str]) -> io::Result<Value> {
        let [rows, n_users, n_items, dim, batch_size] = [
            self.rows.display().to_string(),
            self.shape.n_users.to_string(),
            self.shape.n_items.to_string(),
            task.dim.to_string(),
            task.batch_size.to_string(),
        ];
        let device = if self.cuda { "cuda" } else { "cpu" };
        let data = ["--train", &rows, "--n-users", &n_users, "--n-items", &n_items, "--device", device];
        let model = ["--model", task.model.name(), "--dim", &dim, "--batch-size", &batch_size];
        let way = ["--optimizer", optimizer, "--sampling", sampling];
        peers::run("torch_ncf.py", &[&data[..], &model, &way, more].concat())
    }

    /// The fastest way, by a short trial of each.
    ///
    /// # Errors
    /// As [`peers::run`].
    pub fn best_way(&self, task: &Task) -> io::Result<Way> {
        let mut best = (0.0, self.ways()[0]);
        for &way in self.ways() {
            let record = self.run(task, way, &["--warmup", "10", "--steps", "40"])?;
            let pace = peers::figure(&record, "/samples_per_second")?;
            if pace > best.0 {
                best = (pace, way);
            }
        }
        Ok(best.1)
    }
}
