//! ALS as a family of models.

use burnrec_data::tensors::TensorFile;

use super::{AlsConfig, AlsModel, Feedback};
use crate::Result;
use crate::device::OpenDevice;
use crate::model::{Family, Model, Output};
use crate::scorer::Shape;

impl Family for AlsConfig {
    const KIND: &'static str = "als";

    fn validate(&self) -> Result<()> {
        self.validate()
    }

    fn output(&self) -> Output {
        match self.feedback {
            Feedback::Explicit => Output::Rating,
            Feedback::Implicit => Output::Raw,
        }
    }

    fn load(&self, weights: &TensorFile, shape: Shape, _: &OpenDevice) -> Result<Box<dyn Model>> {
        Ok(Box::new(AlsModel::load(weights, self.clone(), shape)?))
    }
}
