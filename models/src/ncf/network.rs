//! The network of GMF, MLP and NeuMF: its weights, its scores, and its gradients.

use burn_tensor::{Device, Tensor};

use super::config::{NcfSpec, TOWER};
use crate::Result;
use crate::nn::batch::Batch;
use crate::nn::kernels::{
    ReluDropout, bias_relu, bias_relu_backward, gather, matmul, matmul_nt, matmul_tn, output_backward,
    pair_dots, pair_dots_backward, pair_relu, segment_sums,
};
use crate::nn::network::{BatchLoss, Gradient, Step};
use crate::nn::params::{Init, Values, weight};
use crate::scorer::Shape;

/// The weights on a device.
#[derive(Clone)]
pub struct NcfNetwork {
    pub(super) gmf: Option<Embeddings>,
    pub(super) tower: Option<Tower>,
    output_weight: Tensor<2>, // [dim + widths.last, classes]: the GMF part's rows first
    output_bias: Tensor<2>,   // [1, classes]
    pub(super) shape: Shape,
    pub(super) spec: NcfSpec,
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

/// A dense layer: `relu(x weight + bias)`.
#[derive(Clone)]
pub(super) struct Dense {
    pub(super) weight: Tensor<2>, // [width in, width out]
    pub(super) bias: Tensor<2>,   // [1, width out]
}

/// What a forward pass keeps for the backward pass.
struct Pass {
    scores: Tensor<2>,       // [samples, 1]
    gmf: Option<Embeddings>, // [unique, width]: the rows that the batch reads
    tower: Option<TowerPass>,
}

struct TowerPass {
    rows: Embeddings,        // [unique, width]: the rows that the batch reads
    outputs: Vec<Tensor<2>>, // [samples, widths[l + 1]] of each layer
}

/// The output layer with one output: the weights that make the score.
pub(super) struct Output {
    pub(super) gmf: Option<Tensor<2>>,   // [dim, 1]
    pub(super) tower: Option<Tensor<2>>, // [widths.last, 1]
    pub(super) bias: Tensor<2>,          // [1, 1]
}

impl NcfNetwork {
    /// Makes the network with weights from `values`.
    ///
    /// # Errors
    /// When a setting is out of its range, or `values` fails.
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
            shape,
            spec: spec.clone(),
        })
    }

    /// Returns the output layer with one output: that of two classes as the difference of the two.
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

    /// Returns the gradient by the output layer's weights from that by [`NcfNetwork::output_layer`].
    fn all_classes(&self, grad: Tensor<2>) -> Tensor<2> {
        match self.output_weight.dims()[1] {
            1 => grad,
            _ => Tensor::cat(vec![grad.clone().neg(), grad], 1),
        }
    }

    fn forward(&self, batch: &Batch, activation: ReluDropout) -> Pass {
        let output = self.output_layer();
        let gmf = self.gmf.as_ref().map(|tables| tables.rows(batch));
        let gmf_scores =
            gmf.as_ref().map(|rows| pair_dots(&rows.user, &rows.item, output.gmf.as_ref(), batch));
        let tower = self.tower.as_ref().map(|tower| tower.forward(batch, activation));
        let last = tower.as_ref().map(|pass| pass.outputs[pass.outputs.len() - 1].clone());
        let tower_scores = last.zip(output.tower).map(|(last, weight)| matmul(&last, &weight));
        let scores =
            gmf_scores.into_iter().chain(tower_scores).fold(None, |sum: Option<Tensor<2>>, part| match sum {
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
    /// Splits the weight `W` of the first dense layer into the rows `W_user`, which multiply the user's embedding `p`,
    /// and the rows `W_item`, which multiply the item's embedding `q`. As `[p, q] W = p W_user + q W_item`, the product
    /// of a user is computed once for all of the user's samples, and that of an item once for all samples it is in.
    pub(super) fn first_layer(&self) -> [Tensor<2>; 2] {
        let (weight, user) = (&self.layers[0].weight, self.embeddings.user.dims()[1]);
        let [width, _] = weight.dims();
        [weight.clone().slice(0..user), weight.clone().slice(user..width)]
    }

    fn forward(&self, batch: &Batch, activation: ReluDropout) -> TowerPass {
        let rows = self.embeddings.rows(batch);
        let [w_user, w_item] = self.first_layer();
        let p = matmul(&rows.user, &w_user) + self.layers[0].bias.clone();
        let q = matmul(&rows.item, &w_item);
        let first = pair_relu(p, q, batch, activation.for_layer(0));
        TowerPass { rows, outputs: self.rest(first, activation) }
    }

    /// Returns the outputs of all layers, `[samples, widths[l + 1]]` each, from that of the first.
    pub(super) fn rest(&self, first: Tensor<2>, activation: ReluDropout) -> Vec<Tensor<2>> {
        let mut outputs = vec![first];
        for (number, layer) in self.layers.iter().enumerate().skip(1) {
            let product = matmul(&outputs[number - 1], &layer.weight);
            outputs.push(bias_relu(product, &layer.bias, activation.for_layer(number)));
        }
        outputs
    }

    /// Runs the backward pass: from the gradient by the scores `[samples, 1]` returns those by the rows of the
    /// embeddings, by the layers and by `output_weight`, the tower's part of the output layer.
    fn backward(
        &self,
        grad: &Tensor<2>,
        pass: TowerPass,
        output_weight: &Tensor<2>,
        batch: &Batch,
        activation: ReluDropout,
    ) -> (Embeddings, Vec<Dense>, Tensor<2>) {
        let TowerPass { rows, mut outputs } = pass;
        let last = outputs.pop().expect("a tower has a layer");
        let [mut grad_sums, mut bias, grad_output_weight] =
            output_backward(grad, last, output_weight, activation);
        let mut layers = Vec::new();
        for layer in self.layers[1..].iter().rev() {
            let input = outputs.pop().expect("each layer has an output");
            layers.push(Dense { weight: matmul_tn(&input, &grad_sums), bias });
            let grad_input = matmul_nt(&grad_sums, &layer.weight);
            (grad_sums, bias) = bias_relu_backward(grad_input, input, activation);
        }
        let [p, q] = segment_sums(grad_sums, batch);
        let [w_user, w_item] = self.first_layer();
        let weight = [matmul_tn(&rows.user, &p), matmul_tn(&rows.item, &q)];
        layers.push(Dense { weight: Tensor::cat(weight.into(), 0), bias });
        layers.reverse();
        let rows = Embeddings { user: matmul_nt(&p, &w_user), item: matmul_nt(&q, &w_item) };
        (rows, layers, grad_output_weight)
    }
}

impl NcfNetwork {
    /// As [`crate::nn::network::Network::scores`].
    pub(super) fn scores(&self, batch: &Batch) -> Tensor<2> {
        self.forward(batch, ReluDropout::WITHOUT_DROPOUT).scores
    }

    /// As [`crate::nn::network::Network::step`].
    pub(super) fn step(&self, batch: &Batch, loss: &BatchLoss<'_>) -> Step {
        let activation =
            ReluDropout { dropout: self.spec.dropout, key: loss.dropout_key, batch: loss.batch, layer: 0 };
        let Pass { scores, gmf, tower } = self.forward(batch, activation);
        let grad = (loss.gradient)(scores); // [samples, 1]
        let Output { gmf: gmf_weight, tower: tower_weight, .. } = self.output_layer();
        let mut gradients = Vec::new();
        let mut output = Vec::new();
        if let Some(rows) = gmf {
            let [user, item, weight] =
                pair_dots_backward(&grad, &rows.user, &rows.item, gmf_weight.as_ref(), batch);
            gradients.extend([Gradient::Users(user), Gradient::Items(item)]);
            output.push(weight);
        }
        if let (Some(tower), Some(pass), Some(tower_weight)) = (&self.tower, tower, tower_weight) {
            let (rows, layers, weight) = tower.backward(&grad, pass, &tower_weight, batch, activation);
            gradients.extend([Gradient::Users(rows.user), Gradient::Items(rows.item)]);
            let whole = |Dense { weight, bias }| [Gradient::Whole(weight), Gradient::Whole(bias)];
            gradients.extend(layers.into_iter().flat_map(whole));
            output.push(weight);
        }
        let output = [Tensor::cat(output, 0), grad.sum_dim(0)];
        gradients.extend(output.map(|grad| Gradient::Whole(self.all_classes(grad))));
        Step { gradients, penalty: None }
    }

    /// As [`crate::nn::network::Network::weights`].
    pub(super) fn weights(&self) -> Vec<(&'static str, &Tensor<2>)> {
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

    /// As [`crate::nn::network::Network::weights_mut`].
    pub(super) fn weights_mut(&mut self) -> Vec<(&'static str, &mut Tensor<2>)> {
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
}
