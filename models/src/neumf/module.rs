//! NeuMF as a Burn module.

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};

use super::{NeumfConfig, NeumfModel, TOWER};
use crate::network::{Forward, Network};
use crate::params::{Init, Values, param};
use crate::{Model, Result, Shape};

/// The weights of NeuMF on a device.
#[derive(Module, Debug)]
pub struct NeumfModule {
    pub(super) user_gmf: Param<Tensor<2>>,      // [n_users, dim]
    pub(super) item_gmf: Param<Tensor<2>>,      // [n_items, dim]
    pub(super) user_mlp: Param<Tensor<2>>,      // [n_users, widths[0] / 2]
    pub(super) item_mlp: Param<Tensor<2>>,      // [n_items, widths[0] / 2]
    pub(super) tower: Vec<Dense>,               // widths[l] to widths[l + 1]
    pub(super) output_weight: Param<Tensor<2>>, // [dim + widths.last, 1]
    pub(super) output_bias: Param<Tensor<2>>,   // [1, 1]
    dropout: Dropout,
    #[module(skip)]
    pub(super) config: NeumfConfig,
}

/// `x weight + bias`.
#[derive(Module, Debug)]
pub(super) struct Dense {
    pub(super) weight: Param<Tensor<2>>, // [width in, width out]
    pub(super) bias: Param<Tensor<2>>,   // [1, width out]
}

impl NeumfModule {
    /// With weights from `values`.
    ///
    /// # Errors
    /// When a setting is out of its range, or as `values` has them.
    pub fn new(config: &NeumfConfig, shape: Shape, values: &mut Values<'_>, device: &Device) -> Result<Self> {
        config.validate()?;
        let Shape { n_users, n_items } = shape;
        let widths = config.widths();
        let (half, joined) = (widths[0] / 2, config.dim + widths[widths.len() - 1]);
        let mut get = |name, shape, init| param(values, name, shape, init, device);
        let (normal, zero) = (Init::Normal { std: config.init_std }, Init::Constant(0.0));
        let mut tower = Vec::new();
        for (pair, (weight, bias)) in widths.windows(2).zip(TOWER) {
            // Glorot and Bengio 2010, as in the code of He et al.
            let glorot = Init::Uniform { limit: (6.0 / (pair[0] + pair[1]) as f32).sqrt() };
            let weight = get(weight, [pair[0], pair[1]], glorot)?;
            tower.push(Dense { weight, bias: get(bias, [1, pair[1]], zero)? });
        }
        // LeCun's uniform: variance 1 / width in, as in the code of He et al.
        let lecun = Init::Uniform { limit: (3.0 / joined as f32).sqrt() };
        Ok(Self {
            user_gmf: get("user_gmf", [n_users, config.dim], normal)?,
            item_gmf: get("item_gmf", [n_items, config.dim], normal)?,
            user_mlp: get("user_mlp", [n_users, half], normal)?,
            item_mlp: get("item_mlp", [n_items, half], normal)?,
            tower,
            output_weight: get("output_weight", [joined, 1], lecun)?,
            output_bias: get("output_bias", [1, 1], zero)?,
            dropout: DropoutConfig::new(config.dropout).init(),
            config: config.clone(),
        })
    }

    /// The user's and the item's share of the first dense layer: the rows of its weight that meet the first half of
    /// the concatenation, and those that meet the second. `[p, q] W = p W_user + q W_item`, and a user's share is
    /// needed only once for all of the user's items.
    pub(super) fn first_layer(&self) -> (Tensor<2>, Tensor<2>) {
        let weight = self.tower[0].weight.val();
        let [width, _] = weight.dims();
        (weight.clone().slice(0..width / 2), weight.slice(width / 2..width))
    }

    /// From the first dense layer's sums to the tower's output: `[samples, widths[1]]` to `[samples, widths.last]`.
    pub(super) fn rest_of_tower(&self, sums: Tensor<2>) -> Tensor<2> {
        let first = self.dropout.forward(relu(sums));
        self.tower[1..].iter().fold(first, |x, layer| {
            self.dropout.forward(relu(x.matmul(layer.weight.val()) + layer.bias.val()))
        })
    }

    /// The output layer's weights for the GMF part, `[dim, 1]`, and for the tower, `[widths.last, 1]`.
    pub(super) fn output_layer(&self) -> (Tensor<2>, Tensor<2>) {
        let weight = self.output_weight.val();
        let [width, _] = weight.dims();
        let dim = self.config.dim;
        (weight.clone().slice(0..dim), weight.slice(dim..width))
    }
}

impl Network for NeumfModule {
    fn forward(&self, users: Tensor<1, Int>, items: Tensor<2, Int>) -> Forward {
        let [rows, per_row] = items.dims();
        let samples = rows * per_row;
        let items = items.reshape([samples]);
        let dim = self.config.dim;

        let p = self.user_gmf.val().select(0, users.clone()); // [rows, dim]
        let q = self.item_gmf.val().select(0, items.clone()); // [samples, dim]
        let gmf = p.unsqueeze_dim::<3>(1) * q.reshape([rows, per_row, dim]); // [rows, per_row, dim]
        let gmf = gmf.reshape([samples, dim]);

        let (of_user, of_item) = self.first_layer();
        let p = self.user_mlp.val().select(0, users).matmul(of_user) + self.tower[0].bias.val(); // [rows, width]
        let q = self.item_mlp.val().select(0, items).matmul(of_item); // [samples, width]
        let width = p.dims()[1];
        let sums = p.unsqueeze_dim::<3>(1) + q.reshape([rows, per_row, width]); // [rows, per_row, width]
        let tower = self.rest_of_tower(sums.reshape([samples, width])); // [samples, widths.last]

        let (of_gmf, of_tower) = self.output_layer();
        let logits = gmf.matmul(of_gmf) + tower.matmul(of_tower) + self.output_bias.val(); // [samples, 1]
        Forward { scores: logits.reshape([rows, per_row]), penalty: None }
    }

    fn params(&self) -> Vec<(&'static str, &Param<Tensor<2>>)> {
        let mut params = vec![
            ("user_gmf", &self.user_gmf),
            ("item_gmf", &self.item_gmf),
            ("user_mlp", &self.user_mlp),
            ("item_mlp", &self.item_mlp),
        ];
        for (layer, (weight, bias)) in self.tower.iter().zip(TOWER) {
            params.extend([(weight, &layer.weight), (bias, &layer.bias)]);
        }
        params.extend([("output_weight", &self.output_weight), ("output_bias", &self.output_bias)]);
        params
    }

    fn params_mut(&mut self) -> Vec<(&'static str, &mut Param<Tensor<2>>)> {
        let mut params = vec![
            ("user_gmf", &mut self.user_gmf),
            ("item_gmf", &mut self.item_gmf),
            ("user_mlp", &mut self.user_mlp),
            ("item_mlp", &mut self.item_mlp),
        ];
        for (layer, (weight, bias)) in self.tower.iter_mut().zip(TOWER) {
            params.extend([(weight, &mut layer.weight), (bias, &mut layer.bias)]);
        }
        params.extend([("output_weight", &mut self.output_weight), ("output_bias", &mut self.output_bias)]);
        params
    }

    fn model(&self) -> Box<dyn Model> {
        Box::new(NeumfModel::new(self.valid()))
    }
}
