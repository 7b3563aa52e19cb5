//! A family of models: what ties settings, saved weights and learner together, and the settings of any family as one
//! type.
//!
//! A family is its settings struct: it implements [`Family`], and [`Trainable`] where it learns. [`ModelConfig`] holds
//! the settings of a model of any family, [`Trainer`] those with what only training reads.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use burnrec_data::tensors::TensorFile;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use crate::device::OpenDevice;
#[cfg(feature = "train")]
use crate::learner::{FitInput, Learner};
use crate::registry;
use crate::scorer::{Model, Shape};
use crate::settings::Settings;
use crate::{DeviceChoice, Result};

/// The settings that, with the weights, make a model: a struct that derives serde's traits.
pub trait Family:
    Serialize + DeserializeOwned + Clone + PartialEq + fmt::Debug + Send + Sync + 'static
{
    /// The value of the `model` key in configs and in saved runs.
    const KIND: &'static str;

    /// Refuses settings that no model can be made of.
    ///
    /// # Errors
    /// When a setting is out of its range; the error names it.
    fn validate(&self) -> Result<()>;

    /// Returns what the model's scores say.
    fn output(&self) -> Output;

    /// Returns where the model scores.
    fn scores_on(&self) -> Compute {
        Compute::Host
    }

    /// Opens the model of these settings and saved weights; one that scores on a device does so on `device`.
    ///
    /// # Errors
    /// When a setting is out of its range, or the weights are not those of a model of these settings and this shape.
    fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>>;
}

/// A family whose models are trained here.
#[cfg(feature = "train")]
pub trait Trainable: Family {
    /// The settings that only training reads, beside those of the run: [`NoSettings`](crate::settings::NoSettings) where
    /// there are none.
    type Training: Settings + Default + Clone + PartialEq + fmt::Debug + Send + Sync + 'static;

    /// Refuses settings of training that make no sense.
    ///
    /// # Errors
    /// When one is out of its range; the error names it.
    fn validate_training(_: &Self::Training) -> Result<()> {
        Ok(())
    }

    /// Returns where the model is trained.
    fn trains_on(&self) -> Compute {
        Compute::Host
    }

    /// Returns whether the saved run keeps the weights that were chosen on valid beside the final ones, because other
    /// models start from them.
    fn keeps_chosen(&self) -> bool {
        false
    }

    /// Returns the key of the setting that names earlier runs to start from, where there are such: they may have seen
    /// what a fold of a cross-validation holds out.
    fn starts_from_runs(_: &Self::Training) -> Option<&'static str> {
        None
    }

    /// Makes the learner of one fit.
    ///
    /// # Errors
    /// When the settings cannot be met by the data or the device.
    fn learner<'a>(&self, training: &Self::Training, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>>;
}

/// Where something is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// By plain code on the CPU, whatever device is asked for.
    Host,
    /// By tensor operations on the device asked for.
    Device,
}

impl Compute {
    /// Opens the device to compute on: the one asked for, or the CPU for what computes on the host; no graphics driver
    /// is then asked.
    ///
    /// # Errors
    /// When the device asked for cannot be had.
    pub fn open(self, choice: DeviceChoice) -> Result<OpenDevice> {
        crate::device::open(if self == Self::Device { choice } else { DeviceChoice::Cpu })
    }
}

/// What a score says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// The logit of the probability that the user takes the item.
    Probability,
    /// The rating the user would give.
    Rating,
    /// Only the order means something.
    Raw,
}

impl Output {
    /// Returns a logit as it means something to a person: the probability, the rating, or the raw value.
    pub fn score(self, logit: f32) -> f32 {
        match self {
            Self::Probability => 1.0 / (1.0 + (-logit).exp()),
            Self::Rating | Self::Raw => logit,
        }
    }

    /// Returns the name of what [`Output::score`] gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probability => "probability",
            Self::Rating => "rating",
            Self::Raw => "score",
        }
    }
}

/// The settings of a model of any family. In files it is the family's keys with `model`, the kind, beside them.
#[derive(Clone)]
pub struct ModelConfig(Arc<dyn AnyFamily>);

impl ModelConfig {
    /// Holds the settings of a family.
    pub fn new<F: Family>(settings: F) -> Self {
        Self(Arc::new(settings))
    }

    /// Returns the value of the `model` key.
    pub fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// Returns the settings if they are of the family `F`.
    pub fn get<F: Family>(&self) -> Option<&F> {
        self.0.as_any().downcast_ref()
    }

    /// Calls [`Family::validate`].
    ///
    /// # Errors
    /// As that.
    pub fn validate(&self) -> Result<()> {
        self.0.validate()
    }

    /// Returns what the model's scores say.
    pub fn output(&self) -> Output {
        self.0.output()
    }

    /// Returns where the model scores.
    pub fn scores_on(&self) -> Compute {
        self.0.scores_on()
    }

    /// Calls [`Family::load`].
    ///
    /// # Errors
    /// As that.
    pub fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>> {
        self.0.load(weights, shape, device)
    }

    /// Returns all settings as a flat table, defaults and `model` included.
    pub fn to_table(&self) -> Table {
        let mut table = self.0.to_table();
        table.insert("model".to_owned(), Value::String(self.kind().to_owned()));
        table
    }
}

impl<F: Family> From<F> for ModelConfig {
    fn from(settings: F) -> Self {
        Self::new(settings)
    }
}

