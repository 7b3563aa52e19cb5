//! The trained ALS model: scores users and items, folds users in, and is saved and loaded.

use std::sync::{Arc, OnceLock};

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::{Csr, ItemIx, UserIx};

use super::kernels::{Panels, product_row_block};
use super::{AlsConfig, RowSolver, Weighting, Weights};
use crate::Result;
use crate::model::Model;
use crate::model::ModelConfig;
use crate::scorer::{Factors, FoldIn, Scorer, Shape, Vectors, check_histories};
use crate::simd::{Isa, Kernel, Simd};
use crate::weights::matrix;

/// Factors of users and items; the score of a pair is their dot product.
pub struct AlsModel {
    config: AlsConfig,
    /// `[n_users, dim]`
    users: Arc<Vec<f32>>,
    items: Arc<Items>,
}

/// The items' side of the model, which a model of folded-in users shares.
struct Items {
    /// `[n_items, dim]`
    factors: Arc<Vec<f32>>,
    weights: Weights,
    /// The factors in the layout that scores the catalogue, computed at the first call.
    panels: OnceLock<Panels>,
    /// The solver that folds users in, computed at the first call.
    solver: OnceLock<RowSolver>,
}

impl AlsModel {
    /// Makes the model of factors `[n_users, dim]` and `[n_items, dim]`, trained on values weighted by `weights`.
    ///
    /// # Panics
    /// When a side does not hold whole vectors of `config.dim`.
    pub fn new(config: AlsConfig, users: Arc<Vec<f32>>, items: Arc<Vec<f32>>, weights: Weights) -> Self {
        let whole = |side: &[f32]| side.len().is_multiple_of(config.dim);
        assert!(whole(&users) && whole(&items), "whole vectors");
        let items = Items { factors: items, weights, panels: OnceLock::new(), solver: OnceLock::new() };
        Self { config, users, items: Arc::new(items) }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of an ALS model of these settings and this shape.
    pub fn load(weights: &TensorFile, config: AlsConfig, shape: Shape) -> Result<Self> {
        config.validate()?;
        let users = matrix(weights, USERS, &[shape.n_users, config.dim])?;
        let items = matrix(weights, ITEMS, &[shape.n_items, config.dim])?;
        let item_norms = match config.weighting {
            Weighting::Bm25 => matrix(weights, ITEM_NORMS, &[shape.n_items])?,
            _ => Vec::new(),
        };
        let saved = Weights::from_saved(config.weighting, item_norms);
        Ok(Self::new(config, Arc::new(users), Arc::new(items), saved))
    }

    /// Returns the model of the users of these histories, whose values are weighted.
    ///
    /// # Errors
    /// When the settings weight rows by their age, and it is not known.
    pub(super) fn of_users(&self, histories: &Csr) -> Result<Self> {
        let (config, factors) = (&self.config, &self.items.factors);
        let by = config.recency.weights(histories)?;
        let solver = self.items.solver.get_or_init(|| RowSolver::exact(config, factors));
        let mut users = vec![0.0; histories.n_rows() * config.dim];
        solver.solve_weighted(factors, histories, by.as_deref(), &mut users, &|_| {});
        Ok(Self { config: config.clone(), users: Arc::new(users), items: Arc::clone(&self.items) })
    }

    fn user(&self, user: UserIx) -> &[f32] {
        &self.users[user.at() * self.config.dim..(user.at() + 1) * self.config.dim]
    }

    fn item(&self, item: ItemIx) -> &[f32] {
        &self.items.factors[item.at() * self.config.dim..(item.at() + 1) * self.config.dim]
    }
}

pub(super) const USERS: &str = "user_factors";
pub(super) const ITEMS: &str = "item_factors";
const ITEM_NORMS: &str = "item_norms";

impl Scorer for AlsModel {
    fn n_users(&self) -> usize {
        self.users.len() / self.config.dim
    }

    fn n_items(&self) -> usize {
        self.items.factors.len() / self.config.dim
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((out, &user), &item) in out.iter_mut().zip(users).zip(items) {
            *out = dot(self.user(user), self.item(item));
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let panels = self.items.panels.get_or_init(|| Panels::new(&self.items.factors, self.config.dim));
        let left: Vec<&[f32]> = users.iter().map(|&user| self.user(user)).collect();
        Isa::best().run(Catalog { left: &left, panels, out });
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }

    fn item_vectors(&self) -> Option<Vectors<'_>> {
        Some(Vectors { values: &self.items.factors, dim: self.config.dim })
    }

    fn user_vectors(&self) -> Option<Vectors<'_>> {
        Some(Vectors { values: &self.users, dim: self.config.dim })
    }

    fn factors(&self) -> Option<Factors> {
        let (users, items) = (self.users.to_vec(), self.items.factors.to_vec());
        Some(Factors { users, items, dim: self.config.dim, bias: false })
    }
}

impl FoldIn for AlsModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        Ok(Box::new(self.of_users(&*self.items.weights.apply(histories)?)?))
    }
}

impl Model for AlsModel {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let matrix = |values: &[f32]| {
            Tensor::new(&[values.len() / self.config.dim, self.config.dim], values.iter().copied())
        };
        let mut weights =
            vec![(USERS.to_owned(), matrix(&self.users)), (ITEMS.to_owned(), matrix(&self.items.factors))];
        let norms = self.items.weights.item_norms();
        if !norms.is_empty() {
            weights.push((ITEM_NORMS.to_owned(), Tensor::new(&[norms.len()], norms.iter().copied())));
        }
        weights
    }
}

/// The scores of a block of users, as a kernel to dispatch.
struct Catalog<'a> {
    left: &'a [&'a [f32]],
    panels: &'a Panels,
    out: &'a mut [f32],
}

impl Kernel for Catalog<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        product_row_block(simd, self.left, self.panels, self.out);
    }
}

/// Returns the dot product, summed in the same order as in [`Scorer::score_catalog`].
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
