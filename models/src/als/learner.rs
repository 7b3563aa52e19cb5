//! Training ALS: one epoch solves all items, then all users.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Error as DataError};
use serde::{Deserialize, Serialize};

use super::warm_start::{self, FirstFactors};
use super::{AlsConfig, AlsModel, Convention, Feedback, Objective, RowSolver, Weights, initial_factors};
use crate::device::{OpenDevice, is_host};
use crate::learner::{EpochLoss, FitInput, Learner};
use crate::least_squares::Side;
use crate::model::{Compute, Model};
use crate::progress::Progress;
use crate::scorer::Shape;
use crate::trainer::Trainable;
use crate::weights::matrix;
use crate::{Error, Recency, Result};

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

    fn trains_on(&self) -> Compute {
        Compute::HostOrNamed
    }

    fn takes_negative_values(&self) -> bool {
        // Where the convention weighs values, one that is not over 0 has the target 0.
        self.feedback == Feedback::Explicit || self.convention != Convention::Rendle
    }

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
        if !is_host(&fit.device.device) {
            learner.move_to(fit.device)?;
        }
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
    /// The current factors; missing while only the device has them.
    factors: OnceLock<Factors>,
    /// The device that trains, where it is not the host.
    device: Option<Sweeps>,
    epochs: u32,
    track_loss: bool,
}

/// Factors of both sides on the host; shared with the models that [`Learner::model`] has returned, and copied by the next
/// epoch on the host while one of them is alive.
struct Factors {
    /// `[n_users, width]`
    users: Arc<Vec<f32>>,
    /// `[n_items, width]`
    items: Arc<Vec<f32>>,
}

impl Factors {
    fn new(users: Vec<f32>, items: Vec<f32>) -> Self {
        Self { users: Arc::new(users), items: Arc::new(items) }
    }
}

#[cfg(feature = "cube")]
type Sweeps = super::gpu::GpuSweeps;

/// No device trains, because the feature `cube` is off.
#[cfg(not(feature = "cube"))]
type Sweeps = std::convert::Infallible;

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
        let weights = Weights::of(&config, &train);
        let weighed = match weights.apply(&train)? {
            Cow::Owned(weighed) => Some(weighed),
            Cow::Borrowed(_) => None,
        };
        Ok(Self::start(Cow::Owned(weighed.unwrap_or(train)), config, weights, users, items))
    }

    /// Draws the initial factors.
    fn first(train: &Csr, config: &AlsConfig, seed: u64) -> Result<(Vec<f32>, Vec<f32>)> {
        config.validate()?;
        config.recency.check(train)?;
        // The items' factors may start at 0: the first epoch solves them before anything reads them.
        let mut users = initial_factors(seed, train.n_rows(), config.width(), config.init_std);
        if config.biases {
            users.chunks_exact_mut(config.width()).for_each(|row| row[config.dim] = 0.0);
        }
        if config.nonnegative {
            users.iter_mut().for_each(|x| *x = x.abs());
        }
        Ok((users, vec![0.0; train.n_cols() * config.width()]))
    }

    /// Starts from given factors `[n_users, width]` and `[n_items, width]` ([`AlsConfig::width`]; a bias is the last element), such as an earlier run's. The items' factors
    /// matter only to solvers that improve the current row, because items are solved first.
    ///
    /// # Errors
    /// As [`AlsLearner::new`], and when the factors do not fit the matrix and the settings.
    pub fn with_factors(train: &'a Csr, config: AlsConfig, users: Vec<f32>, items: Vec<f32>) -> Result<Self> {
        config.validate()?;
        config.recency.check(train)?;
        for (side, factors, rows) in [("users", &users, train.n_rows()), ("items", &items, train.n_cols())] {
            let expected = rows * config.width();
            if factors.len() != expected || factors.iter().any(|x| !x.is_finite()) {
                let found = format!("{} values", factors.len());
                let expected =
                    format!("{expected} finite ones, {} for each of {rows} {side}", config.width());
                return Err(DataError::setting(format!("initial factors of {side}"), found, expected).into());
            }
        }
        let weights = Weights::of(&config, train);
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
        let factors = OnceLock::from(Factors::new(users, items));
        Self { config, train, transposed, weights, factors, device: None, epochs: 0, track_loss: false }
    }

    /// Trains on a device from now on, with its current factors.
    ///
    /// # Errors
    /// When the device has no kernels, these settings train on the CPU alone, or the data do not fit the device.
    pub fn move_to(&mut self, device: &OpenDevice) -> Result<()> {
        let refused = |why: String| Error::Device { asked: device.name.clone(), why };
        #[cfg(feature = "cube")]
        {
            let (users, items) = self.factors();
            let sweeps = Sweeps::new(device, &self.config, &self.train, &self.transposed, [users, items])
                .map_err(refused)?;
            self.device = Some(sweeps);
            Ok(())
        }
        #[cfg(not(feature = "cube"))]
        Err(refused("als trains on the CPU in this build; use cpu or auto".to_owned()))
    }

    /// Sets whether each epoch computes its loss, which takes about a tenth of the epoch's time.
    pub fn track_loss(&mut self, track_loss: bool) {
        self.track_loss = track_loss;
    }

    /// Returns the objective of the current factors.
    pub fn objective(&self) -> Objective {
        let (users, items) = self.factors();
        Objective::new(&self.config, &self.train, users, items)
    }

    /// Returns the current factors: users', `[n_users, width]`, and items', `[n_items, width]`, with
    /// the bias as the last element where there are biases. After an epoch on a device
    /// they are read from there.
    ///
    /// # Panics
    /// When the device fails.
    pub fn factors(&self) -> (&[f32], &[f32]) {
        let Factors { users, items } = self.on_host();
        (users, items)
    }

    fn on_host(&self) -> &Factors {
        self.factors.get_or_init(|| match &self.device {
            #[cfg(feature = "cube")]
            Some(sweeps) => {
                let [users, items] =
                    sweeps.factors().expect("the device that has just computed them answers");
                Factors::new(users, items)
            }
            _ => unreachable!("the host has the factors that it computes"),
        })
    }

    /// Solves all items, then all users, on the host.
    fn sweep_on_host(&mut self, progress: &dyn Progress) -> Result<()> {
        let done = |entries| progress.advance(entries);
        let Factors { users, items } =
            self.factors.get_mut().expect("the host has the factors that it computes");
        let solver = RowSolver::new(&self.config, users);
        solver.solve_all(users, &self.transposed, Arc::make_mut(items).as_mut_slice(), &done);
        progress.check()?;
        let solver = RowSolver::new(&self.config, items);
        solver.solve_all(items, &self.train, Arc::make_mut(users).as_mut_slice(), &done);
        progress.check()
    }

    /// Does the same on the device, if there is one; returns whether all factors are finite.
    #[cfg(feature = "cube")]
    fn sweep_on_device(&mut self, progress: &dyn Progress) -> Result<Option<bool>> {
        use super::gpu::Solved;
        let Some(sweeps) = &mut self.device else { return Ok(None) };
        for side in [Solved::Items, Solved::Users] {
            progress.check()?;
            if sweeps.solve(side)? {
                continue;
            }
            progress.note("f32 does not hold these factors, so that they are solved on the CPU; a larger reg would help");
            let [mut users, mut items] = sweeps.factors()?;
            match side {
                Solved::Items => RowSolver::new(&self.config, &users).solve_all(
                    &users,
                    &self.transposed,
                    &mut items,
                    &|_| {},
                ),
                Solved::Users => {
                    RowSolver::new(&self.config, &items).solve_all(&items, &self.train, &mut users, &|_| {});
                }
            }
            sweeps.replace([&users, &items]);
        }
        let finite = sweeps.are_finite()?;
        self.factors.take();
        progress.advance(2 * self.train.nnz() as u64);
        progress.check()?;
        Ok(Some(finite))
    }

    #[cfg(not(feature = "cube"))]
    #[expect(clippy::unnecessary_wraps, reason = "it is as with the feature")]
    fn sweep_on_device(&mut self, _: &dyn Progress) -> Result<Option<bool>> {
        Ok(None)
    }

    fn all_finite(&self) -> bool {
        let (users, items) = self.factors();
        users.iter().chain(items).all(|x| x.is_finite())
    }

    fn shape(&self) -> Shape {
        Shape { n_users: self.train.n_rows(), n_items: self.train.n_cols() }
    }
}

