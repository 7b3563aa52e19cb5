//! The Gibbs sampler: one epoch is a sweep.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Error as DataError};
use rayon::prelude::*;

use super::over_time::OverTime;
use super::posterior::{Given, RowPosterior};
use super::prior::{Prior, gamma};
use super::source::Source;
use super::{BpmfConfig, BpmfModel, Effects, Implicit, sample};
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::least_squares::{normal, residuals, squared_errors};
use crate::model::{Family, Model};
use crate::progress::Progress;
use crate::settings::NoSettings;
use crate::trainer::Trainable;
use crate::weights::matrix;
use crate::{Error, Result};

impl Trainable for BpmfConfig {
    type Training = NoSettings;

    fn learner<'a>(&self, _: &NoSettings, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        Ok(Box::new(BpmfLearner::new(fit.train, self.clone(), fit.seed)?))
    }
}

/// Draws samples of the posterior given a training matrix. The result does not depend on the number of threads.
pub struct BpmfLearner {
    config: BpmfConfig,
    /// `[n_users, n_items]`: the values less their mean and the items' biases over time.
    train: Csr,
    /// `[n_items, n_users]`: the values less the users' biases over time as well.
    transposed: Csr,
    over_time: Option<OverTime>,
    mean: f32,
    seed: u64,
    users: Side,
    items: Side,
    /// The precision of the values.
    noise: f32,
    sweeps: u32,
    samples: VecDeque<Sample>,
}

/// The state of one side.
struct Side {
    /// The length of a vector with its bias.
    width: usize,
    /// `[rows, width]`
    factors: Vec<f32>,
    /// The effects on the means of its rows.
    effects: Option<Effects>,
    /// What its draws are called.
    purposes: [&'static str; 3],
}

/// A sample that is kept.
struct Sample {
    posterior: Arc<RowPosterior>,
    /// `[n_users, width]`: the users' means.
    users: Arc<Vec<f32>>,
    /// `[n_spans]`: the means of the biases of the users' spans; empty where there are none.
    spans: Arc<Vec<f32>>,
}

/// The standard deviation of the initial factors.
const FIRST_STD: f32 = 0.3;

/// The first precision of the values.
const FIRST_NOISE: f32 = 2.0;

const USERS: [&str; 3] = ["bpmf.users", "bpmf.users.prior", "bpmf.users.effects"];
const ITEMS: [&str; 3] = ["bpmf.items", "bpmf.items.prior", "bpmf.items.effects"];

impl Side {
    fn new(matrix: &Csr, width: usize, effects: bool, purposes: [&'static str; 3], seed: u64) -> Self {
        let mut factors = vec![0.0; matrix.n_rows() * width];
        factors.par_chunks_exact_mut(width).enumerate().for_each(|(row, out)| {
            normal(&mut stream(seed, purposes[0], row as u64), FIRST_STD, out);
        });
        let effects = effects.then(|| Effects::zeros(matrix.n_rows(), matrix.n_cols(), width));
        Self { width, factors, effects, purposes }
    }

    /// Draws the prior, the effects and the rows of `matrix`, given the `other` side and, for the users' rows, the biases over
    /// time. Returns the distribution of the rows, and their means.
    fn draw(
        &mut self,
        [matrix, transposed]: [&Csr; 2],
        other: &[f32],
        over_time: Option<&OverTime>,
        noise: f32,
        at: (u64, u32),
        done: &(dyn Fn(u64) + Sync),
    ) -> (RowPosterior, Vec<f32>) {
        let [rows, prior, effects] = self.purposes.map(|purpose| Source { seed: at.0, purpose, sweep: at.1 });
        let width = self.width;
        let prior = match &mut self.effects {
            None => Prior::draw(&self.factors, (&[], 1.0), width, prior),
            Some(of) => {
                let rest: Vec<f32> = self.factors.iter().zip(&of.shifts).map(|(x, s)| x - s).collect();
                let prior = Prior::draw(&rest, (&of.values, of.strength), width, prior);
                of.draw([matrix, transposed], &self.factors, &prior, effects);
                prior
            }
        };
        let narrow = |values: &[f64]| values.iter().map(|&x| x as f32).collect();
        let posterior = RowPosterior::new(Given {
            fixed: other.to_vec(),
            mean: narrow(&prior.mean),
            precision: narrow(&prior.precision),
            noise,
            effects: self.effects.as_ref().map_or_else(Vec::new, |effects| effects.values.clone()),
            bins: over_time.map_or_else(Vec::new, |over_time| over_time.item_biases().to_vec()),
            span_strength: over_time.and_then(OverTime::span_strength),
        });
        let mut means = vec![0.0; self.factors.len()];
        let spans = over_time.and_then(OverTime::spans);
        posterior.draw((matrix, spans), rows, &mut means, &mut self.factors, done);
        (posterior, means)
    }

    fn is_finite(&self) -> bool {
        self.factors.iter().all(|x| x.is_finite())
    }
}

impl BpmfLearner {
    /// Starts from factors drawn with `seed`.
    ///
    /// # Errors
    /// When a setting is out of its range, a value of `train`, `[n_users, n_items]`, is not finite, or times that a setting
    /// asks for are not known.
    pub fn new(train: &Csr, config: BpmfConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        for user in 0..train.n_rows() {
            let (items, values) = train.row(user);
            if let Some((&item, &found)) = items.iter().zip(values).find(|(_, value)| !value.is_finite()) {
                return Err(Error::Value { user, item, found, expected: "a finite number" });
            }
        }
        let sum: f64 = train.values().iter().map(|&value| f64::from(value)).sum();
        let mean = (sum / train.nnz().max(1) as f64) as f32;
        let train = train.map_values(|_, _, value| value - mean);
        let over_time = OverTime::new(&config, &train)?;
        let (transposed, width) = (train.transpose(), config.width());
        let users = Side::new(&train, width, config.implicit != Implicit::None, USERS, seed);
        let items = Side::new(&transposed, width, config.implicit == Implicit::Both, ITEMS, seed);
        let samples = VecDeque::new();
        Ok(Self {
            config,
            train,
            transposed,
            over_time,
            mean,
            seed,
            users,
            items,
            noise: FIRST_NOISE,
            sweeps: 0,
            samples,
        })
    }

