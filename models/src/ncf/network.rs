//! The network of GMF, MLP and NeuMF: its weights, its scores, and their slopes.

use burn_tensor::{Device, Tensor};

use super::config::{NcfSpec, TOWER};
use super::model::NcfModel;
use crate::Result;
use crate::family::ModelConfig;
use crate::nn::batch::Batch;
use crate::nn::kernels::{
    Hidden, dots, dots_back, gather, last_back, pair_sums, product, product_of_columns, product_of_rows,
    rectified, rectified_back, sums_by_side,
};
use crate::nn::network::{Gradient, Network, Objective, Step};
use crate::nn::params::{Init, Values, weight};
use crate::scorer::{Model, Shape};

/// The weights on a device.
#[derive(Clone)]
pub struct NcfNetwork {
    pub(super) gmf: Option<Embeddings>,
    pub(super) tower: Option<Tower>,
    output_weight: Tensor<2>, // [dim + widths.last, classes]: the GMF part's rows first
    output_bias: Tensor<2>,   // [1, classes]
    dropout: f64,
    pub(super) shape: Shape,
    pub(super) config: ModelConfig,
}

/// A vector for each user and for each item.
#[derive(Clone)]
pub(super) struct Embeddings {
    pub(super) user: Tensor<2>, // [n_users, width]
    pub(super) item: Tensor<2>, // [n_items, width]
}

/// The MLP part: embeddings, and dense layers over a user's and an item's side by side.
#[derive(Clone)]
pub(super) struct Tower {
    pub(super) embeddings: Embeddings,
    pub(super) layers: Vec<Dense>, // widths[l] to widths[l + 1]
}

/// `x weight + bias`, rectified.
#[derive(Clone)]
pub(super) struct Dense {
    pub(super) weight: Tensor<2>, // [width in, width out]
    pub(super) bias: Tensor<2>,   // [1, width out]
}

/// What a forward pass leaves for the one back.
struct Pass {
    scores: Tensor<2>,       // [samples, 1]
    gmf: Option<Embeddings>, // the rows of the batch
    tower: Option<TowerPass>,
}

struct TowerPass {
    rows: Embeddings,        // the rows of the batch
    outputs: Vec<Tensor<2>>, // [samples, widths[l + 1]] of each layer
}

/// The weights that make the score.
pub(super) struct Output {
    pub(super) gmf: Option<Tensor<2>>,   // [dim, 1]
    pub(super) tower: Option<Tensor<2>>, // [widths.last, 1]
    pub(super) bias: Tensor<2>,          // [1, 1]
}

impl NcfNetwork {
    /// With weights from `values`.
    ///
    /// # Errors
    /// When a setting is out of its range, or as `values` has them.
    pub fn new(spec: &NcfSpec, shape: Shape, values: &mut Values<'_>, device: &Device) -> Result<Self> {
        spec.validate()?;
        let Shape { n_users, n_items } = shape;
        let normal = Init::Normal { std: spec.init_std };
        let mut get = |name, shape, init| weight(values, name, shape, init, device);
        let mut joined = 0;
        let gmf = match spec.gmf {
            None => None,
            Some(dim) => {
                joined += dim;
                let user = get("user_gmf", [n_users, dim], normal)?;
                Some(Embeddings { user, item: get("item_gmf", [n_items, dim], normal)? })
            }
        };
        let tower = match &spec.tower {
            None => None,
            Some(widths) => {
                let (user, item) = (widths.user, widths.layers[0] - widths.user);
                joined += widths.layers[widths.layers.len() - 1];
                let user = get("user_mlp", [n_users, user], normal)?;
                let embeddings = Embeddings { user, item: get("item_mlp", [n_items, item], normal)? };
                let mut layers = Vec::new();
                for (pair, (weight, bias)) in widths.layers.windows(2).zip(TOWER) {
                    // Glorot and Bengio 2010, as in the code of He et al.
                    let glorot = Init::Uniform { limit: (6.0 / (pair[0] + pair[1]) as f32).sqrt() };
                    let weight = get(weight, [pair[0], pair[1]], glorot)?;
                    layers.push(Dense { weight, bias: get(bias, [1, pair[1]], Init::Constant(0.0))? });
                }
                Some(Tower { embeddings, layers })
            }
        };
        // LeCun's uniform: variance 1 / width in, as in the code of He et al.
        let lecun = Init::Uniform { limit: (3.0 / joined as f32).sqrt() };
        Ok(Self {
            gmf,
            tower,
            output_weight: get("output_weight", [joined, spec.classes], lecun)?,
            output_bias: get("output_bias", [1, spec.classes], Init::Constant(0.0))?,
            dropout: spec.dropout,
            shape,
            config: spec.model.clone(),
        })
    }

