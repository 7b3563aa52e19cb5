//! The settings of transitions.

use burnrec_data::tensors::TensorFile;
use serde::{Deserialize, Serialize};

use super::Transition;
use super::model::RECENT;
use crate::device::OpenDevice;
use crate::model::{Family, Model, Output};
use crate::scorer::Shape;
use crate::user_array::UserArray;
use crate::{Error, Result};

/// The settings of transitions between items; [`super`] has the equations that they appear in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransitionConfig {
    /// How many of a user's newest rows count.
    pub window: usize,
    /// By how many rows the weight of a row falls to `1 / e`.
    pub decay: f32,
    /// Strength of the regulariser.
    pub reg: f32,
}

impl Default for TransitionConfig {
    fn default() -> Self {
        Self { window: 20, decay: 8.0, reg: 1000.0 }
    }
}

impl TransitionConfig {
    /// Returns the weight of each row of the window, the newest first: `e^(-k / decay)`, `[window]`.
    pub fn weights(&self) -> Vec<f64> {
        (0..self.window).map(|k| (-(k as f64) / f64::from(self.decay)).exp()).collect()
    }
}

/// The longest window: older rows weigh next to nothing, and the work grows with it.
const MAX_WINDOW: usize = 1000;

impl Family for TransitionConfig {
    const KIND: &'static str = "transition";

    fn validate(&self) -> Result<()> {
        if !(1..=MAX_WINDOW).contains(&self.window) {
            return Err(Error::config("window", self.window, format!("from 1 to {MAX_WINDOW}")));
        }
        let positive = [("decay", self.decay), ("reg", self.reg)];
        match positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((key, found)) => Err(Error::config(key, found, "a finite number over 0")),
            None => Ok(()),
        }
    }

    fn output(&self) -> Output {
        Output::Raw
    }

    fn reads_order(&self) -> bool {
        true
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(vec![UserArray::Lists(RECENT)])
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(Transition::load(weights, *self, shape)?))
    }
}
