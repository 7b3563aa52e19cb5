//! The trained model: scores users from the states of their newest rows, folds in others, and is saved and loaded.

use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::{Csr, ItemIx, UserIx};
use rayon::prelude::*;

use super::SasrecConfig;
use super::host::{Encoder, states};
use super::matrix::{View, ViewMut};
use super::weights::{Param, Values};
use crate::Result;
use crate::model::{Family, Model, ModelConfig};
use crate::scorer::{Factors, FoldIn, Scorer, Shape, Vectors, check_histories, check_order};
use crate::simd::dot;
use crate::weights::matrix;

/// Scores items by the dot products of their embeddings with the states of users.
pub struct Sasrec {
    config: SasrecConfig,
    /// In the order of [`Param::ALL`], row-major.
    weights: Arc<Vec<Vec<f32>>>,
    /// `[n_users, dim]`: the state of each user's newest row, 0 for a user without rows.
    states: Vec<f32>,
}

pub(super) const STATES: &str = "user_state";

/// How many users are scored by one thread at a time.
const USERS: usize = 32;

impl Sasrec {
    /// Makes the model of weights, in the order of [`Param::ALL`], for the users of histories `[n_users, n_items]`, whose
    /// rows have an order.
    pub(super) fn new(config: SasrecConfig, weights: Arc<Vec<Vec<f32>>>, histories: &Csr) -> Self {
        let dim = config.dim;
        let newest = |user: usize| -> Vec<u32> {
            let history = histories.history(user);
            let older = history.len().saturating_sub(config.length);
            history[older..].iter().map(|entry| entry.col).collect()
        };
        let lists: Vec<Vec<u32>> = (0..histories.n_rows()).map(newest).collect();
        let known: Vec<usize> = (0..lists.len()).filter(|&user| !lists[user].is_empty()).collect();
        let of_known: Vec<&[u32]> = known.iter().map(|&user| &lists[user][..]).collect();
        let encoder = Encoder::new(&config, Values::new(&config, |at| &weights[at]));
        let of_known = states(encoder, &of_known);
        let mut states = vec![0.0; lists.len() * dim];
        for (user, state) in known.into_iter().zip(of_known.chunks_exact(dim)) {
            states[user * dim..(user + 1) * dim].copy_from_slice(state);
        }
        Self { config, weights, states }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of these settings and this shape.
    pub fn load(weights: &TensorFile, config: SasrecConfig, shape: Shape) -> Result<Self> {
        config.validate()?;
        let of = |weight: Param| matrix(weights, weight.name(), &weight.shape(&config, shape.n_items));
        let values = Param::ALL.map(of).into_iter().collect::<Result<Vec<_>>>()?;
        let states = matrix(weights, STATES, &[shape.n_users, config.dim])?;
        Ok(Self { config, weights: Arc::new(values), states })
    }

    fn items(&self) -> &[f32] {
        &self.weights[Param::ItemEmbedding as usize]
    }

    fn state(&self, user: UserIx) -> &[f32] {
        &self.states[user.at() * self.config.dim..][..self.config.dim]
    }
}

impl Scorer for Sasrec {
    fn n_users(&self) -> usize {
        self.states.len() / self.config.dim
    }

    fn n_items(&self) -> usize {
        self.items().len() / self.config.dim
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        let dim = self.config.dim;
        for ((out, &user), item) in out.iter_mut().zip(users).zip(items) {
            *out = dot(self.state(user), &self.items()[item.at() * dim..][..dim]);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let (dim, n_items) = (self.config.dim, self.n_items());
        out.par_chunks_mut(USERS * n_items).zip(users.par_chunks(USERS)).for_each(|(out, users)| {
            let states: Vec<f32> = users.iter().flat_map(|&user| self.state(user)).copied().collect();
            let items = View::new(self.items(), dim).transposed();
            ViewMut::new(out, n_items).set(View::new(&states, dim), items, 1.0);
        });
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }

    fn item_vectors(&self) -> Option<Vectors<'_>> {
        Some(Vectors { values: self.items(), dim: self.config.dim })
    }

    fn user_vectors(&self) -> Option<Vectors<'_>> {
        Some(Vectors { values: &self.states, dim: self.config.dim })
    }

    fn factors(&self) -> Option<Factors> {
        let (users, items) = (self.states.clone(), self.items().to_vec());
        Some(Factors { users, items, dim: self.config.dim, bias: false, constants: Vec::new() })
    }
}

impl FoldIn for Sasrec {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        check_order(histories)?;
        Ok(Box::new(Self::new(self.config.clone(), Arc::clone(&self.weights), histories)))
    }
}

impl Model for Sasrec {
    fn config(&self) -> ModelConfig {
        self.config.clone().into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let of = |(weight, values): (Param, &Vec<f32>)| {
            let shape = weight.shape(&self.config, self.n_items());
            (weight.name().to_owned(), Tensor::new(&shape, values.iter().copied()))
        };
        let states = Tensor::new(&[self.n_users(), self.config.dim], self.states.iter().copied());
        let weights = Param::ALL.into_iter().zip(&*self.weights).map(of);
        weights.chain([(STATES.to_owned(), states)]).collect()
    }
}
