//! GMF, MLP and NeuMF as families of models, and as networks to be trained.

use burn_tensor::Device;
use burnrec_data::tensors::TensorFile;

use super::config::TOWER;
use super::{GmfConfig, MlpConfig, NcfModel, NcfNetwork, NcfSpec, NeumfConfig};
use crate::Result;
use crate::device::OpenDevice;
use crate::model::{Compute, Family, Model, ModelConfig, Output};
use crate::nn::loss::Loss;
use crate::nn::network::{Architecture, Network};
use crate::nn::on_card::on_card;
use crate::nn::pair_score::{DotProduct, OutputLayer, PairScore, PairTower};
use crate::nn::params::Values;
use crate::scorer::Shape;
use crate::user_array::UserArray;

impl Architecture for NcfSpec {
    fn config(&self) -> ModelConfig {
        self.model.clone()
    }

    fn loss(&self) -> (Loss, usize) {
        (self.loss, self.loss.negatives(self.negatives))
    }

    fn weight_shapes(&self, shape: Shape) -> Vec<(&'static str, [usize; 2])> {
        let Shape { n_users, n_items } = shape;
        let (mut shapes, mut joined) = (Vec::new(), 0);
        if let Some(dim) = self.gmf {
            shapes.extend([("user_gmf", [n_users, dim]), ("item_gmf", [n_items, dim])]);
            joined += dim;
        }
        if let Some(tower) = &self.tower {
            let item = tower.layers[0] - tower.user;
            shapes.extend([("user_mlp", [n_users, tower.user]), ("item_mlp", [n_items, item])]);
            for (pair, (weight, bias)) in tower.layers.windows(2).zip(TOWER) {
                shapes.extend([(weight, [pair[0], pair[1]]), (bias, [1, pair[1]])]);
            }
            joined += tower.layers[tower.layers.len() - 1];
        }
        shapes.extend([("output_weight", [joined, self.classes]), ("output_bias", [1, self.classes])]);
        shapes
    }

    fn hidden_width(&self) -> usize {
        self.tower.as_ref().map_or(0, |tower| tower.layers[1..].iter().sum())
    }

    fn pair_score(&self, _: f32) -> Option<PairScore> {
        Some(self.pair_score())
    }

    fn network(
        &self,
        shape: Shape,
        _: f32,
        values: &mut Values<'_>,
        device: &Device,
    ) -> Result<Box<dyn Network>> {
        Ok(Box::new(NcfNetwork::new(self, shape, values, device)?))
    }
}

impl NcfSpec {
    /// Returns the score in the form that kernels compute.
    pub(super) fn pair_score(&self) -> PairScore {
        let tower = self.tower.as_ref().map(|widths| {
            let layers = TOWER.iter().zip(&widths.layers[1..]);
            PairTower {
                tables: ["user_mlp", "item_mlp"],
                widths: [widths.user, widths.layers[0] - widths.user],
                layers: layers.map(|(&(weight, bias), &width)| (weight, bias, width)).collect(),
            }
        });
        PairScore {
            loss: self.loss,
            constant: 0.0,
            dot: self.gmf.map(|dim| DotProduct { tables: ["user_gmf", "item_gmf"], dim }),
            biases: None,
            tower,
            output: Some(OutputLayer { weight: "output_weight", bias: "output_bias", classes: self.classes }),
            dropout: self.dropout,
            reg: 0.0,
        }
    }
}

/// Implements `Family` for the three models, which differ only in the parts of their [`NcfSpec`].
macro_rules! families {
    ($($config:ident = $kind:literal),*) => {$(
        impl Family for $config {
            const KIND: &'static str = $kind;

            fn validate(&self) -> Result<()> {
                NcfSpec::from(self).validate()
            }

            fn output(&self) -> Output {
                self.loss.output()
            }

            fn scores_on(&self) -> Compute {
                Compute::Device
            }

            fn user_arrays(&self) -> Option<Vec<UserArray>> {
                let NcfSpec { gmf, tower, .. } = NcfSpec::from(self);
                let tables = [gmf.map(|_| "user_gmf"), tower.map(|_| "user_mlp")];
                Some(tables.into_iter().flatten().map(UserArray::Rows).collect())
            }

            fn load(&self, weights: &TensorFile, shape: Shape, device: &OpenDevice) -> Result<Box<dyn Model>> {
                let spec = NcfSpec::from(self);
                let model = NcfModel::load(weights, &spec, shape, &device.device)?;
                Ok(on_card(Box::new(model), || spec.pair_score(), &device.device))
            }
        }
    )*};
}

families!(GmfConfig = "gmf", MlpConfig = "mlp", NeumfConfig = "neumf");