impl PartialEq for ModelConfig {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_equal(&*other.0)
    }
}

impl fmt::Debug for ModelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_table().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = serde_json::Map::deserialize(deserializer)?;
        let kind = settings.remove("model").ok_or_else(|| D::Error::missing_field("model"))?;
        let name =
            kind.as_str().ok_or_else(|| D::Error::custom(format!("model: found {kind}, expected a name")))?;
        let kind = registry::kind(name).map_err(D::Error::custom)?;
        kind.decode(settings.into()).map_err(D::Error::custom)
    }
}

/// [`Family`] as a trait object.
pub(crate) trait AnyFamily: fmt::Debug + Send + Sync {
    fn kind(&self) -> &'static str;
    fn validate(&self) -> Result<()>;
    fn output(&self) -> Output;
    fn scores_on(&self) -> Compute;
    fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>>;
    fn to_table(&self) -> Table;
    fn is_equal(&self, other: &dyn AnyFamily) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<F: Family> AnyFamily for F {
    fn kind(&self) -> &'static str {
        F::KIND
    }

    fn validate(&self) -> Result<()> {
        Family::validate(self)
    }

    fn output(&self) -> Output {
        Family::output(self)
    }

    fn scores_on(&self) -> Compute {
        Family::scores_on(self)
    }

    fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>> {
        Family::load(self, weights, shape, device)
    }

    fn to_table(&self) -> Table {
        Settings::to_table(self)
    }

    fn is_equal(&self, other: &dyn AnyFamily) -> bool {
        other.as_any().downcast_ref::<F>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The settings of a model of any family with those that only its training reads: what makes learners.
#[cfg(feature = "train")]
#[derive(Clone)]
pub struct Trainer(Arc<dyn AnyTrainer>);

#[cfg(feature = "train")]
impl Trainer {
    /// Holds the settings of a family and of its training.
    pub fn new<F: Trainable>(model: F, training: F::Training) -> Self {
        Self(Arc::new(TrainerOf { config: ModelConfig::new(model.clone()), model, training }))
    }

    /// Returns the settings of the model.
    pub fn model(&self) -> &ModelConfig {
        self.0.model()
    }

    /// Returns the settings of training if they are a `T`.
    pub fn training<T: 'static>(&self) -> Option<&T> {
        self.0.training().downcast_ref()
    }

    /// Refuses settings that no model can be made of, or that cannot train.
    ///
    /// # Errors
    /// When a setting is out of its range; the error names it.
    pub fn validate(&self) -> Result<()> {
        self.model().validate()?;
        self.0.validate_training()
    }

    /// Returns where the model is trained.
    pub fn trains_on(&self) -> Compute {
        self.0.trains_on()
    }

    /// Returns [`Trainable::keeps_chosen`].
    pub fn keeps_chosen(&self) -> bool {
        self.0.keeps_chosen()
    }

    /// Returns [`Trainable::starts_from_runs`].
    pub fn starts_from_runs(&self) -> Option<&'static str> {
        self.0.starts_from_runs()
    }

    /// Makes the learner of one fit.
    ///
    /// # Errors
    /// When the settings cannot be met by the data or the device.
    pub fn learner<'a>(&self, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        self.0.learner(fit)
    }

    /// Returns all settings as a flat table, defaults and `model` included.
    pub fn to_table(&self) -> Table {
        let mut table = self.model().to_table();
        table.extend(self.0.training_table());
        table
    }
}

#[cfg(feature = "train")]
impl PartialEq for Trainer {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_equal(&*other.0)
    }
}

#[cfg(feature = "train")]
impl fmt::Debug for Trainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// [`Trainable`] with its settings as a trait object.
#[cfg(feature = "train")]
trait AnyTrainer: fmt::Debug + Send + Sync {
    fn model(&self) -> &ModelConfig;
    fn training(&self) -> &dyn Any;
    fn validate_training(&self) -> Result<()>;
    fn trains_on(&self) -> Compute;
    fn keeps_chosen(&self) -> bool;
    fn starts_from_runs(&self) -> Option<&'static str>;
    fn learner<'a>(&self, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>>;
    fn training_table(&self) -> Table;
    fn is_equal(&self, other: &dyn AnyTrainer) -> bool;
}

#[cfg(feature = "train")]
#[derive(Debug)]
struct TrainerOf<F: Trainable> {
    config: ModelConfig,
    model: F,
    training: F::Training,
}

#[cfg(feature = "train")]
impl<F: Trainable> AnyTrainer for TrainerOf<F> {
    fn model(&self) -> &ModelConfig {
        &self.config
    }

    fn training(&self) -> &dyn Any {
        &self.training
    }

    fn validate_training(&self) -> Result<()> {
        F::validate_training(&self.training)
    }

    fn trains_on(&self) -> Compute {
        self.model.trains_on()
    }

    fn keeps_chosen(&self) -> bool {
        self.model.keeps_chosen()
    }

    fn starts_from_runs(&self) -> Option<&'static str> {
        F::starts_from_runs(&self.training)
    }

    fn learner<'a>(&self, fit: &FitInput<'a>) -> Result<Box<dyn Learner + 'a>> {
        self.model.learner(&self.training, fit)
    }

    fn training_table(&self) -> Table {
        Settings::to_table(&self.training)
    }

    fn is_equal(&self, other: &dyn AnyTrainer) -> bool {
        *self.model() == *other.model() && other.training().downcast_ref() == Some(&self.training)
    }
}
