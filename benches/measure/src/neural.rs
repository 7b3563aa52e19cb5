//! Neural models trained on the same rows by burnrec and by PyTorch, and the pace of both.

use std::fmt;
use std::io;
use std::path::PathBuf;

use burnrec_bench::peers;
use burnrec_data::{Csr, Interactions};
use burnrec_models::device::OpenDevice;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{NcfSpec, NeumfConfig};
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{NnLearner, NnTraining};
use burnrec_models::{DeviceChoice, Learner, Result, Shape, Silent};
use serde_json::Value;

use crate::seconds;

/// A network to train, and the number of samples of a step, positives and negatives together.
pub struct NeuralTask {
    /// The network; the settings beside `dim` are its defaults.
    pub model: Box<dyn Architecture>,
    /// The length of the vectors.
    pub dim: usize,
    /// The number of samples of a step.
    pub batch_size: usize,
}

impl NeuralTask {
    /// Returns NeuMF with the tower that follows from `dim`.
    pub fn neumf(dim: usize, batch_size: usize) -> Self {
        let model = NcfSpec::from(&NeumfConfig { dim, ..NeumfConfig::default() });
        Self { model: Box::new(model), dim, batch_size }
    }

    /// Returns matrix factorisation.
    pub fn mf(dim: usize, batch_size: usize) -> Self {
        Self { model: Box::new(MfConfig { dim, ..MfConfig::default() }), dim, batch_size }
    }

    /// Returns burnrec's learner before its first epoch.
    ///
    /// # Errors
    /// When there is nothing to learn from.
    pub fn learner(&self, train: &Csr, device: &OpenDevice) -> Result<NnLearner> {
        let training = NnTraining { batch_size: self.batch_size, ..NnTraining::default() };
        NnLearner::new(train, &*self.model, &training, 42, device)
    }

    /// Returns the kind of model: `mf` or `neumf`.
    pub fn kind(&self) -> &'static str {
        self.model.config().kind()
    }
}

impl fmt::Display for NeuralTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, dim {}, batch {}", self.kind(), self.dim, self.batch_size)
    }
}

/// The pace of an epoch, and its loss.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Positives and negatives a second.
    pub samples_per_second: f64,
    /// The seconds of the whole epoch.
    pub seconds: f64,
    /// The mean loss over its samples.
    pub loss: f64,
}

/// Trains one epoch, and times it from the drawing of its order to the reading of its last loss.
///
/// # Errors
/// When training fails.
pub fn epoch(learner: &mut NnLearner) -> Result<Pace> {
    let mut outcome = Ok(Default::default());
    let seconds = seconds(|| outcome = learner.epoch(&Silent));
    let loss = outcome?;
    let samples_per_second = loss.samples as f64 / seconds;
    Ok(Pace { samples_per_second, seconds, loss: loss.total.unwrap_or(f64::NAN) })
}

/// Returns a matrix with at most `n` of the rows, taken at even distances, and with all users and items. The cost of a
/// step depends on the batch and on the size of the embedding tables, and not on the number of rows.
pub fn thin(rows: &Interactions, n: usize, shape: Shape) -> Csr {
    let n = n.min(rows.len());
    let kept: Vec<u32> = (0..n as u64).map(|k| (k * rows.len() as u64 / n as u64) as u32).collect();
    rows.select(&kept).to_csr(shape.n_users, shape.n_items)
}

/// PyTorch's side of a comparison: the rows written by [`peers::write_rows`], and its device.
pub struct Torch {
    /// The file of rows.
    pub rows: PathBuf,
    /// The numbers of users and items.
    pub shape: Shape,
    /// Whether it computes on a CUDA device.
    pub cuda: bool,
}

/// An optimiser of PyTorch, and where its negatives are drawn.
pub type TorchSetup = [&'static str; 2];

impl Torch {
    /// Makes PyTorch's side on CUDA where burnrec computes on a GPU, else on the CPU.
    pub fn new(rows: PathBuf, train: &Csr, ours: DeviceChoice) -> Self {
        let shape = Shape { n_users: train.n_rows(), n_items: train.n_cols() };
        Self { rows, shape, cuda: ours != DeviceChoice::Cpu }
    }

    /// Returns the setups that are worth a trial.
    pub fn setups(&self) -> &'static [TorchSetup] {
        match self.cuda {
            true => &[["fused", "device"], ["adam", "device"], ["sparseadam", "device"], ["fused", "worker"]],
            false => &[["adam", "inline"], ["fused", "inline"], ["sparseadam", "inline"]],
        }
    }

    /// Runs `torch_ncf.py` on a task in a setup, with `more` arguments, and returns its record.
    ///
    /// # Errors
    /// As [`peers::run`].
    pub fn run(
        &self,
        task: &NeuralTask,
        [optimizer, sampling]: TorchSetup,
        more: &[&str],
    ) -> io::Result<Value> {
        let [rows, n_users, n_items, dim, batch_size] = [
            self.rows.display().to_string(),
            self.shape.n_users.to_string(),
            self.shape.n_items.to_string(),
            task.dim.to_string(),
            task.batch_size.to_string(),
        ];
        let device = if self.cuda { "cuda" } else { "cpu" };
        let data = ["--train", &rows, "--n-users", &n_users, "--n-items", &n_items, "--device", device];
        let model = ["--model", task.kind(), "--dim", &dim, "--batch-size", &batch_size];
        let setup = ["--optimizer", optimizer, "--sampling", sampling];
        peers::run("torch_ncf.py", &[&data[..], &model, &setup, more].concat())
    }

    /// Finds the fastest setup by a short trial of each.
    ///
    /// # Errors
    /// As [`peers::run`].
    pub fn fastest_setup(&self, task: &NeuralTask) -> io::Result<TorchSetup> {
        let mut best = (0.0, self.setups()[0]);
        for &setup in self.setups() {
            let record = self.run(task, setup, &["--warmup", "10", "--steps", "40"])?;
            let pace = peers::figure(&record, "/samples_per_second")?;
            if pace > best.0 {
                best = (pace, setup);
            }
        }
        Ok(best.1)
    }
}
