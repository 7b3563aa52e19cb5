//! The weights of SASRec: their names, shapes and first values. Those of all layers stand in one array, a layer after the
//! other.

use std::ops::Range;

use super::SasrecConfig;
use crate::nn::params::Init;

/// A weight; the shapes are those of [`Param::shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// `[n_items, dim]`
    ItemEmbedding,
    /// `[length, dim]`
    PositionEmbedding,
    /// `[layers, dim]`: of the norm before attention.
    AttentionScale,
    /// `[layers, dim]`
    AttentionShift,
    /// `[layers * dim, 3 * dim]`: to queries, keys and values, side by side.
    AttentionWeight,
    /// `[layers, 3 * dim]`
    AttentionBias,
    /// `[layers, dim]`: of the norm before the hidden layer.
    HiddenScale,
    /// `[layers, dim]`
    HiddenShift,
    /// `[layers * dim, dim]`
    HiddenWeight,
    /// `[layers, dim]`
    HiddenBias,
    /// `[layers * dim, dim]`
    OutputWeight,
    /// `[layers, dim]`
    OutputBias,
    /// `[1, dim]`: of the norm after the last layer.
    FinalScale,
    /// `[1, dim]`
    FinalShift,
}

impl Param {
    /// All of them, in the order in which arrays of them stand.
    pub const ALL: [Self; 14] = [
        Self::ItemEmbedding,
        Self::PositionEmbedding,
        Self::AttentionScale,
        Self::AttentionShift,
        Self::AttentionWeight,
        Self::AttentionBias,
        Self::HiddenScale,
        Self::HiddenShift,
        Self::HiddenWeight,
        Self::HiddenBias,
        Self::OutputWeight,
        Self::OutputBias,
        Self::FinalScale,
        Self::FinalShift,
    ];

    /// Returns its name in saved files.
    pub fn name(self) -> &'static str {
        match self {
            Self::ItemEmbedding => "item_embedding",
            Self::PositionEmbedding => "position_embedding",
            Self::AttentionScale => "attention_scale",
            Self::AttentionShift => "attention_shift",
            Self::AttentionWeight => "attention_weight",
            Self::AttentionBias => "attention_bias",
            Self::HiddenScale => "hidden_scale",
            Self::HiddenShift => "hidden_shift",
            Self::HiddenWeight => "hidden_weight",
            Self::HiddenBias => "hidden_bias",
            Self::OutputWeight => "output_weight",
            Self::OutputBias => "output_bias",
            Self::FinalScale => "final_scale",
            Self::FinalShift => "final_shift",
        }
    }

    /// Returns its rows and columns.
    pub fn shape(self, config: &SasrecConfig, n_items: usize) -> [usize; 2] {
        let SasrecConfig { dim, layers, length, .. } = *config;
        match self {
            Self::ItemEmbedding => [n_items, dim],
            Self::PositionEmbedding => [length, dim],
            Self::AttentionWeight => [layers * dim, 3 * dim],
            Self::AttentionBias => [layers, 3 * dim],
            Self::HiddenWeight | Self::OutputWeight => [layers * dim, dim],
            Self::FinalScale | Self::FinalShift => [1, dim],
            _ => [layers, dim],
        }
    }

    /// Returns which of `n` values are a layer's.
    pub fn of_layer(self, n: usize, layers: usize, layer: usize) -> Range<usize> {
        let parts = if matches!(self, Self::FinalScale | Self::FinalShift) { 1 } else { layers };
        let size = n / parts;
        layer * size..(layer + 1) * size
    }

    /// Returns how its first values are drawn: those of layers as by Glorot and Bengio 2010.
    pub fn init(self, config: &SasrecConfig) -> Init {
        match self {
            Self::ItemEmbedding | Self::PositionEmbedding => Init::Normal { std: config.init_std },
            Self::AttentionWeight | Self::HiddenWeight | Self::OutputWeight => {
                Init::Uniform { limit: (3.0 / config.dim as f32).sqrt() }
            }
            Self::AttentionScale | Self::HiddenScale | Self::FinalScale => Init::Constant(1.0),
            _ => Init::Constant(0.0),
        }
    }
}

/// The values of all weights on the host, each row-major, in the order of [`Param::ALL`].
#[derive(Clone, Copy)]
pub struct Values<'a> {
    arrays: [&'a [f32]; Param::ALL.len()],
    layers: usize,
}

impl<'a> Values<'a> {
    /// Makes it of the arrays of all weights.
    pub fn new(config: &SasrecConfig, array: impl Fn(usize) -> &'a [f32]) -> Self {
        Self { arrays: std::array::from_fn(array), layers: config.layers }
    }

    /// Returns the whole of a weight.
    pub fn all(&self, weight: Param) -> &'a [f32] {
        self.arrays[weight as usize]
    }

    /// Returns the part of a weight that is a layer's; that of the final norm is the whole, of layer 0.
    pub fn layer(&self, weight: Param, layer: usize) -> &'a [f32] {
        let values = self.all(weight);
        &values[weight.of_layer(values.len(), self.layers, layer)]
    }
}

/// The gradients by all weights on the host, in the order of [`Param::ALL`].
#[cfg(feature = "train")]
pub struct Gradients {
    /// Each in the shape of its weight, row-major.
    pub arrays: Vec<Vec<f32>>,
    layers: usize,
}

#[cfg(feature = "train")]
impl Gradients {
    /// Makes gradients that are 0.
    pub fn zeros(config: &SasrecConfig, n_items: usize) -> Self {
        let zeros = |weight: Param| vec![0.0; weight.shape(config, n_items).iter().product()];
        Self { arrays: Param::ALL.map(zeros).into(), layers: config.layers }
    }

    /// Returns the gradient by a whole weight.
    pub fn all(&mut self, weight: Param) -> &mut [f32] {
        &mut self.arrays[weight as usize]
    }

    /// Returns the part of a gradient that is a layer's.
    pub fn layer(&mut self, weight: Param, layer: usize) -> &mut [f32] {
        let layers = self.layers;
        let values = self.all(weight);
        let part = weight.of_layer(values.len(), layers, layer);
        &mut values[part]
    }
}
