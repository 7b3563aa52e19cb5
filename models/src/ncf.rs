//! Neural collaborative filtering (He et al. 2017), on Burn: GMF, the elementwise product of two vectors; an MLP tower
//! over the concatenation of two others; and NeuMF, both with embeddings of their own, joined by one output layer
//! (section 3.4, equation 12). One network for the three, with one part or both.

mod config;
mod model;
mod network;

pub use config::{GmfConfig, MlpConfig, NeumfConfig, Parts, Widths};
pub use model::NcfModel;
pub use network::NcfNetwork;

/// Names of the weight and the bias of each dense layer of the tower.
pub const TOWER: [(&str, &str); 8] = [
    ("tower_0_weight", "tower_0_bias"),
    ("tower_1_weight", "tower_1_bias"),
    ("tower_2_weight", "tower_2_bias"),
    ("tower_3_weight", "tower_3_bias"),
    ("tower_4_weight", "tower_4_bias"),
    ("tower_5_weight", "tower_5_bias"),
    ("tower_6_weight", "tower_6_bias"),
    ("tower_7_weight", "tower_7_bias"),
];
