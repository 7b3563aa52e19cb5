//! The trained ALS model: scores users and items, folds users in, and is saved and loaded.

use std::sync::{Arc, OnceLock};

use burnrec_data::Csr;
use burnrec_data::tensors::{Tensor, TensorFile};

use super::{AlsConfig, RowSolver, Weighting, Weights};
use crate::Result;
use crate::least_squares::{BiasedDots, ItemSide, ScoresByDots, Side};
use crate::model::Model;
use crate::model::ModelConfig;
use crate::scorer::{FoldIn, Scorer, Shape, check_histories};
use crate::weights::matrix;

/// Factors of users and items; the score of a pair is their dot product, with the mean and biases where the model has them.
pub struct AlsModel {
    config: AlsConfig,
    dots: BiasedDots,
    rows: Arc<Rows>,
}

/// What users are folded in by, which a model of folded-in users shares.
struct Rows {
    weights: Weights,
    /// `[n_items, width]`: the items' factors as rows are solved for, and their solver, computed at the first call.
    solver: OnceLock<(Arc<Vec<f32>>, RowSolver)>,
}

impl AlsModel {
    /// Makes the model of factors `[n_users, dim]` and `[n_items, dim]`, with biases where the settings have them, trained on
    /// values weighted by `weights`.
    ///
    /// # Panics
    /// When a side does not hold whole vectors of `config.dim`, or not as many biases.
    pub fn new(config: AlsConfig, users: impl Into<Side>, items: impl Into<Side>, weights: Weights) -> Self {
        let (users, items) = (users.into(), items.into());
        for side in [&users, &items] {
            assert!(side.vectors.len().is_multiple_of(config.dim), "whole vectors");
            let biases = if config.biases { side.vectors.len() / config.dim } else { 0 };
            assert_eq!(side.biases.len(), biases, "biases");
        }
        let items = Arc::new(ItemSide::new(items));
        let dots = BiasedDots { dim: config.dim, mean: weights.mean(), users, items };
        Self { config, dots, rows: Arc::new(Rows { weights, solver: OnceLock::new() }) }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of an ALS model of these settings and this shape.
    pub fn load(weights: &TensorFile, config: AlsConfig, shape: Shape) -> Result<Self> {
        config.validate()?;
        let side = |vectors, biases, rows| -> Result<Side> {
            let biases = if config.biases { matrix(weights, biases, &[rows, 1])? } else { Vec::new() };
            let vectors = Arc::new(matrix(weights, vectors, &[rows, config.dim])?);
            Ok(Side { vectors, biases: Arc::new(biases) })
        };
        let users = side(USERS, USER_BIASES, shape.n_users)?;
        let items = side(ITEMS, ITEM_BIASES, shape.n_items)?;
        let item_norms = match config.weighting {
            Weighting::Bm25 => matrix(weights, ITEM_NORMS, &[shape.n_items])?,
            _ => Vec::new(),
        };
        let mean = if config.biases { matrix(weights, MEAN, &[1])?[0] } else { 0.0 };
        let saved = Weights::from_saved(config.weighting, item_norms).with_mean(mean);
        Ok(Self::new(config, users, items, saved))
    }

    /// Returns the constant part of every score.
    pub(super) fn mean(&self) -> f32 {
        self.dots.mean
    }

    /// Returns the model of the users of these histories, whose values are weighted.
    ///
    /// # Errors
    /// When the settings weight rows by their age, and it is not known.
    pub(super) fn of_users(&self, histories: &Csr) -> Result<Self> {
        let (config, dim) = (&self.config, self.config.dim);
        let by = config.recency.weights(histories)?;
        let (factors, solver) = self.rows.solver.get_or_init(|| {
            let factors = self.dots.items.side().joined(dim);
            let solver = RowSolver::exact(config, &factors);
            (factors, solver)
        });
        let mut users = vec![0.0; histories.n_rows() * config.width()];
        solver.solve_weighted(factors, histories, by.as_deref(), &mut users, &|_| {});
        let users = if config.biases { Side::split(&users, dim) } else { Arc::new(users).into() };
        let dots = BiasedDots { users, ..self.dots.clone() };
        Ok(Self { config: config.clone(), dots, rows: Arc::clone(&self.rows) })
    }
}

pub(super) const USERS: &str = "user_factors";
pub(super) const ITEMS: &str = "item_factors";
pub(super) const USER_BIASES: &str = "user_biases";
pub(super) const ITEM_BIASES: &str = "item_biases";
const ITEM_NORMS: &str = "item_norms";
const MEAN: &str = "mean";

impl ScoresByDots for AlsModel {
    fn dots(&self) -> &BiasedDots {
        &self.dots
    }
}

impl FoldIn for AlsModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        Ok(Box::new(self.of_users(&*self.rows.weights.apply(histories)?)?))
    }
}

impl Model for AlsModel {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let matrix = |values: &[f32], width: usize| {
            Tensor::new(&[values.len() / width, width], values.iter().copied())
        };
        let (users, items) = (&self.dots.users, self.dots.items.side());
        let mut weights = vec![
            (USERS.to_owned(), matrix(&users.vectors, self.config.dim)),
            (ITEMS.to_owned(), matrix(&items.vectors, self.config.dim)),
        ];
        let norms = self.rows.weights.item_norms();
        if !norms.is_empty() {
            weights.push((ITEM_NORMS.to_owned(), Tensor::new(&[norms.len()], norms.iter().copied())));
        }
        if self.config.biases {
            weights.push((USER_BIASES.to_owned(), matrix(&users.biases, 1)));
            weights.push((ITEM_BIASES.to_owned(), matrix(&items.biases, 1)));
            weights.push((MEAN.to_owned(), Tensor::new(&[1], [self.dots.mean])));
        }
        weights
    }
}
