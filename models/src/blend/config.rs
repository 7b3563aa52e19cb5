//! The settings of a blend.

use std::path::PathBuf;

use burnrec_data::tensors::TensorFile;
use serde::{Deserialize, Serialize};

use super::model::SEEN;
use super::{Blend, Scale};
use crate::device::OpenDevice;
use crate::model::{Compute, Family, Model, Output};
use crate::scorer::Shape;
use crate::user_array::UserArray;
use crate::{Error, Result};

/// The settings of a blend; [`super`] has the equations that they appear in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendConfig {
    /// The weight of each part, in the order of the parts.
    pub weights: Vec<f32>,
    /// The scale that the scores of the parts are put on.
    pub scale: Scale,
    /// Whether a part reads the order of a user's rows, so that the blend does.
    pub reads_order: bool,
}

impl Family for BlendConfig {
    const KIND: &'static str = "blend";

    fn validate(&self) -> Result<()> {
        match self.weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            Some(weight) => Err(Error::config("weights", weight, "finite numbers of at least 0")),
            None => Ok(()),
        }
    }

    fn output(&self) -> Output {
        Output::Raw
    }

    fn scores_on(&self) -> Compute {
        Compute::HostOrNamed
    }

    fn reads_order(&self) -> bool {
        self.reads_order
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        Some(vec![UserArray::Lists(SEEN)])
    }

    fn runs_in(&self, weights: &TensorFile) -> Result<Vec<PathBuf>> {
        Blend::runs_in(weights)
    }

    fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(Blend::load(weights, self.clone(), shape, device)?))
    }
}
