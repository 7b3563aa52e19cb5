//! A model that can be saved, the family it is of, and the settings of a model of any family as one type.
//!
//! A family is its settings struct: it implements [`Family`]. [`ModelConfig`] holds the settings of a model of any
//! family.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use toml::{Table, Value};

use crate::Result;
use crate::device::{DeviceChoice, OpenDevice};
use crate::nn::pair_score::PairScore;
pub use crate::output::Output;
use crate::scorer::{Scorer, Shape};
use crate::settings::Settings;
use crate::user_array::UserArray;

/// A scorer that can be saved and opened again.
pub trait Model: Scorer {
    /// Returns the settings that, with the weights, make the model.
    fn config(&self) -> ModelConfig;

    /// Returns the weights by name, as they are on the host.
    fn weights(&self) -> Vec<(String, Tensor)>;

    /// Returns the weights as they stand in a file in `dir`: a model of other runs names these by their paths from there.
    fn weights_in(&self, dir: &Path) -> Vec<(String, Tensor)> {
        let _ = dir;
        self.weights()
    }

    /// Returns the score in the form that kernels compute of [`Model::weights`], where it has that form: for programs that
    /// compute it again.
    fn pair_score(&self) -> Option<PairScore> {
        None
    }

    /// Returns the directories of the saved runs that the model takes its scores from; most take them from none.
    fn runs(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// Returns the number of weights; those of a model of other runs are these runs'.
    fn n_parameters(&self) -> u64 {
        self.weights().iter().map(|(_, tensor)| tensor.len() as u64).sum()
    }
}

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

    /// Returns what the model's scores mean.
    fn output(&self) -> Output;

    /// Returns whether predicted ratings are clipped to the values of training.
    fn clips(&self) -> bool {
        false
    }

    /// Returns where the model scores.
    fn scores_on(&self) -> Compute {
        Compute::Host
    }

    /// Returns whether the model reads the order of a user's rows; it then cannot do without one, in training and when
    /// users are folded in.
    fn reads_order(&self) -> bool {
        false
    }

    /// Returns the setting by which the model reads the order, where it would not with another value.
    fn reads_order_by(&self) -> Option<&'static str> {
        None
    }

    /// Returns which arrays of a file of weights have something of each user, so that one user can be erased from it; `None`
    /// where the family does not say, and nobody can be.
    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        None
    }

    /// Returns the directories of the saved runs that a file of weights names, as [`Model::runs`] of its model.
    ///
    /// # Errors
    /// When the weights are not those of a model of this family.
    fn runs_in(&self, weights: &TensorFile) -> Result<Vec<PathBuf>> {
        let _ = weights;
        Ok(Vec::new())
    }

    /// Opens the model of these settings and saved weights; one that scores on a device does so on `device`.
    ///
    /// # Errors
    /// When a setting is out of its range, or the weights are not those of a model of these settings and this shape.
    fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>>;
}

/// Where something is computed, the more by devices the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compute {
    /// By plain code on the CPU, whatever device is asked for.
    Host,
    /// By plain code on the CPU; on a graphics card only where that is asked for by name, not by `auto`.
    HostOrNamed,
    /// By tensor operations on the device asked for.
    Device,
}

impl Compute {
    /// Opens the device to compute on: the one asked for, or the CPU for what computes on the host, which loads no graphics
    /// driver.
    ///
    /// # Errors
    /// When the device asked for cannot be had.
    pub fn open(self, choice: DeviceChoice) -> Result<OpenDevice> {
        crate::device::open(match self {
            Self::Device => choice,
            Self::HostOrNamed if choice != DeviceChoice::Auto => choice,
            Self::Host | Self::HostOrNamed => DeviceChoice::Cpu,
        })
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
    /// As [`Family::validate`].
    pub fn validate(&self) -> Result<()> {
        self.0.validate()
    }

    /// Returns what the model's scores mean.
    pub fn output(&self) -> Output {
        self.0.output()
    }

    /// Returns whether the scores are ratings that are clipped to the values of training. Items are ranked by the scores
    /// before that, so that the best ones do not tie.
    pub fn clips(&self) -> bool {
        self.output() == Output::Rating && self.0.clips()
    }

    /// Returns where the model scores.
    pub fn scores_on(&self) -> Compute {
        self.0.scores_on()
    }

    /// Returns whether the model reads the order of a user's rows.
    pub fn reads_order(&self) -> bool {
        self.0.reads_order()
    }

    /// Calls [`Family::reads_order_by`].
    pub fn reads_order_by(&self) -> Option<&'static str> {
        self.0.reads_order_by()
    }

    /// Calls [`Family::user_arrays`].
    pub fn user_arrays(&self) -> Option<Vec<UserArray>> {
        self.0.user_arrays()
    }

    /// Calls [`Family::runs_in`].
    ///
    /// # Errors
    /// As [`Family::runs_in`].
    pub fn runs_in(&self, weights: &TensorFile) -> Result<Vec<PathBuf>> {
        self.0.runs_in(weights)
    }

    /// Calls [`Family::load`].
    ///
    /// # Errors
    /// As [`Family::load`].
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

/// [`Family`] as a trait object.
pub(crate) trait AnyFamily: fmt::Debug + Send + Sync {
    fn kind(&self) -> &'static str;
    fn validate(&self) -> Result<()>;
    fn output(&self) -> Output;
    fn clips(&self) -> bool;
    fn scores_on(&self) -> Compute;
    fn reads_order(&self) -> bool;
    fn reads_order_by(&self) -> Option<&'static str>;
    fn user_arrays(&self) -> Option<Vec<UserArray>>;
    fn runs_in(&self, weights: &TensorFile) -> Result<Vec<PathBuf>>;
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

    fn clips(&self) -> bool {
        Family::clips(self)
    }

    fn scores_on(&self) -> Compute {
        Family::scores_on(self)
    }

    fn reads_order(&self) -> bool {
        Family::reads_order(self)
    }

    fn reads_order_by(&self) -> Option<&'static str> {
        Family::reads_order_by(self)
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Family::user_arrays(self)
    }

    fn runs_in(&self, weights: &TensorFile) -> Result<Vec<PathBuf>> {
        Family::runs_in(self, weights)
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
