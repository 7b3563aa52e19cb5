//! The loss: cross-entropy of each row's target against candidates, and its gradients, block by block, so that scores of a
//! block are in a cache from their product to the products with their gradient.

use std::borrow::Cow;

use super::rows::powers;
use crate::sasrec::matrix::{View, ViewMut};
use crate::simd::{dot, vectorised};

/// About how many scores a block has.
const SCORES: usize = 1 << 19;

/// The items that rows are contrasted with, beside the target of each.
pub struct Candidates<'a> {
    /// `[candidates, dim]`
    embedding: Cow<'a, [f32]>,
    /// `[n_items]`: where each item stands among the candidates, [`u32::MAX`] where it does not; `None` where all items are
    /// candidates.
    places: Option<Vec<u32>>,
    /// The drawn items, each once.
    drawn: Vec<u32>,
}

impl<'a> Candidates<'a> {
    /// All items.
    pub fn all(item_embedding: &'a [f32]) -> Self {
        Self { embedding: Cow::Borrowed(item_embedding), places: None, drawn: Vec::new() }
    }

    /// These items alone, each once.
    pub fn of(drawn: Vec<u32>, item_embedding: &[f32], dim: usize) -> Self {
        let mut places = vec![u32::MAX; item_embedding.len() / dim];
        (0..).zip(&drawn).for_each(|(place, &item)| places[item as usize] = place);
        let rows = drawn.iter().flat_map(|&item| &item_embedding[item as usize * dim..][..dim]);
        Self { embedding: rows.copied().collect(), places: Some(places), drawn }
    }

    /// Returns how many values the embeddings of the candidates have.
    pub fn n_values(&self) -> usize {
        self.embedding.len()
    }

    fn place(&self, item: u32) -> Option<usize> {
        match &self.places {
            None => Some(item as usize),
            Some(places) => {
                Some(places[item as usize]).filter(|&place| place != u32::MAX).map(|place| place as usize)
            }
        }
    }

    /// Adds the gradients by the candidates' embeddings to those by all items'; where all are candidates, they were added
    /// there.
    pub fn scatter(&self, by_candidates: &[f32], by_items: &mut [f32], dim: usize) {
        for (&item, by_candidate) in self.drawn.iter().zip(by_candidates.chunks_exact(dim)) {
            let by_item = &mut by_items[item as usize * dim..][..dim];
            by_item.iter_mut().zip(by_candidate).for_each(|(by_item, more)| *by_item += more);
        }
    }

    /// Returns the loss summed over rows with these states `[rows, dim]` and targets, and replaces the states by the
    /// gradient of `scale` times the loss by them. Adds the gradient by all items' embeddings to `by_items`, but that by the
    /// candidates' to `by_candidates` where these are drawn.
    pub fn loss(
        &self,
        states: &mut [f32],
        targets: &[u32],
        scale: f32,
        item_embedding: &[f32],
        by_items: &mut [f32],
        by_candidates: &mut [f32],
    ) -> f64 {
        let dim = states.len() / targets.len();
        let n = self.embedding.len() / dim;
        let embedding = View::new(&self.embedding, dim);
        let rows = (SCORES / n.max(1)).clamp(16, 256);
        let mut scores = Vec::new();
        let mut total = 0.0;
        for (states, targets) in states.chunks_mut(rows * dim).zip(targets.chunks(rows)) {
            scores.resize(targets.len() * n, 0.0);
            ViewMut::new(&mut scores, n).set(View::new(states, dim), embedding.transposed(), 1.0);
            // What the gradients by the scores, left as they are, have to be multiplied by.
            let mut factors = vec![0.0; targets.len()];
            let mut own = vec![0.0; targets.len()];
            for (k, (scores, &target)) in scores.chunks_exact_mut(n).zip(targets).enumerate() {
                let place = self.place(target);
                let target = &item_embedding[target as usize * dim..][..dim];
                let score = place.map_or_else(|| dot(&states[k * dim..][..dim], target), |at| scores[at]);
                let [most, mut sum] = powers(scores, score);
                match place {
                    Some(at) => scores[at] -= sum,
                    None => {
                        let of_target = (score - most).exp();
                        sum += of_target;
                        own[k] = of_target - sum;
                    }
                }
                factors[k] = scale / sum;
                total += f64::from(sum.ln() + most - score);
            }
            let mut scaled = states.to_vec();
            vectorised(|| scale_rows(&mut scaled, &factors, dim));
            let by_scores = View::new(&scores, n);
            let by = if self.places.is_none() { &mut *by_items } else { &mut *by_candidates };
            ViewMut::new(by, dim).add(by_scores.transposed(), View::new(&scaled, dim), 1.0);
            ViewMut::new(states, dim).set(by_scores, embedding, 1.0);
            for (k, &target) in targets.iter().enumerate().filter(|&(k, _)| own[k] != 0.0) {
                let row = target as usize * dim..(target as usize + 1) * dim;
                add_scaled(&mut states[k * dim..][..dim], &item_embedding[row.clone()], own[k]);
                add_scaled(&mut by_items[row], &scaled[k * dim..][..dim], own[k]);
            }
            vectorised(|| scale_rows(states, &factors, dim));
        }
        total
    }
}

#[inline(always)]
fn scale_rows(rows: &mut [f32], factors: &[f32], dim: usize) {
    for (row, factor) in rows.chunks_exact_mut(dim).zip(factors) {
        row.iter_mut().for_each(|value| *value *= factor);
    }
}

fn add_scaled(sum: &mut [f32], values: &[f32], scale: f32) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += scale * value);
}
