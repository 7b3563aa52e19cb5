//! The settings of Bayesian matrix factorisation, and it as a family of models.

use burnrec_data::tensors::TensorFile;
use serde::{Deserialize, Serialize};

use super::BpmfModel;
use super::model::{USER_BIASES, USERS};
use crate::device::OpenDevice;
use crate::model::{Family, Model, Output};
use crate::scorer::Shape;
use crate::user_array::UserArray;
use crate::{Error, Result};

/// Settings of Bayesian matrix factorisation; what others would tune, regularisers and the noise, is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BpmfConfig {
    /// Length of the factor vectors. With the bias it is best a multiple of 16, the values of a cache line.
    pub dim: usize,
    /// The sweeps before the first that is kept.
    pub burn_in: usize,
    /// The most samples that are kept; of later sweeps each takes the place of the oldest. The model has `samples * dim`
    /// numbers for each user and item.
    pub samples: usize,
    /// Whose prior depends on what was rated, whatever the values.
    pub implicit: Implicit,
    /// Whether predicted ratings are clipped to the values of training.
    pub clip: bool,
}

/// Whose prior depends on what was rated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Implicit {
    /// Nobody's.
    None,
    /// A user's on the items that the user rated (SVD++).
    Users,
    /// Also an item's on the users that rated it.
    Both,
}

impl Default for BpmfConfig {
    fn default() -> Self {
        Self { dim: 31, burn_in: 10, samples: 50, implicit: Implicit::Both, clip: true }
    }
}

impl BpmfConfig {
    /// Returns the length of a vector with its bias.
    pub fn width(&self) -> usize {
        self.dim + 1
    }
}

/// The largest `dim`: the work for a row grows with its square.
const MAX_DIM: usize = 511;

impl Family for BpmfConfig {
    const KIND: &'static str = "bpmf";

    fn validate(&self) -> Result<()> {
        for (key, found) in [("dim", self.dim), ("samples", self.samples)] {
            if found == 0 {
                return Err(Error::config(key, found, "at least 1"));
            }
        }
        if self.dim > MAX_DIM {
            return Err(Error::config("dim", self.dim, format!("at most {MAX_DIM}")));
        }
        Ok(())
    }

    fn output(&self) -> Output {
        Output::Rating
    }

    fn clips(&self) -> bool {
        self.clip
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(vec![UserArray::Rows(USERS), UserArray::Rows(USER_BIASES)])
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(BpmfModel::load(weights, self.clone(), shape)?))
    }
}
