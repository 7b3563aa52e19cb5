//! Matrix factorisation as a Burn module, for training.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

use super::{MfConfig, MfModel, Side};
use crate::network::{Forward, Network};
use crate::params::{Init, Values, on_host, param};
use crate::{Model, Result, Shape};

/// The weights of matrix factorisation on a device.
#[derive(Module, Debug)]
pub struct MfModule {
    user_embedding: Param<Tensor<2>>, // [n_users, dim]
    user_bias: Param<Tensor<2>>,      // [n_users, 1]
    item_embedding: Param<Tensor<2>>, // [n_items, dim]
    item_bias: Param<Tensor<2>>,      // [n_items, 1]
    #[module(skip)]
    mean: f32,
    #[module(skip)]
    config: MfConfig,
}

impl MfModule {
    /// With weights from `values`; `mean` is what a pair scores before its vectors and biases say anything.
    ///
    /// # Errors
    /// When a setting is out of its range, or as `values` has them.
    pub fn new(
        config: &MfConfig,
        shape: Shape,
        mean: f32,
        values: &mut Values<'_>,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let Shape { n_users, n_items } = shape;
        let (normal, zero) = (Init::Normal { std: config.init_std }, Init::Constant(0.0));
        Ok(Self {
            user_embedding: param(values, "user_embedding", [n_users, config.dim], normal, device)?,
            user_bias: param(values, "user_bias", [n_users, 1], zero, device)?,
            item_embedding: param(values, "item_embedding", [n_items, config.dim], normal, device)?,
            item_bias: param(values, "item_bias", [n_items, 1], zero, device)?,
            mean,
            config: config.clone(),
        })
    }
}

impl Network for MfModule {
    fn forward(&self, users: Tensor<1, Int>, items: Tensor<2, Int>) -> Forward {
        let [rows, per_row] = items.dims();
        let items = items.reshape([rows * per_row]);
        let p = self.user_embedding.val().select(0, users.clone()); // [rows, dim]
        let q = self.item_embedding.val().select(0, items.clone()); // [rows * per_row, dim]
        let p_bias = self.user_bias.val().select(0, users); // [rows, 1]
        let q_bias = self.item_bias.val().select(0, items); // [rows * per_row, 1]

        // A user's vector counts once for each of the row's samples.
        let squares = |of_user: &Tensor<2>, of_item: &Tensor<2>| {
            of_user.clone().square().sum().mul_scalar(per_row as f32) + of_item.clone().square().sum()
        };
        let penalty = (self.config.reg > 0.0)
            .then(|| (squares(&p, &q) + squares(&p_bias, &q_bias)).mul_scalar(self.config.reg));

        let p = p.unsqueeze_dim::<3>(1); // [rows, 1, dim]
        let q = q.reshape([rows, per_row, self.config.dim]); // [rows, per_row, dim]
        let dots = (p * q).sum_dim(2).reshape([rows, per_row]); // [rows, per_row]
        let scores = dots + p_bias + q_bias.reshape([rows, per_row]) + self.mean;
        Forward { scores, penalty }
    }

    fn params(&self) -> Vec<(&'static str, &Param<Tensor<2>>)> {
        vec![
            ("user_embedding", &self.user_embedding),
            ("user_bias", &self.user_bias),
            ("item_embedding", &self.item_embedding),
            ("item_bias", &self.item_bias),
        ]
    }

    fn params_mut(&mut self) -> Vec<(&'static str, &mut Param<Tensor<2>>)> {
        vec![
            ("user_embedding", &mut self.user_embedding),
            ("user_bias", &mut self.user_bias),
            ("item_embedding", &mut self.item_embedding),
            ("item_bias", &mut self.item_bias),
        ]
    }

    fn model(&self) -> Box<dyn Model> {
        let host = |param: &Param<Tensor<2>>| on_host(&param.val());
        Box::new(MfModel {
            config: self.config.clone(),
            mean: self.mean,
            users: Side { vectors: host(&self.user_embedding), biases: host(&self.user_bias) },
            items: Arc::new(Side { vectors: host(&self.item_embedding), biases: host(&self.item_bias) }),
        })
    }
}
