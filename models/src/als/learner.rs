//! Training ALS: one epoch solves all items, then all users.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Error as DataError};
use serde::{Deserialize, Serialize};

use super::warm_start::{self, FirstFactors};
use super::{AlsConfig, AlsModel, Objective, RowSolver, Weights, first_factors};
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::model::Model;
use crate::progress::Progress;
use crate::scorer::Shape;
use crate::trainer::Trainable;
use crate::weights::matrix;
use crate::{Error, Result};

/// The settings of ALS that only training reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlsTraining {
    /// Whether each epoch computes its loss and the parts of it, which takes about a tenth of the epoch's time.
    pub track_loss: bool,
    /// The directory of an earlier run of ALS whose factors to start from.
    pub warm_start: Option<PathBuf>,
}

impl Trainable for AlsConfig {
    type Training = AlsTraining;

    fn starts_from_runs(training: &AlsTraining) -> Option<&'static str> {
        training.warm_start.is_some().then_some("warm_start")
    }

    fn learner<'a>(&self, training: &AlsTraining, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        let mut learner = match &training.warm_start {
            None => AlsLearner::new(fit.train, self.clone(), fit.seed)?,
            Some(dir) => {
                let FirstFactors { users, items } = warm_start::read(dir, fit.data, self, fit.seed)?;
                AlsLearner::with_factors(fit.train, self.clone(), users, items)?
            }
        };
        learner.track_loss(training.track_loss);
        Ok(Box::new(learner))
    }
}

/// Learns factors of users and items from a training matrix.
///
/// Items are solved first, so that after each epoch the users' factors are the solution for the current factors of the
/// items. The result does not depend on the number of threads.
pub struct AlsLearner<'a> {
    config: AlsConfig,
    /// The weighted training matrix, `[n_users, n_items]`.
    train: Cow<'a, Csr>,
    /// `[n_items, n_users]`
    transposed: Csr,
    weights: Weights,
    /// `[n_users, dim]`; shared with the models that [`Learner::model`] has returned, and copied by the next epoch
    /// while one of them is alive.
    users: Arc<Vec<f32>>,
    /// `[n_items, dim]`
    items: Arc<Vec<f32>>,
    epochs: u32,
    track_loss: bool,
}

impl<'a> AlsLearner<'a> {
    /// Starts from factors drawn with `seed`.
    ///
    /// # Errors
    /// When a setting or a value of `train`, `[n_users, n_items]`, makes no sense.
    pub fn new(train: &'a Csr, config: AlsConfig, seed: u64) -> Result<Self> {
        let (users, items) = Self::first(train, &config, seed)?;
        Self::with_factors(train, config, users, items)
    }

    /// Starts from factors drawn with `seed`, and takes over the matrix instead of borrowing it.
    ///
    /// # Errors
    /// As [`AlsLearner::new`].
    pub fn owning(train: Csr, config: AlsConfig, seed: u64) -> Result<Self> {
        let (users, items) = Self::first(&train, &config, seed)?;
        let weights = Weights::new(config.weighting, &train);
        let weighed = match weights.apply(&train)? {
            Cow::Owned(weighed) => Some(weighed),
            Cow::Borrowed(_) => None,
        };
        Ok(Self::start(Cow::Owned(weighed.unwrap_or(train)), config, weights, users, items))
    }

    /// Draws the first factors.
    fn first(train: &Csr, config: &AlsConfig, seed: u64) -> Result<(Vec<f32>, Vec<f32>)> {
        config.validate()?;
        // The items' factors may start at 0: the first epoch solves them before anything reads them.
        let mut users = first_factors(seed, train.n_rows(), config.dim, config.init_std);
        if config.nonnegative {
            users.iter_mut().for_each(|x| *x = x.abs());
        }
        Ok((users, vec![0.0; train.n_cols() * config.dim]))
    }

