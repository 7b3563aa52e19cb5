//! ALS as a family of models.

use burnrec_data::tensors::TensorFile;

use super::model::{ITEM_BIASES, ITEMS, USER_BIASES, USERS};
use super::{AlsConfig, AlsModel, Feedback};
use crate::device::OpenDevice;
use crate::model::{Compute, Family, Model, Output};
use crate::nn::on_card::on_card;
use crate::nn::pair_score::PairScore;
use crate::scorer::Shape;
use crate::user_array::UserArray;
use crate::{Recency, Result};

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

    fn clips(&self) -> bool {
        self.clip
    }

    fn scores_on(&self) -> Compute {
        Compute::HostOrNamed
    }

    fn reads_order(&self) -> bool {
        self.recency != Recency::None
    }

    fn user_arrays(&self) -> Option<Vec<UserArray>> {
        let biases = self.biases.then_some(UserArray::Rows(USER_BIASES));
        Some([UserArray::Rows(USERS)].into_iter().chain(biases).collect())
    }

    fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>> {
        let model = AlsModel::load(weights, self.clone(), shape)?;
        let (constant, biases) = (model.mean(), self.biases.then_some([USER_BIASES, ITEM_BIASES]));
        let score = || PairScore { constant, biases, ..PairScore::dot([USERS, ITEMS], self.dim) };
        Ok(on_card(Box::new(model), score, &device.device))
    }
}