    /// Returns the current draws: users' vectors, `[n_users, width]`, and items', `[n_items, width]`, with the bias last.
    pub fn factors(&self) -> (&[f32], &[f32]) {
        (&self.users.factors, &self.items.factors)
    }

    /// Returns how many spans the users have in all.
    fn n_spans(&self) -> usize {
        self.over_time.as_ref().and_then(OverTime::spans).map_or(0, |spans| spans.starts.nnz())
    }

    /// Keeps a sample of this sweep; before the burn-in is over, in place of the one before.
    fn keep(&mut self, sample: Sample) {
        if self.sweeps as usize <= self.config.burn_in + 1 {
            self.samples.clear();
        } else if self.samples.len() == self.config.samples {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

impl Learner for BpmfLearner {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let entries = self.train.nnz() as u64;
        self.sweeps += 1;
        progress.begin(&format!("entries of sweep {} x 2", self.sweeps), 2 * entries);
        let done = |entries| progress.advance(entries);
        let (at, noise) = ((self.seed, self.sweeps), self.noise);
        let matrices = [&self.transposed, &self.train];
        self.items.draw(matrices, &self.users.factors, None, noise, at, &done);
        progress.check()?;
        let (matrices, over_time) = ([&self.train, &self.transposed], self.over_time.as_ref());
        let (posterior, means) = self.users.draw(matrices, &self.items.factors, over_time, noise, at, &done);
        progress.check()?;
        let spans = over_time.and_then(OverTime::spans);
        let spans = spans.map(|spans| posterior.span_means((&self.train, spans), &means)).unwrap_or_default();
        let (users, items, width) = (&self.users.factors, &self.items.factors, self.config.width());
        let squared = match &mut self.over_time {
            None => squared_errors(&self.train, users, items, width),
            Some(over_time) => {
                over_time.draw(residuals(&self.train, users, items, width), noise, at);
                let [train, rest] = over_time.left(&self.train);
                (self.train, self.transposed) = (train, rest.transpose());
                squared_errors(&rest, users, items, width)
            }
        };
        let rng = &mut Source { seed: self.seed, purpose: "bpmf.noise", sweep: self.sweeps }.rng(0);
        self.noise = (gamma(1.0 + entries as f64 / 2.0, rng) / (1.0 + squared / 2.0)) as f32;
        progress.end();
        if !(self.users.is_finite() && self.items.is_finite() && self.noise.is_finite()) {
            return Err(Error::Diverged { epoch: self.sweeps, loss: squared });
        }
        self.keep(Sample { posterior: Arc::new(posterior), users: Arc::new(means), spans: Arc::new(spans) });
        Ok(EpochLoss { samples: entries, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        let mut samples: Vec<Arc<RowPosterior>> =
            self.samples.iter().map(|sample| Arc::clone(&sample.posterior)).collect();
        let mut users: Vec<&[f32]> = self.samples.iter().map(|sample| &sample.users[..]).collect();
        let mut of_spans: Vec<&[f32]> = self.samples.iter().map(|sample| &sample.spans[..]).collect();
        let over_time = self.over_time.as_ref();
        let spans = over_time.and_then(OverTime::spans);
        let none = vec![0.0; self.n_spans()];
        if samples.is_empty() {
            // Before the first sweep: the initial factors.
            let width = self.config.width();
            let mut precision = vec![0.0; width * width];
            (0..width).for_each(|k| precision[k * width + k] = FIRST_STD.powi(-2));
            let effects = self.users.effects.as_ref().map_or_else(Vec::new, |effects| effects.values.clone());
            let (fixed, mean) = (self.items.factors.clone(), vec![0.0; width]);
            samples.push(Arc::new(RowPosterior::new(Given {
                fixed,
                mean,
                precision,
                noise: self.noise,
                effects,
                bins: over_time.map_or_else(Vec::new, |over_time| over_time.item_biases().to_vec()),
                span_strength: over_time.and_then(OverTime::span_strength),
            })));
            users.push(&self.users.factors);
            of_spans.push(&none);
        }
        let (bins, spans) = (over_time.and_then(OverTime::bins), spans.map(|spans| (spans, &of_spans[..])));
        Box::new(BpmfModel::new(self.config.clone(), self.mean, bins, samples, (&users[..], spans)))
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        let width = self.config.width();
        let rows = |values: &[f32]| Tensor::new(&[values.len() / width, width], values.iter().copied());
        let mut state = vec![
            ("state_users".to_owned(), rows(&self.users.factors)),
            ("state_items".to_owned(), rows(&self.items.factors)),
            ("state_noise".to_owned(), Tensor::new(&[1], [self.noise])),
            ("state_sweeps".to_owned(), Tensor::new(&[1], [self.sweeps])),
        ];
        for (name, side) in [("users", &self.users), ("items", &self.items)] {
            if let Some(effects) = &side.effects {
                state.push((format!("effects_on_{name}"), rows(&effects.values)));
                state.push((format!("strength_on_{name}"), Tensor::new(&[1], [effects.strength])));
            }
        }
        let kept: Vec<f32> = self.samples.iter().flat_map(|sample| sample.users.iter().copied()).collect();
        let shape = [self.samples.len(), self.train.n_rows(), width];
        state.push(("users".to_owned(), Tensor::new(&shape, kept)));
        if let Some(over_time) = &self.over_time {
            state.extend(over_time.tensors());
            let kept: Vec<f32> =
                self.samples.iter().flat_map(|sample| sample.spans.iter().copied()).collect();
            let shape = [self.samples.len(), self.n_spans()];
            state.push(("spans".to_owned(), Tensor::new(&shape, kept)));
        }
        let samples: Vec<_> = self.samples.iter().map(|sample| Arc::clone(&sample.posterior)).collect();
        state.extend(sample::tensors(&samples));
        Ok(tensors::write(&dir.join(STATE), &state)?)
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        let file = TensorFile::open(&dir.join(STATE))?;
        let (n_users, n_items, width) = (self.train.n_rows(), self.train.n_cols(), self.config.width());
        self.users.factors = matrix(&file, "state_users", &[n_users, width])?;
        self.items.factors = matrix(&file, "state_items", &[n_items, width])?;
        self.noise = matrix(&file, "state_noise", &[1])?[0];
        let sweeps = file.column::<u32>("state_sweeps")?;
        let [sweeps] = sweeps[..] else {
            let found = format!("\"state_sweeps\" of {} numbers", sweeps.len());
            return Err(DataError::malformed(file.path(), found, "one number").into());
        };
        self.sweeps = sweeps;
        let sides = [("users", &mut self.users, &self.train), ("items", &mut self.items, &self.transposed)];
        for (name, side, rows) in sides {
            if side.effects.is_some() {
                let values = matrix(&file, &format!("effects_on_{name}"), &[rows.n_cols(), width])?;
                let strength = matrix(&file, &format!("strength_on_{name}"), &[1])?[0];
                side.effects = Some(Effects::of(values, strength, rows, width));
            }
        }
        let posteriors = sample::load(&file, &self.config, n_items)?;
        let users = matrix(&file, "users", &[posteriors.len(), n_users, width])?;
        let users = users.chunks_exact((n_users * width).max(1)).map(|users| Arc::new(users.to_vec()));
        let n_spans = self.n_spans();
        let mut spans = Vec::new();
        if let Some(over_time) = &mut self.over_time {
            over_time.load(&file)?;
            let [train, rest] = over_time.left(&self.train);
            (self.train, self.transposed) = (train, rest.transpose());
            spans = matrix(&file, "spans", &[posteriors.len(), n_spans])?;
        }
        let of_sample =
            |at: usize| Arc::new(spans.chunks_exact(n_spans.max(1)).nth(at).unwrap_or_default().to_vec());
        let sample = |(at, (posterior, users))| Sample { posterior, users, spans: of_sample(at) };
        self.samples = posteriors.into_iter().zip(users).enumerate().map(sample).collect();
        Ok(())
    }
}

/// The file of a checkpoint that holds all that the next sweeps depend on.
const STATE: &str = "bpmf.safetensors";