    /// Starts from given factors `[n_users, dim]` and `[n_items, dim]`, such as an earlier run's. The items' factors
    /// matter only to solvers that improve the current row, because items are solved first.
    ///
    /// # Errors
    /// As [`AlsLearner::new`], and when the factors do not fit the matrix and `dim`.
    pub fn with_factors(train: &'a Csr, config: AlsConfig, users: Vec<f32>, items: Vec<f32>) -> Result<Self> {
        config.validate()?;
        for (side, factors, rows) in [("users", &users, train.n_rows()), ("items", &items, train.n_cols())] {
            let expected = rows * config.dim;
            if factors.len() != expected || factors.iter().any(|x| !x.is_finite()) {
                let found = format!("{} values", factors.len());
                let expected = format!("{expected} finite ones, {} for each of {rows} {side}", config.dim);
                return Err(DataError::setting(format!("first factors of {side}"), found, expected).into());
            }
        }
        let weights = Weights::new(config.weighting, train);
        Ok(Self::start(weights.apply(train)?, config, weights, users, items))
    }

    fn start(
        train: Cow<'a, Csr>,
        config: AlsConfig,
        weights: Weights,
        users: Vec<f32>,
        items: Vec<f32>,
    ) -> Self {
        let transposed = train.transpose();
        let (users, items) = (Arc::new(users), Arc::new(items));
        Self { config, train, transposed, weights, users, items, epochs: 0, track_loss: false }
    }

    /// Sets whether each epoch computes its loss, which takes about a tenth of the epoch's time.
    pub fn track_loss(&mut self, track_loss: bool) {
        self.track_loss = track_loss;
    }

    /// Returns the objective of the current factors.
    pub fn objective(&self) -> Objective {
        Objective::new(&self.config, &self.train, &self.users, &self.items)
    }

    /// Returns the current factors: users', `[n_users, dim]`, and items', `[n_items, dim]`.
    pub fn factors(&self) -> (&[f32], &[f32]) {
        (&self.users, &self.items)
    }

    fn shape(&self) -> Shape {
        Shape { n_users: self.train.n_rows(), n_items: self.train.n_cols() }
    }
}

impl Learner for AlsLearner<'_> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let entries = self.train.nnz() as u64;
        progress.begin(&format!("entries of epoch {} x 2", self.epochs + 1), 2 * entries);
        let done = |entries| progress.advance(entries);
        let solver = RowSolver::new(&self.config, &self.users);
        solver.solve_all(&self.users, &self.transposed, Arc::make_mut(&mut self.items).as_mut_slice(), &done);
        progress.check()?;
        let solver = RowSolver::new(&self.config, &self.items);
        solver.solve_all(&self.items, &self.train, Arc::make_mut(&mut self.users).as_mut_slice(), &done);
        progress.check()?;
        progress.end();
        self.epochs += 1;

        let mut loss = EpochLoss { samples: entries, ..EpochLoss::default() };
        if self.track_loss {
            let objective = self.objective();
            loss.total = Some(objective.total());
            loss.parts = [
                ("observed", objective.observed),
                ("unobserved", objective.unobserved),
                ("regulariser", objective.regulariser),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        }
        let finite = self.users.iter().chain(self.items.iter()).all(|x| x.is_finite());
        if !finite || loss.total.is_some_and(|loss| !loss.is_finite()) {
            return Err(Error::Diverged { epoch: self.epochs, loss: loss.total.unwrap_or(f64::NAN) });
        }
        Ok(loss)
    }

    fn model(&self) -> Box<dyn Model> {
        let (users, items) = (Arc::clone(&self.users), Arc::clone(&self.items));
        Box::new(AlsModel::new(self.config.clone(), users, items, self.weights.clone()))
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        let side = |factors: &[f32]| {
            Tensor::new(&[factors.len() / self.config.dim, self.config.dim], factors.iter().copied())
        };
        let epochs = Tensor::new(&[1], [self.epochs]);
        let state = [("users", side(&self.users)), ("items", side(&self.items)), ("epochs", epochs)];
        Ok(tensors::write(&dir.join(STATE), &state)?)
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        let file = TensorFile::open(&dir.join(STATE))?;
        let (shape, dim) = (self.shape(), self.config.dim);
        let users = matrix(&file, "users", &[shape.n_users, dim])?;
        let items = matrix(&file, "items", &[shape.n_items, dim])?;
        let epochs = file.column::<u32>("epochs")?;
        let [epochs] = epochs[..] else {
            let found = format!("\"epochs\" of {} numbers", epochs.len());
            return Err(DataError::malformed(file.path(), found, "one number").into());
        };
        (self.users, self.items, self.epochs) = (Arc::new(users), Arc::new(items), epochs);
        Ok(())
    }
}

/// The file of a checkpoint that holds all that the next epochs depend on.
const STATE: &str = "als.safetensors";
