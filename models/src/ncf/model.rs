//! GMF, MLP and NeuMF as they are served: the network on its device, with the items' part of the first layer computed
//! once.

#[cfg(all(feature = "cube", feature = "train"))]
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
#[cfg(all(feature = "cube", feature = "train"))]
use crate::nn::gpu::Catalog;
use crate::nn::kernels::{ReluDropout, catalog_relu, matmul};
#[cfg(all(feature = "cube", feature = "train"))]
use crate::nn::network::Architecture;
use crate::nn::network::{Network, Objective, Step};
use crate::nn::params::{on_host, saved};
use crate::scorer::{Scorer, Shape};
#[cfg(all(feature = "cube", feature = "train"))]
use crate::topk::Allowed;

/// The most pairs that go through the network at once.
const BLOCK: usize = 16384;

/// A network of neural collaborative filtering, ready to score on its device.
pub struct NcfModel {
    network: NcfNetwork,
    item_sums: Option<Tensor<2>>, // [n_items, widths[1]]: each item's part of the first dense layer, with the bias
    item_gmf: Option<Tensor<2>>,  // [dim, n_items]: GMF vectors, each times the output layer's weights
    /// The kernels that score on a graphics card, where they take this network.
    #[cfg(all(feature = "cube", feature = "train"))]
    catalog: OnceLock<Option<Catalog>>,
}

impl NcfModel {
    pub(super) fn new(network: NcfNetwork) -> Self {
        let item_sums = network.tower.as_ref().map(|tower| {
            let [_, w_item] = tower.first_layer();
            matmul(&tower.embeddings.item, &w_item) + tower.layers[0].bias.clone()
        });
        let weight = network.output_layer().gmf;
        let item_gmf = network.gmf.as_ref().zip(weight);
        let item_gmf =
            item_gmf.map(|(tables, weight)| (tables.item.clone() * weight.transpose()).transpose());
        Self {
            network,
            item_sums,
            item_gmf,
            #[cfg(all(feature = "cube", feature = "train"))]
            catalog: OnceLock::new(),
        }
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

    /// Returns the kernels of a card; the first call puts the weights there.
    #[cfg(all(feature = "cube", feature = "train"))]
    fn catalog(&self) -> Option<&Catalog> {
        let make = || {
            let score = self.network.spec.pair_score(0.0)?;
            let weights = self.network.weights();
            let weight = |name: &str| {
                let weight =
                    weights.iter().find(|(other, _)| *other == name).expect("a weight of this network");
                on_host(weight.1)
            };
            Catalog::new(&self.device(), &score, self.network.shape, weight)
        };
        self.catalog.get_or_init(make).as_ref()
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
        #[cfg(all(feature = "cube", feature = "train"))]
        if let Some(catalog) = self.catalog() {
            return catalog.score_pairs(users, items, out);
        }
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
        #[cfg(all(feature = "cube", feature = "train"))]
        if let Some(catalog) = self.catalog() {
            return catalog.score_catalog(users, out);
        }
        let n_items = self.n_items();
        let per_block = (BLOCK / n_items.max(1)).max(1);
        let output = self.network.output_layer();
        for (users, out) in users.chunks(per_block).zip(out.chunks_mut(per_block * n_items)) {
            let n = users.len();
            let rows: Vec<i32> = users.iter().map(|user| user.0 as i32).collect();
            let rows: Tensor<1, Int> = Tensor::from_data(TensorData::new(rows, [n]), &self.device());
            let mut scores = output.bias.clone().expand([n, n_items]); // [n, n_items]
            if let (Some(tables), Some(items)) = (&self.network.gmf, &self.item_gmf) {
                scores = scores + matmul(&tables.user.clone().select(0, rows.clone()), items);
            }
            if let (Some(tower), Some(items), Some(weight)) =
                (&self.network.tower, &self.item_sums, &output.tower)
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

    #[cfg(all(feature = "cube", feature = "train"))]
    fn best_on_device<'a>(
        &self,
        users: &[UserIx],
        k: usize,
        exclude: &(dyn Fn(usize) -> &'a [u32] + Sync),
        allowed: Option<&Allowed>,
    ) -> Option<Vec<Vec<(ItemIx, f32)>>> {
        self.catalog()?.best(users, k, exclude, allowed)
    }

    #[cfg(all(feature = "cube", feature = "train"))]
    fn pairs_at_once(&self) -> usize {
        if self.catalog().is_some() { Catalog::PAIRS_AT_ONCE } else { 1 }
    }
}

impl Model for NcfModel {
    fn config(&self) -> ModelConfig {
        self.network.spec.model.clone()
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