    /// The output layer, with the difference of two classes as one.
    pub(super) fn output_layer(&self) -> Output {
        let score = |output: &Tensor<2>| match output.dims()[1] {
            1 => output.clone(),
            _ => output.clone().slice_dim(1, 1..2) - output.clone().slice_dim(1, 0..1),
        };
        let (weight, bias) = (score(&self.output_weight), score(&self.output_bias));
        let joined = weight.dims()[0];
        let dim = self.gmf.as_ref().map_or(0, |gmf| gmf.user.dims()[1]);
        let part = |from: usize, to: usize| (from < to).then(|| weight.clone().slice(from..to));
        Output { gmf: part(0, dim), tower: part(dim, joined), bias }
    }

    /// From the slopes by what scores to those by the output layer's weights.
    fn output_back(&self, slopes: Tensor<2>) -> Tensor<2> {
        match self.output_weight.dims()[1] {
            1 => slopes,
            _ => Tensor::cat(vec![slopes.clone().neg(), slopes], 1),
        }
    }

    fn forward(&self, batch: &Batch, hidden: Hidden) -> Pass {
        let output = self.output_layer();
        let gmf = self.gmf.as_ref().map(|tables| tables.rows(batch));
        let of_gmf = gmf.as_ref().map(|rows| dots(&rows.user, &rows.item, output.gmf.as_ref(), batch));
        let tower = self.tower.as_ref().map(|tower| tower.forward(batch, hidden));
        let last = tower.as_ref().map(|pass| pass.outputs[pass.outputs.len() - 1].clone());
        let of_tower = last.zip(output.tower).map(|(last, weight)| product(&last, &weight));
        let scores =
            of_gmf.into_iter().chain(of_tower).fold(None, |sum: Option<Tensor<2>>, part| match sum {
                Some(sum) => Some(sum + part),
                None => Some(part),
            });
        let scores = scores.expect("there is a GMF part or a tower") + output.bias;
        Pass { scores, gmf, tower }
    }
}

impl Embeddings {
    fn rows(&self, batch: &Batch) -> Self {
        Self { user: gather(&self.user, &batch.users), item: gather(&self.item, &batch.items) }
    }
}

impl Tower {
    /// The user's and the item's share of the first dense layer: the rows of its weight that meet the first part of
    /// the concatenation, and those that meet the second. `[p, q] W = p W_user + q W_item`, so that a user's share is
    /// computed once for all of the user's samples, and an item's once for all samples that it is in.
    pub(super) fn first_layer(&self) -> [Tensor<2>; 2] {
        let (weight, user) = (&self.layers[0].weight, self.embeddings.user.dims()[1]);
        let [width, _] = weight.dims();
        [weight.clone().slice(0..user), weight.clone().slice(user..width)]
    }

    fn forward(&self, batch: &Batch, hidden: Hidden) -> TowerPass {
        let rows = self.embeddings.rows(batch);
        let [of_user, of_item] = self.first_layer();
        let p = product(&rows.user, &of_user) + self.layers[0].bias.clone();
        let q = product(&rows.item, &of_item);
        let first = pair_sums(p, q, batch, hidden.of_layer(0));
        TowerPass { rows, outputs: self.rest(first, hidden) }
    }

    /// The outputs of all layers `[samples, widths[l + 1]]` from that of the first.
    pub(super) fn rest(&self, first: Tensor<2>, hidden: Hidden) -> Vec<Tensor<2>> {
        let mut outputs = vec![first];
        for (number, layer) in self.layers.iter().enumerate().skip(1) {
            let sums = product(&outputs[number - 1], &layer.weight);
            outputs.push(rectified(sums, &layer.bias, hidden.of_layer(number)));
        }
        outputs
    }