impl Learner for AlsLearner<'_> {
    fn epoch(&mut self, progress: &dyn Progress) -> Result<EpochLoss> {
        let entries = self.train.nnz() as u64;
        progress.begin(&format!("entries of epoch {} x 2", self.epochs + 1), 2 * entries);
        let finite = match self.sweep_on_device(progress)? {
            Some(finite) => finite,
            None => {
                self.sweep_on_host(progress)?;
                self.all_finite()
            }
        };
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
        if !finite || loss.total.is_some_and(|loss| !loss.is_finite()) {
            return Err(Error::Diverged { epoch: self.epochs, loss: loss.total.unwrap_or(f64::NAN) });
        }
        Ok(loss)
    }

    fn model(&self) -> Box<dyn Model> {
        let Factors { users, items } = self.on_host();
        let side = |factors: &Arc<Vec<f32>>| match self.config.biases {
            false => Side::from(Arc::clone(factors)),
            true => Side::split(factors, self.config.dim),
        };
        let model = AlsModel::new(self.config.clone(), side(users), side(items), self.weights.clone());
        Box::new(match self.config.recency {
            Recency::None => model,
            _ => model.of_users(&self.train).expect("the rows were checked to have an order"),
        })
    }

    fn save_state(&self, dir: &Path) -> Result<()> {
        let width = self.config.width();
        let side = |factors: &[f32]| Tensor::new(&[factors.len() / width, width], factors.iter().copied());
        let epochs = Tensor::new(&[1], [self.epochs]);
        let (users, items) = self.factors();
        let state = [("users", side(users)), ("items", side(items)), ("epochs", epochs)];
        Ok(tensors::write(&dir.join(STATE), &state)?)
    }

    fn load_state(&mut self, dir: &Path) -> Result<()> {
        let file = TensorFile::open(&dir.join(STATE))?;
        let (shape, width) = (self.shape(), self.config.width());
        let users = matrix(&file, "users", &[shape.n_users, width])?;
        let items = matrix(&file, "items", &[shape.n_items, width])?;
        let epochs = file.column::<u32>("epochs")?;
        let [epochs] = epochs[..] else {
            let found = format!("\"epochs\" of {} numbers", epochs.len());
            return Err(DataError::malformed(file.path(), found, "one number").into());
        };
        #[cfg(feature = "cube")]
        if let Some(sweeps) = &mut self.device {
            sweeps.replace([&users, &items]);
        }
        (self.factors, self.epochs) = (OnceLock::from(Factors::new(users, items)), epochs);
        Ok(())
    }
}

/// The file of a checkpoint that holds all that the next epochs depend on.
const STATE: &str = "als.safetensors";
