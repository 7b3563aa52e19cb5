//! The Gibbs sampler: one epoch is a sweep.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Error as DataError};
use rayon::prelude::*;

use super::posterior::{Given, RowPosterior, Source};
use super::prior::{Prior, gamma};
use super::{BpmfConfig, BpmfModel, Effects, Implicit, sample};
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::least_squares::{normal, squared_errors};
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
    /// `[n_users, n_items]`: the values less their mean.
    train: Csr,
    /// `[n_items, n_users]`
    transposed: Csr,
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

    /// Draws the prior, the effects and the rows of `matrix`, given the `other` side. Returns the distribution of the rows,
    /// and their means.
    fn draw(
        &mut self,
        [matrix, transposed]: [&Csr; 2],
        other: &[f32],
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
        });
        let mut means = vec![0.0; self.factors.len()];
        posterior.draw(matrix, rows, &mut means, &mut self.factors, done);
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
    /// When a setting is out of its range, or a value of `train`, `[n_users, n_items]`, is not finite.
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
        let (transposed, width) = (train.transpose(), config.width());
        let users = Side::new(&train, width, config.implicit != Implicit::None, USERS, seed);
        let items = Side::new(&transposed, width, config.implicit == Implicit::Both, ITEMS, seed);
        let samples = VecDeque::new();
        Ok(Self {
            config,
            train,
            transposed,
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
        self.items.draw(matrices, &self.users.factors, noise, at, &done);
        progress.check()?;
        let matrices = [&self.train, &self.transposed];
        let (posterior, means) = self.users.draw(matrices, &self.items.factors, noise, at, &done);
        progress.check()?;
        let squared =
            squared_errors(&self.train, &self.users.factors, &self.items.factors, self.config.width());
        let rng = &mut Source { seed: self.seed, purpose: "bpmf.noise", sweep: self.sweeps }.rng(0);
        self.noise = (gamma(1.0 + entries as f64 / 2.0, rng) / (1.0 + squared / 2.0)) as f32;
        progress.end();
        if !(self.users.is_finite() && self.items.is_finite() && self.noise.is_finite()) {
            return Err(Error::Diverged { epoch: self.sweeps, loss: squared });
        }
        self.keep(Sample { posterior: Arc::new(posterior), users: Arc::new(means) });
        Ok(EpochLoss { samples: entries, ..EpochLoss::default() })
    }

    fn model(&self) -> Box<dyn Model> {
        let mut samples: Vec<Arc<RowPosterior>> =
            self.samples.iter().map(|sample| Arc::clone(&sample.posterior)).collect();
        let mut users: Vec<&[f32]> = self.samples.iter().map(|sample| &sample.users[..]).collect();
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
            })));
            users.push(&self.users.factors);
        }
        Box::new(BpmfModel::new(self.config.clone(), self.mean, samples, &users))
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
        let sample = |(posterior, users)| Sample { posterior, users };
        self.samples = posteriors.into_iter().zip(users).map(sample).collect();
        Ok(())
    }
}

/// The file of a checkpoint that holds all that the next sweeps depend on.
const STATE: &str = "bpmf.safetensors";
