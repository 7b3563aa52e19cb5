//! Matrix factorisation on Burn, for training.

use std::sync::Arc;

use burn_tensor::{Device, Tensor};

use super::MfConfig;
use super::model::MfModel;
use crate::Result;
use crate::least_squares::Side;
use crate::model::Model;
use crate::nn::batch::Batch;
use crate::nn::kernels::{add_biases, add_l2, gather, pair_dots, pair_dots_backward, segment_sums};
use crate::nn::network::{BatchLoss, Gradient, Network, Step};
use crate::nn::params::{Init, Values, on_host, weight};
use crate::scorer::Shape;

/// The weights of matrix factorisation on a device.
pub struct MfNetwork {
    user_embedding: Tensor<2>, // [n_users, dim]
    user_bias: Tensor<2>,      // [n_users, 1]
    item_embedding: Tensor<2>, // [n_items, dim]
    item_bias: Tensor<2>,      // [n_items, 1]
    mean: f32,
    config: MfConfig,
}

/// The unique rows of the tables that a batch reads.
struct Rows {
    users: Tensor<2>,       // [unique users, dim]
    user_biases: Tensor<2>, // [unique users, 1]
    items: Tensor<2>,       // [unique items, dim]
    item_biases: Tensor<2>, // [unique items, 1]
}

impl MfNetwork {
    /// Makes the network with weights from `values`; `mean` is the constant part of every score.
    ///
    /// # Errors
    /// When a setting is out of its range, or `values` fails.
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
            user_embedding: weight(values, "user_embedding", [n_users, config.dim], normal, device)?,
            user_bias: weight(values, "user_bias", [n_users, 1], zero, device)?,
            item_embedding: weight(values, "item_embedding", [n_items, config.dim], normal, device)?,
            item_bias: weight(values, "item_bias", [n_items, 1], zero, device)?,
            mean,
            config: config.clone(),
        })
    }

    fn forward(&self, batch: &Batch) -> (Rows, Tensor<2>) {
        let rows = Rows {
            users: gather(&self.user_embedding, &batch.users),
            user_biases: gather(&self.user_bias, &batch.users),
            items: gather(&self.item_embedding, &batch.items),
            item_biases: gather(&self.item_bias, &batch.items),
        };
        let dots = pair_dots(&rows.users, &rows.items, None, batch);
        let scores = add_biases(dots, &rows.user_biases, &rows.item_biases, self.mean, batch);
        (rows, scores)
    }
}

impl Network for MfNetwork {
    fn scores(&self, batch: &Batch) -> Tensor<2> {
        self.forward(batch).1
    }

    fn step(&self, batch: &Batch, loss: &BatchLoss<'_>) -> Step {
        let (rows, scores) = self.forward(batch);
        let grad = (loss.gradient)(scores); // [samples, 1]
        let [users, items, _] = pair_dots_backward(&grad, &rows.users, &rows.items, None, batch);
        let [user_biases, item_biases] = segment_sums(grad, batch);
        let reg = self.config.reg;
        if reg == 0.0 {
            let gradients = gradients([users, user_biases], [items, item_biases]);
            return Step { gradients, penalty: None };
        }
        // The penalty counts a user's vector once for each sample, and each of the user's batch rows has `per_row`
        // samples.
        let factor = 2.0 * reg / loss.terms;
        let of_user = |grad, rows| add_l2(grad, rows, factor, batch.per_row, &batch.users);
        let of_item = |grad, rows| add_l2(grad, rows, factor, 1, &batch.items);
        let (users, a) = of_user(users, &rows.users);
        let (user_biases, b) = of_user(user_biases, &rows.user_biases);
        let (items, c) = of_item(items, &rows.items);
        let (item_biases, d) = of_item(item_biases, &rows.item_biases);
        let gradients = gradients([users, user_biases], [items, item_biases]);
        Step { gradients, penalty: Some((a + b + c + d).mul_scalar(reg)) }
    }

    fn weights(&self) -> Vec<(&'static str, &Tensor<2>)> {
        vec![
            ("user_embedding", &self.user_embedding),
            ("user_bias", &self.user_bias),
            ("item_embedding", &self.item_embedding),
            ("item_bias", &self.item_bias),
        ]
    }

    fn weights_mut(&mut self) -> Vec<(&'static str, &mut Tensor<2>)> {
        vec![
            ("user_embedding", &mut self.user_embedding),
            ("user_bias", &mut self.user_bias),
            ("item_embedding", &mut self.item_embedding),
            ("item_bias", &mut self.item_bias),
        ]
    }

    fn model(&self) -> Box<dyn Model> {
        let side =
            |vectors, biases| Side { vectors: Arc::new(on_host(vectors)), biases: Arc::new(on_host(biases)) };
        let users = side(&self.user_embedding, &self.user_bias);
        let items = side(&self.item_embedding, &self.item_bias);
        Box::new(MfModel::new(self.config.clone(), self.mean, users, items))
    }
}

/// Returns the gradients by the vectors and the biases, in the order of the weights.
fn gradients(users: [Tensor<2>; 2], items: [Tensor<2>; 2]) -> Vec<Gradient> {
    users.map(Gradient::Users).into_iter().chain(items.map(Gradient::Items)).collect()
}
