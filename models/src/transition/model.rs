//! The trained model of transitions: scores from the last rows of histories, and is saved and loaded.

use std::sync::Arc;

use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::{lists_tensors, read_lists};
use burnrec_data::{Csr, Error as DataError, ItemIx, Lists, UserIx};

use super::TransitionConfig;
use crate::Result;
use crate::model::{Family, Model, ModelConfig};
use crate::scorer::{FoldIn, Scorer, Shape, check_histories, check_order};
use crate::weights::matrix;

/// Scores items by the transitions from a user's last rows.
pub struct Transition {
    config: TransitionConfig,
    /// `[window]`
    row_weights: Vec<f32>,
    /// `[n_items, n_items]`: from an item to the next.
    transitions: Arc<Vec<f32>>,
    n_items: usize,
    /// The items of each user's last rows, the newest first, at most `window`.
    recent: Lists,
}

const TRANSITIONS: &str = "transitions";
pub(super) const RECENT: &str = "recent";

impl Transition {
    /// Makes the model of transitions `[n_items, n_items]` for the users of histories `[n_users, n_items]`, whose rows have
    /// an order.
    ///
    /// # Panics
    /// When there is not one transition for each pair of items.
    pub fn new(config: TransitionConfig, transitions: Arc<Vec<f32>>, histories: &Csr) -> Self {
        let mut recent = Lists::new();
        for user in 0..histories.n_rows() {
            let newest = histories.history(user).into_iter().rev().take(config.window);
            recent.push(&newest.map(|entry| ItemIx(entry.col)).collect::<Vec<ItemIx>>());
        }
        Self::of(config, transitions, histories.n_cols(), recent)
    }

    fn of(config: TransitionConfig, transitions: Arc<Vec<f32>>, n_items: usize, recent: Lists) -> Self {
        assert_eq!(transitions.len(), n_items * n_items, "a transition for each pair of items");
        let row_weights = config.weights().iter().map(|&weight| weight as f32).collect();
        Self { config, row_weights, transitions, n_items, recent }
    }

    /// Opens saved weights.
    ///
    /// # Errors
    /// When the weights are not those of a model of these settings and this shape.
    pub fn load(weights: &TensorFile, config: TransitionConfig, shape: Shape) -> Result<Self> {
        config.validate()?;
        let transitions = matrix(weights, TRANSITIONS, &[shape.n_items, shape.n_items])?;
        let recent = read_lists(weights, RECENT, shape.n_items)?;
        let longest = (0..recent.len()).map(|user| recent.row(user).len()).max().unwrap_or(0);
        if recent.len() != shape.n_users || longest > config.window {
            let found = format!("{:?} with {} lists of up to {longest} items", RECENT, recent.len());
            let expected = format!("{} lists of at most {}", shape.n_users, config.window);
            return Err(DataError::malformed(weights.path(), found, expected).into());
        }
        Ok(Self::of(config, Arc::new(transitions), shape.n_items, recent))
    }

    /// Returns the transitions from each of a user's last rows, with the row's weight, the newest first.
    fn sources(&self, user: UserIx) -> impl Iterator<Item = (&[f32], f32)> {
        let from = |item: ItemIx| &self.transitions[item.at() * self.n_items..(item.at() + 1) * self.n_items];
        let items = self.recent.row(user.at()).iter();
        items.zip(&self.row_weights).map(move |(&item, &weight)| (from(item), weight))
    }
}

impl Scorer for Transition {
    fn n_users(&self) -> usize {
        self.recent.len()
    }

    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((out, &user), item) in out.iter_mut().zip(users).zip(items) {
            *out = self.sources(user).fold(0.0, |sum, (to, weight)| sum + weight * to[item.at()]);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        for (&user, out) in users.iter().zip(out.chunks_exact_mut(self.n_items)) {
            out.fill(0.0);
            for (to, weight) in self.sources(user) {
                out.iter_mut().zip(to).for_each(|(out, to)| *out += weight * to);
            }
        }
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }
}

impl FoldIn for Transition {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items)?;
        check_order(histories)?;
        Ok(Box::new(Self::new(self.config, Arc::clone(&self.transitions), histories)))
    }
}

impl Model for Transition {
    fn config(&self) -> ModelConfig {
        self.config.into()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        let transitions = Tensor::new(&[self.n_items, self.n_items], self.transitions.iter().copied());
        let mut weights = vec![(TRANSITIONS.to_owned(), transitions)];
        weights.extend(lists_tensors(RECENT, &self.recent));
        weights
    }
}
