//! Neural models trained on the same rows by burnrec and by PyTorch, and the pace of both.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use burnrec_bench::peers;
use burnrec_data::Csr;
use burnrec_data::rng::stream;
use burnrec_models::device::OpenDevice;
use burnrec_models::mf::MfConfig;
use burnrec_models::ncf::{NcfSpec, NeumfConfig};
use burnrec_models::nn::network::Architecture;
use burnrec_models::nn::{NnLearner, NnTraining};
use burnrec_models::{DeviceChoice, Learner, Progress, Result, Shape};
use rand::RngExt;
use serde_json::Value;

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
        Self::neumf_of(dim, &[], batch_size)
    }

    /// Returns NeuMF with a tower of these widths, from the concatenated embeddings on.
    pub fn neumf_of(dim: usize, layers: &[usize], batch_size: usize) -> Self {
        let model = NcfSpec::from(&NeumfConfig { dim, layers: layers.to_vec(), ..NeumfConfig::default() });
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
    /// The same over the steps alone, without what is done once an epoch: on a graphics card the weights are read back.
    pub samples_per_second_of_steps: f64,
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
    let clock = StepClock::default();
    let start = Instant::now();
    let loss = learner.epoch(&clock)?;
    let seconds = start.elapsed().as_secs_f64();
    let samples = loss.samples as f64;
    Ok(Pace {
        samples_per_second: samples / seconds,
        samples_per_second_of_steps: samples / clock.seconds(),
        seconds,
        loss: loss.total.unwrap_or(f64::NAN),
    })
}

/// Silent progress that remembers when the steps began and when the last of them was reported, which is after its loss
/// was read.
#[derive(Default)]
struct StepClock(Mutex<[Option<Instant>; 2]>);

impl StepClock {
    fn note_time(&self, at: usize) {
        if let Ok(mut times) = self.0.lock() {
            times[at] = Some(Instant::now());
        }
    }

    fn seconds(&self) -> f64 {
        match self.0.lock().as_deref() {
            Ok(&[Some(begun), Some(done)]) => (done - begun).as_secs_f64(),
            _ => f64::NAN,
        }
    }
}

impl Progress for StepClock {
    fn begin(&self, _: &str, _: u64) {
        self.note_time(0);
    }

    fn advance(&self, _: u64) {
        self.note_time(1);
    }

    fn note(&self, _: &str) {}

    fn end(&self) {}
}

/// Returns a matrix with at most `n` of the entries, taken at even distances, and with all users and items. The cost of
/// a step depends on the batch and on the size of the embedding tables, and not on the number of rows.
pub fn thin(train: &Csr, n: usize) -> Csr {
    let (all, n) = (train.nnz(), n.min(train.nnz()));
    let is_kept = |at: &usize| (at + 1) * n / all > at * n / all;
    let mut offsets = vec![0];
    let (mut cols, mut values) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for ends in train.offsets().windows(2) {
        for at in (ends[0]..ends[1]).filter(is_kept) {
            cols.push(train.cols()[at]);
            values.push(train.values()[at]);
        }
        offsets.push(cols.len());
    }
    Csr::new(train.n_cols(), offsets, cols, values)
}

/// Draws a matrix with up to `n` entries, of which few users and few items have most: in less time than
/// [`synth`](burnrec_data::synth) takes, but with nothing to learn from but popularity.
pub fn skewed(shape: Shape, n: usize, seed: u64) -> Csr {
    let Shape { n_users, n_items } = shape;
    // Spreads the popular items over the table; each place is taken once, as long as the prime does not divide it.
    let place = |rank: usize| (rank * 1_000_003 % n_items) as u32;
    let share_up_to = |user: usize| (user as f64 / n_users as f64).sqrt();
    let mut offsets = vec![0];
    let mut cols: Vec<u32> = Vec::with_capacity(n);
    let mut random = stream(seed, "measure.skewed", 0);
    for user in 0..n_users {
        let drawn = (n as f64 * (share_up_to(user + 1) - share_up_to(user))) as usize;
        let drawn = drawn.clamp(1, n_items / 2);
        let mut items: Vec<u32> = (0..drawn)
            .map(|_| {
                let at: f64 = random.random();
                place((at * at * n_items as f64) as usize)
            })
            .collect();
        items.sort_unstable();
        items.dedup();
        cols.extend(items);
        offsets.push(cols.len());
    }
    let values = vec![1.0; cols.len()];
    Csr::new(n_items, offsets, cols, values)
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
