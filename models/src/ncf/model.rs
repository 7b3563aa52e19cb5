//! GMF, MLP and NeuMF as they are served: the network on its device, with the items' part of the first layer computed
//! once.

use std::sync::OnceLock;

use burn_tensor::{Device, Int, Tensor, TensorData};
use burnrec_data::tensors::{Tensor as HostTensor, TensorFile};
use burnrec_data::{ItemIx, UserIx};

use super::config::NcfSpec;
use super::network::NcfNetwork;
use crate::Result;
use crate::model::Model;
use crate::model::ModelConfig;
use crate::nn::batch::Batch;
use crate::nn::kernels::{ReluDropout, catalog_relu, matmul};
use crate::nn::network::{Network, Objective, Step};
use crate::nn::pair_score::PairScore;
use crate::nn::params::{on_host, saved};
use crate::scorer::{Scorer, Shape};

/// The most pairs that go through the network at once.
const BLOCK: usize = 16384;

/// A network of neural collaborative filtering, ready to score on its device.
pub struct NcfModel {
    network: NcfNetwork,
    /// Computed at the first call that needs it, which kernels never do.
    items: OnceLock<Items>,
}

/// What depends on the items alone.
struct Items {
    sums: Option<Tensor<2>>, // [n_items, widths[1]]: each item's part of the first dense layer, with the bias
    gmf: Option<Tensor<2>>,  // [dim, n_items]: GMF vectors, each times the output layer's weights
}

impl NcfModel {
    pub(super) fn new(network: NcfNetwork) -> Self {
        Self { network, items: OnceLock::new() }
    }

    fn items(&self) -> &Items {
        self.items.get_or_init(|| {
            let sums = self.network.tower.as_ref().map(|tower| {
                let [_, w_item] = tower.first_layer();
                matmul(&tower.embeddings.item, &w_item) + tower.layers[0].bias.clone()
            });
            let gmf = self.network.gmf.as_ref().zip(self.network.output_layer().gmf);
            let gmf = gmf.map(|(tables, weight)| (tables.item.clone() * weight.transpose()).transpose());
            Items { sums, gmf }
        })
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of this architecture and shape.
    pub fn load(weights: &TensorFile, spec: &NcfSpec, shape: Shape, device: &Device) -> Result<Self> {
        Ok(Self::new(NcfNetwork::new(spec, shape, &mut saved(weights), device)?))
    }

    fn device(&self) -> Device {
        self.network.weights()[0].1.device()
    }
}

impl Scorer for NcfModel {
    fn n_users(&self) -> usize {
        self.network.shape.n_users
    }

    fn n_items(&self) -> usize {
        self.network.shape.n_items
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        let device = self.device();
        for ((out, users), items) in out.chunks_mut(BLOCK).zip(users.chunks(BLOCK)).zip(items.chunks(BLOCK)) {
            let users: Vec<u32> = users.iter().map(|user| user.0).collect();
            let items: Vec<u32> = items.iter().map(|item| item.0).collect();
            let batch = Batch::new(&users, self.n_users(), &items, self.n_items()).to_device(&device);
            // Sync: the scores are read back.
            out.copy_from_slice(&on_host(&self.network.scores(&batch)));
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let n_items = self.n_items();
        let per_block = (BLOCK / n_items.max(1)).max(1);
        let output = self.network.output_layer();
        let all = self.items();
        for (users, out) in users.chunks(per_block).zip(out.chunks_mut(per_block * n_items)) {
            let n = users.len();
            let rows: Vec<i32> = users.iter().map(|user| user.0 as i32).collect();
            let rows: Tensor<1, Int> = Tensor::from_data(TensorData::new(rows, [n]), &self.device());
            let mut scores = output.bias.clone().expand([n, n_items]); // [n, n_items]
            if let (Some(tables), Some(items)) = (&self.network.gmf, &all.gmf) {
                scores = scores + matmul(&tables.user.clone().select(0, rows.clone()), items);
            }
            if let (Some(tower), Some(items), Some(weight)) = (&self.network.tower, &all.sums, &output.tower)
            {
                let [w_user, _] = tower.first_layer();
                let p = matmul(&tower.embeddings.user.clone().select(0, rows), &w_user); // [n, width]
                let last = tower.rest(catalog_relu(&p, items), ReluDropout::WITHOUT_DROPOUT).pop();
                let last = matmul(&last.expect("a tower has a layer"), weight); // [n * n_items, 1]
                scores = scores + last.reshape([n, n_items]);
            }
            // Sync: the scores are read back.
            out.copy_from_slice(&on_host(&scores));
        }
    }
}

impl Model for NcfModel {
    fn config(&self) -> ModelConfig {
        self.network.spec.model.clone()
    }

    fn pair_score(&self) -> Option<PairScore> {
        Some(self.network.spec.pair_score())
    }

    fn weights(&self) -> Vec<(String, HostTensor)> {
        // Sync: the weights are read back.
        let host = |weight: &Tensor<2>| HostTensor::new(&weight.dims(), on_host(weight));
        self.network.weights().into_iter().map(|(name, weight)| (name.to_owned(), host(weight))).collect()
    }
}

/// The network as the learner of all networks drives it.
impl Network for NcfNetwork {
    fn scores(&self, batch: &Batch) -> Tensor<2> {
        self.scores(batch)
    }

    fn step(&self, batch: &Batch, objective: &Objective<'_>) -> Step {
        self.step(batch, objective)
    }

    fn weights(&self) -> Vec<(&'static str, &Tensor<2>)> {
        self.weights()
    }

    fn weights_mut(&mut self) -> Vec<(&'static str, &mut Tensor<2>)> {
        self.weights_mut()
    }

    fn model(&self) -> Box<dyn Model> {
        Box::new(NcfModel::new(self.clone()))
    }
}
