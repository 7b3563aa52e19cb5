//! The settings of SASRec.

use burnrec_data::tensors::TensorFile;
use serde::{Deserialize, Serialize};

use super::Sasrec;
use super::model::STATES;
use crate::device::OpenDevice;
use crate::model::{Family, Model, Output};
use crate::scorer::Shape;
use crate::user_array::UserArray;
use crate::{Error, Result};

/// Settings of SASRec; [`super`] has the equations that they appear in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SasrecConfig {
    /// Length of the embeddings and of all hidden layers.
    pub dim: usize,
    /// How many layers there are, each of attention and a network of two layers.
    pub layers: usize,
    /// How many heads attention has; each takes `dim / heads` values.
    pub heads: usize,
    /// How many of a user's newest rows count.
    pub length: usize,
    /// The probability to drop a unit in training.
    pub dropout: f64,
    /// The loss that training minimises.
    pub loss: SequenceLoss,
    /// How many items are drawn for each batch as negatives of all its rows, with `loss = "sampled-softmax"`.
    pub negatives: usize,
    /// Standard deviation of the first embeddings.
    pub init_std: f32,
}

/// The loss of a row: cross-entropy of the item that came next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SequenceLoss {
    /// Against all items.
    Softmax,
    /// Against items drawn uniformly and without repetition for the batch (Jean et al. 2015; uniform draws need no
    /// correction).
    SampledSoftmax,
}

impl Default for SasrecConfig {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 2,
            heads: 1,
            length: 200,
            dropout: 0.2,
            loss: SequenceLoss::Softmax,
            negatives: 256,
            init_std: 0.02,
        }
    }
}

/// The most layers, and the longest sequence: what is beyond has no use, and its memory grows with the square.
const MAX_LAYERS: usize = 32;
const MAX_LENGTH: usize = 4096;

impl Family for SasrecConfig {
    const KIND: &'static str = "sasrec";

    fn validate(&self) -> Result<()> {
        let Self { dim, layers, heads, length, dropout, negatives, init_std, .. } = *self;
        if dim == 0 {
            return Err(Error::config("dim", dim, "at least 1"));
        }
        if !(1..=MAX_LAYERS).contains(&layers) {
            return Err(Error::config("layers", layers, format!("from 1 to {MAX_LAYERS}")));
        }
        if heads == 0 || !dim.is_multiple_of(heads) {
            return Err(Error::config("heads", heads, format!("a divisor of dim, which is {dim}")));
        }
        if !(1..=MAX_LENGTH).contains(&length) {
            return Err(Error::config("length", length, format!("from 1 to {MAX_LENGTH}")));
        }
        if !(0.0..1.0).contains(&dropout) {
            return Err(Error::config("dropout", dropout, "a probability from 0 to below 1"));
        }
        if negatives == 0 {
            return Err(Error::config("negatives", negatives, "at least 1"));
        }
        if !(init_std.is_finite() && init_std > 0.0) {
            return Err(Error::config("init_std", init_std, "a number above 0"));
        }
        Ok(())
    }

    fn output(&self) -> Output {
        Output::Raw
    }

    fn reads_order(&self) -> bool {
        true
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(vec![UserArray::Rows(STATES)])
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(Sasrec::load(weights, self.clone(), shape)?))
    }
}
