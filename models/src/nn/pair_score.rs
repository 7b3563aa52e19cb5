//! The form of score that all networks here have, written out so that one set of kernels can train each of them on a
//! graphics card, and score with it.

use super::loss::Loss;

/// A score that is the sum of a constant, biases, a weighted dot product and a tower over a user's and an item's
/// embedding, each where it is there. The weights are named as in [`Network::weights`](super::network::Network::weights).
#[derive(Clone, Debug)]
pub struct PairScore {
    /// What is minimised.
    pub loss: Loss,
    /// The constant part.
    pub constant: f32,
    /// `sum over k of w[k] user[k] item[k]`, where `w` is 1 without an output layer.
    pub dot: Option<DotProduct>,
    /// The tables of biases of users and items, of width 1.
    pub biases: Option<[&'static str; 2]>,
    /// Dense layers over the embeddings side by side.
    pub tower: Option<PairTower>,
    /// The output layer over the products of the dot product, then the tower's last layer.
    pub output: Option<OutputLayer>,
    /// The probability to drop a unit of the tower.
    pub dropout: f64,
    /// Each sample adds `reg` times the squared norms of its vectors and biases to the loss.
    pub reg: f32,
}

impl PairScore {
    /// A plain dot product of the vectors in these tables of users and items, which is not trained.
    pub fn dot(tables: [&'static str; 2], dim: usize) -> Self {
        Self {
            loss: Loss::Mse,
            constant: 0.0,
            dot: Some(DotProduct { tables, dim }),
            biases: None,
            tower: None,
            output: None,
            dropout: 0.0,
            reg: 0.0,
        }
    }
}

/// The vectors of a dot product.
#[derive(Clone, Debug)]
pub struct DotProduct {
    /// The tables of users and items.
    pub tables: [&'static str; 2],
    /// The length of the vectors.
    pub dim: usize,
}

/// Dense layers with ReLU over a user's and an item's embedding, side by side.
#[derive(Clone, Debug)]
pub struct PairTower {
    /// The tables of users and items.
    pub tables: [&'static str; 2],
    /// The lengths of the embeddings.
    pub widths: [usize; 2],
    /// The layers: name of the weight, name of the bias, width of the output.
    pub layers: Vec<(&'static str, &'static str, usize)>,
}

/// The output layer.
#[derive(Clone, Debug)]
pub struct OutputLayer {
    /// The name of its weight, `[dim + width of the last layer, classes]`.
    pub weight: &'static str,
    /// The name of its bias, `[1, classes]`.
    pub bias: &'static str,
    /// 1, or 2 whose difference, second less first, is the score.
    pub classes: usize,
}
