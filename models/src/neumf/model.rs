//! NeuMF as it is served: the module on its device, with the item side of the first layer computed once.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burnrec_data::tensors::{Tensor as HostTensor, TensorFile};
use burnrec_data::{ItemIx, UserIx};

use super::{NeumfConfig, NeumfModule};
use crate::network::Network;
use crate::params::{on_host, saved};
use crate::{Model, ModelConfig, Result, Scorer, Shape};

/// The most pairs that go through the tower at once.
const BLOCK: usize = 16384;

/// NeuMF, ready to score on its device.
pub struct NeumfModel {
    module: NeumfModule,
    shape: Shape,
    device: Device,
    item_sums: Tensor<2>, // [n_items, widths[1]]: each item's share of the first dense layer, with its bias
    item_gmf: Tensor<2>,  // [dim, n_items]: GMF vectors, each times the output layer's weights
}

impl NeumfModel {
    /// Of a module without autodiff.
    pub(super) fn new(module: NeumfModule) -> Self {
        let rows = |param: &Param<Tensor<2>>| param.dims()[0];
        let shape = Shape { n_users: rows(&module.user_gmf), n_items: rows(&module.item_gmf) };
        let item_sums = module.item_mlp.val().matmul(module.first_layer().1) + module.tower[0].bias.val();
        let item_gmf = (module.item_gmf.val() * module.output_layer().0.transpose()).transpose();
        Self { device: module.user_gmf.val().device(), shape, item_sums, item_gmf, module }
    }

    /// Of saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of this config and shape.
    pub fn load(weights: &TensorFile, config: &NeumfConfig, shape: Shape, device: &Device) -> Result<Self> {
        let module = NeumfModule::new(config, shape, &mut saved(weights), device)?;
        Ok(Self::new(module.valid()))
    }

    fn rows<const D: usize>(&self, rows: Vec<i32>, shape: [usize; D]) -> Tensor<D, Int> {
        Tensor::from_data(TensorData::new(rows, shape), &self.device)
    }
}

impl Scorer for NeumfModel {
    fn n_users(&self) -> usize {
        self.shape.n_users
    }

    fn n_items(&self) -> usize {
        self.shape.n_items
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((out, users), items) in out.chunks_mut(BLOCK).zip(users.chunks(BLOCK)).zip(items.chunks(BLOCK)) {
            let n = users.len();
            let users = self.rows(users.iter().map(|user| user.0 as i32).collect(), [n]);
            let items = self.rows(items.iter().map(|item| item.0 as i32).collect(), [n, 1]);
            // Sync: the scores are read back.
            out.copy_from_slice(&on_host(&self.module.forward(users, items).scores));
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let n_items = self.shape.n_items;
        let per_block = (BLOCK / n_items.max(1)).max(1);
        let (of_user, _) = self.module.first_layer();
        let (_, of_tower) = self.module.output_layer();
        let [_, width] = self.item_sums.dims();
        for (users, out) in users.chunks(per_block).zip(out.chunks_mut(per_block * n_items)) {
            let n = users.len();
            let users = self.rows(users.iter().map(|user| user.0 as i32).collect(), [n]);
            let gmf = self.module.user_gmf.val().select(0, users.clone()).matmul(self.item_gmf.clone()); // [n, n_items]
            let p = self.module.user_mlp.val().select(0, users).matmul(of_user.clone()); // [n, width]
            let sums = p.unsqueeze_dim::<3>(1) + self.item_sums.clone().unsqueeze_dim::<3>(0); // [n, n_items, width]
            let tower =
                self.module.rest_of_tower(sums.reshape([n * n_items, width])).matmul(of_tower.clone());
            let scores = gmf + tower.reshape([n, n_items]) + self.module.output_bias.val(); // [n, n_items]
            // Sync: the scores are read back.
            out.copy_from_slice(&on_host(&scores));
        }
    }
}

impl Model for NeumfModel {
    fn config(&self) -> ModelConfig {
        ModelConfig::Neumf(self.module.config.clone())
    }

    fn weights(&self) -> Vec<(&'static str, HostTensor)> {
        // Sync: the weights are read back.
        let host = |param: &Param<Tensor<2>>| HostTensor::new(&param.dims(), on_host(&param.val()));
        self.module.params().into_iter().map(|(name, param)| (name, host(param))).collect()
    }
}