    /// From the slopes by the scores `[samples, 1]` to those of the embeddings' rows and of the layers, and of the
    /// output layer's weights for the tower.
    fn back(
        &self,
        slopes: &Tensor<2>,
        pass: TowerPass,
        of_output: &Tensor<2>,
        batch: &Batch,
        hidden: Hidden,
    ) -> (Embeddings, Vec<Dense>, Tensor<2>) {
        let TowerPass { rows, mut outputs } = pass;
        let mut next = outputs.pop().expect("a tower has a layer");
        let [mut sums, mut bias, output_weight] = last_back(slopes, next, of_output, hidden);
        let mut layers = Vec::new();
        for layer in self.layers[1..].iter().rev() {
            next = outputs.pop().expect("each layer has an output");
            layers.push(Dense { weight: product_of_columns(&next, &sums), bias });
            let slopes = product_of_rows(&sums, &layer.weight);
            (sums, bias) = rectified_back(slopes, next, hidden);
        }
        let [p, q] = sums_by_side(sums, batch);
        let [of_user, of_item] = self.first_layer();
        let weight = [product_of_columns(&rows.user, &p), product_of_columns(&rows.item, &q)];
        layers.push(Dense { weight: Tensor::cat(weight.into(), 0), bias });
        layers.reverse();
        let of_rows = Embeddings { user: product_of_rows(&p, &of_user), item: product_of_rows(&q, &of_item) };
        (of_rows, layers, output_weight)
    }
}

impl Network for NcfNetwork {
    fn scores(&self, batch: &Batch) -> Tensor<2> {
        self.forward(batch, Hidden::WHOLE).scores
    }

    fn step(&self, batch: &Batch, objective: &Objective<'_>) -> Step {
        let hidden = Hidden { dropout: self.dropout, seed: objective.dropout_seed };
        let Pass { scores, gmf, tower } = self.forward(batch, hidden);
        let slopes = (objective.slopes)(scores); // [samples, 1]
        let Output { gmf: of_gmf, tower: of_tower, .. } = self.output_layer();
        let mut gradients = Vec::new();
        let mut output = Vec::new();
        if let Some(rows) = gmf {
            let [user, item, weight] = dots_back(&slopes, &rows.user, &rows.item, of_gmf.as_ref(), batch);
            gradients.extend([Gradient::Users(user), Gradient::Items(item)]);
            output.push(weight);
        }
        if let (Some(tower), Some(pass), Some(of_tower)) = (&self.tower, tower, of_tower) {
            let (rows, layers, weight) = tower.back(&slopes, pass, &of_tower, batch, hidden);
            gradients.extend([Gradient::Users(rows.user), Gradient::Items(rows.item)]);
            let whole = |Dense { weight, bias }| [Gradient::Whole(weight), Gradient::Whole(bias)];
            gradients.extend(layers.into_iter().flat_map(whole));
            output.push(weight);
        }
        let output = [Tensor::cat(output, 0), slopes.sum_dim(0)];
        gradients.extend(output.map(|slopes| Gradient::Whole(self.output_back(slopes))));
        Step { gradients, penalty: None }
    }

    fn weights(&self) -> Vec<(&'static str, &Tensor<2>)> {
        let mut weights = Vec::new();
        if let Some(gmf) = &self.gmf {
            weights.extend([("user_gmf", &gmf.user), ("item_gmf", &gmf.item)]);
        }
        if let Some(Tower { embeddings, layers }) = &self.tower {
            weights.extend([("user_mlp", &embeddings.user), ("item_mlp", &embeddings.item)]);
            for (layer, (weight, bias)) in layers.iter().zip(TOWER) {
                weights.extend([(weight, &layer.weight), (bias, &layer.bias)]);
            }
        }
        weights.extend([("output_weight", &self.output_weight), ("output_bias", &self.output_bias)]);
        weights
    }

    fn weights_mut(&mut self) -> Vec<(&'static str, &mut Tensor<2>)> {
        let mut weights = Vec::new();
        if let Some(gmf) = &mut self.gmf {
            weights.extend([("user_gmf", &mut gmf.user), ("item_gmf", &mut gmf.item)]);
        }
        if let Some(Tower { embeddings, layers }) = &mut self.tower {
            weights.extend([("user_mlp", &mut embeddings.user), ("item_mlp", &mut embeddings.item)]);
            for (layer, (weight, bias)) in layers.iter_mut().zip(TOWER) {
                weights.extend([(weight, &mut layer.weight), (bias, &mut layer.bias)]);
            }
        }
        weights.extend([("output_weight", &mut self.output_weight), ("output_bias", &mut self.output_bias)]);
        weights
    }

    fn model(&self) -> Box<dyn Model> {
        Box::new(NcfModel::new(self.clone()))
    }
}
