//! The trained model: the mean over samples, as one dot product.

use std::sync::Arc;

use burnrec_data::Csr;
use burnrec_data::tensors::{Tensor, TensorFile};

use super::{BpmfConfig, RowPosterior, sample};
use crate::Result;
use crate::least_squares::{BiasedDots, ItemSide, ScoresByDots, Side};
use crate::model::{Model, ModelConfig};
use crate::scorer::{FoldIn, Scorer, Shape, check_histories};
use crate::weights::matrix;

/// The posterior mean of ratings over kept samples.
pub struct BpmfModel {
    config: BpmfConfig,
    /// With vectors of `samples * dim`.
    dots: BiasedDots,
    /// What users are computed from, a sample each.
    samples: Arc<Vec<Arc<RowPosterior>>>,
}

impl BpmfModel {
    /// Makes the model of at least one sample of what users are computed from, with the users of each, `[n_users, width]`;
    /// `mean` is that of the values of training.
    pub fn new(
        config: BpmfConfig,
        mean: f32,
        samples: Vec<Arc<RowPosterior>>,
        users: &[impl AsRef<[f32]>],
    ) -> Self {
        let users = side_by_side(users, config.dim, true);
        Self::with_users(config, mean, samples, users)
    }

    fn with_users(config: BpmfConfig, mean: f32, samples: Vec<Arc<RowPosterior>>, users: Side) -> Self {
        let items: Vec<&[f32]> = samples.iter().map(|sample| &sample.given().fixed[..]).collect();
        let items = Arc::new(ItemSide::new(side_by_side(&items, config.dim, false)));
        let dots = BiasedDots { dim: samples.len() * config.dim, mean, users, items };
        Self { config, dots, samples: Arc::new(samples) }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of these settings and this shape.
    pub fn load(weights: &TensorFile, config: BpmfConfig, shape: Shape) -> Result<Self> {
        crate::Family::validate(&config)?;
        let samples = sample::load(weights, &config, shape.n_items)?;
        let users = Side {
            vectors: Arc::new(matrix(weights, USERS, &[shape.n_users, samples.len() * config.dim])?),
            biases: Arc::new(matrix(weights, USER_BIASES, &[shape.n_users])?),
        };
        let mean = matrix(weights, MEAN, &[1])?[0];
        Ok(Self::with_users(config, mean, samples, users))
    }
}

pub(super) const USERS: &str = "user_factors";
pub(super) const USER_BIASES: &str = "user_biases";
const MEAN: &str = "mean";

/// Puts the vectors of samples, each `[rows, dim + 1]` with the bias last, side by side, `[rows, samples * dim]`, with the means
/// of the biases. Where they `share`, each vector is divided by the number of samples, so that dot products are means.
fn side_by_side(samples: &[impl AsRef<[f32]>], dim: usize, share: bool) -> Side {
    let n = samples.len() as f32;
    let rows = samples.first().map_or(0, |sample| sample.as_ref().len() / (dim + 1));
    let (mut vectors, mut biases) = (Vec::with_capacity(rows * samples.len() * dim), vec![0.0; rows]);
    for (row, bias) in biases.iter_mut().enumerate() {
        for sample in samples {
            let row = &sample.as_ref()[row * (dim + 1)..(row + 1) * (dim + 1)];
            vectors.extend(row[..dim].iter().map(|x| if share { x / n } else { *x }));
            *bias += row[dim] / n;
        }
    }
    Side { vectors: Arc::new(vectors), biases: Arc::new(biases) }
}

impl ScoresByDots for BpmfModel {
    fn dots(&self) -> &BiasedDots {
        &self.dots
    }
}

impl FoldIn for BpmfModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        let mean = self.dots.mean;
        let centred = histories.map_values(|_, _, value| value - mean);
        let means = |sample: &Arc<RowPosterior>| {
            let mut users = vec![0.0; histories.n_rows() * self.config.width()];
            sample.means(&centred, &mut users);
            users
        };
        let users: Vec<Vec<f32>> = self.samples.iter().map(means).collect();
        let dots = BiasedDots { users: side_by_side(&users, self.config.dim, true), ..self.dots.clone() };
        Ok(Box::new(Self { config: self.config.clone(), dots, samples: Arc::clone(&self.samples) }))
    }
}

impl Model for BpmfModel {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let Side { vectors, biases } = &self.dots.users;
        let shape = [biases.len(), self.dots.dim];
        let mut weights = vec![
            (USERS.to_owned(), Tensor::new(&shape, vectors.iter().copied())),
            (USER_BIASES.to_owned(), Tensor::new(&[biases.len()], biases.iter().copied())),
            (MEAN.to_owned(), Tensor::new(&[1], [self.dots.mean])),
        ];
        weights.extend(sample::tensors(&self.samples));
        weights
    }
}
