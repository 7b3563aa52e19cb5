//! The shapes of the weights of a network, before there are any.

use crate::ncf::TOWER;
use crate::{ModelConfig, Shape};

/// Names and shapes, in the order of [`Network::weights`](crate::network::Network::weights); none for models that do not
/// learn on Burn.
pub fn weight_shapes(config: &ModelConfig, shape: Shape) -> Vec<(&'static str, [usize; 2])> {
    let Shape { n_users, n_items } = shape;
    if let ModelConfig::Mf(mf) = config {
        return vec![
            ("user_embedding", [n_users, mf.dim]),
            ("user_bias", [n_users, 1]),
            ("item_embedding", [n_items, mf.dim]),
            ("item_bias", [n_items, 1]),
        ];
    }
    let Some(parts) = config.ncf() else { return Vec::new() };
    let (mut shapes, mut joined) = (Vec::new(), 0);
    if let Some(dim) = parts.gmf {
        shapes.extend([("user_gmf", [n_users, dim]), ("item_gmf", [n_items, dim])]);
        joined += dim;
    }
    if let Some(tower) = parts.tower {
        let item = tower.layers[0] - tower.user;
        shapes.extend([("user_mlp", [n_users, tower.user]), ("item_mlp", [n_items, item])]);
        for (pair, (weight, bias)) in tower.layers.windows(2).zip(TOWER) {
            shapes.extend([(weight, [pair[0], pair[1]]), (bias, [1, pair[1]])]);
        }
        joined += tower.layers[tower.layers.len() - 1];
    }
    shapes.extend([("output_weight", [joined, parts.classes]), ("output_bias", [1, parts.classes])]);
    shapes
}
