//! The settings of Bayesian matrix factorisation, and it as a family of models.

use burnrec_data::tensors::TensorFile;
use serde::{Deserialize, Serialize};

use super::BpmfModel;
use super::model::{USER_BIASES, USER_SPANS, USERS};
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
    /// How many bins of equal width the time of training is cut into, in each of which an item has a bias of its own
    /// (Koren 2009, `b_i(t) = b_i + b_i,Bin(t)`); 0 for none.
    pub item_bins: usize,
    /// How many of a user's rows, in the order of time, have a bias of the user in common; 0 for none. It is the drifting bias
    /// of a user of the same paper, by spans of rows in place of days.
    pub user_span: usize,
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
        Self {
            dim: 31,
            burn_in: 10,
            samples: 50,
            implicit: Implicit::Both,
            item_bins: 0,
            user_span: 0,
            clip: true,
        }
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

/// The most bins of time: a sample has a number for each item and bin.
const MAX_BINS: usize = 1_000;

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
        if self.item_bins > MAX_BINS {
            return Err(Error::config("item_bins", self.item_bins, format!("at most {MAX_BINS}")));
        }
        Ok(())
    }

    fn output(&self) -> Output {
        Output::Rating
    }

    fn clips(&self) -> bool {
        self.clip
    }

    fn reads_order(&self) -> bool {
        self.reads_order_by().is_some()
    }

    fn reads_order_by(&self) -> Option<&'static str> {
        let settings = [("item_bins", self.item_bins), ("user_span", self.user_span)];
        settings.into_iter().find(|(_, value)| *value > 0).map(|(key, _)| key)
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        let spans = (self.user_span > 0).then_some(UserArray::Series(USER_SPANS));
        Some([UserArray::Rows(USERS), UserArray::Rows(USER_BIASES)].into_iter().chain(spans).collect())
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(BpmfModel::load(weights, self.clone(), shape)?))
    }
}
