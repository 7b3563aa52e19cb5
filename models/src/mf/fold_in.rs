//! Folds users into matrix factorisation: finds the vector and the bias that minimise the training loss over a user's
//! history, with the items fixed.
//!
//! The drawn negatives of training are replaced by their expectation: every unseen item counts with the weight
//! `w = negatives / n_unseen` for each item seen. With z = (item vector, 1), s = mean + item bias + x · z and
//! x = (user vector, user bias), a user who has seen the items H minimises `reg * n_samples * |x|^2` plus
//!
//! ```text
//! bce:      sum over h in H of [ ln(1 + e^-s_h) + w * sum over unseen j of ln(1 + e^s_j) ]
//! bpr:      sum over h in H of   w * sum over unseen j of ln(1 + e^(s_j - s_h))
//! softmax:  sum over h in H of   ln(e^s_h + w * sum over unseen j of e^s_j) - s_h
//! mse:      sum over h in H of   (rating_h - s_h)^2
//! ```
//!
//! With a [`Recency`](crate::Recency) the term of each h is multiplied by the weight of its age, and `n_samples` counts rows by
//! their weights.
//!
//! All are convex in x, so the answer does not depend on where the search starts. Of a large catalogue some items stand for
//! all ([`Negatives`]). The search begins over the first few of these, and goes on over more where it has ended.

use std::sync::Arc;

use burnrec_data::Csr;
use rayon::prelude::*;

use self::unseen::{Exponential, Logistic, Pairs};
use super::MfConfig;
use super::lbfgs::{Search, add, dot};
use super::model::MfModel;
use super::negatives::Negatives;
use crate::least_squares::Side;
use crate::nn::loss::Loss;
use crate::scorer::{FoldIn, Scorer, check_histories};
use crate::{Error, Result};

mod unseen;

/// Over how many items the search goes before it goes over all that are drawn; whole blocks.
const FIRST: [usize; 2] = [512, 2048];

/// Such a part of the search ends where the loss can fall by no more than about this part of it.
const FIRST_TOLERANCE: f64 = 1e-2;

/// The search ends so where the items are drawn: their choice changes the loss by more.
const DRAWN_TOLERANCE: f64 = 1e-3;

/// The search ends so where every item counts: f32 does not hold less.
const TOLERANCE: f64 = 1e-6;

/// Keeps the answer finite where `reg` is 0 and a history can be fitted exactly.
const LEAST_REG: f64 = 1e-6;

impl FoldIn for MfModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        if let Some(value) = histories.values().iter().find(|value| !value.is_finite()) {
            return Err(Error::FoldIn { found: value.to_string(), expected: "finite values".into() });
        }
        Ok(Box::new(self.of_users(histories)?))
    }
}

impl MfModel {
    /// Returns the model of the users of these histories.
    ///
    /// # Errors
    /// When the ages of the rows count and are not known.
    pub(super) fn of_users(&self, histories: &Csr) -> Result<Self> {
        let by_age = self.config.recency.weights(histories)?;
        let folded = |row: usize| {
            let entries = histories.offsets()[row]..histories.offsets()[row + 1];
            self.folded(histories.row(row), by_age.as_ref().map(|by_age| &by_age[entries]))
        };
        let rows: Vec<Vec<f64>> = (0..histories.n_rows()).into_par_iter().map(folded).collect();
        let dim = self.config.dim;
        let vectors = rows.iter().flat_map(|x| x[..dim].iter().map(|&value| value as f32));
        let users = Side {
            vectors: Arc::new(vectors.collect()),
            biases: Arc::new(rows.iter().map(|x| x[dim] as f32).collect()),
        };
        Ok(self.with_users(users))
    }

    /// Returns the vector and then the bias of the user with this history, whose rows have these weights or all 1.
    fn folded(&self, history: (&[u32], &[f32]), by_age: Option<&[f32]>) -> Vec<f64> {
        let user = UserLoss::new(self, history, by_age);
        let mut search = Search::new(vec![0.0; self.config.dim + 1]);
        for (n, tolerance) in user.stages() {
            search.descend(tolerance, |x, gradient| user.at(n, x, gradient));
        }
        search.x
    }
}

/// The loss of one user's row over the user's history.
struct UserLoss<'a> {
    loss: Loss,
    ratings: &'a [f32],
    /// The weight of each seen item's term.
    by_age: Vec<f64>,
    /// Mean and item bias of each seen item.
    base: Vec<f64>,
    /// `[seen, dim + 1]`: their vectors, each with a 1 for the user's bias.
    rows: Vec<f64>,
    /// Absent where the loss has no negatives, or there are none.
    unseen: Option<Unseen<'a>>,
    reg: f64,
}

/// The unseen items of a user.
struct Unseen<'a> {
    negatives: &'a Negatives,
    /// The weights of the drawn items, 0 where the user has seen them.
    weights: Vec<f32>,
    /// What all weights of unseen items add up to, for each item seen.
    n_negatives: f64,
}

impl<'a> UserLoss<'a> {
    fn new(model: &'a MfModel, (seen, ratings): (&'a [u32], &'a [f32]), by_age: Option<&[f32]>) -> Self {
        let MfConfig { loss, negatives, reg, dim, .. } = model.config;
        let n_negatives = loss.negatives(negatives) as f64;
        let has_unseen = n_negatives > 0.0 && !seen.is_empty() && seen.len() < model.n_items();
        let (mean, items) = (model.dots.mean, model.dots.items.side());
        let of = |item: u32| {
            let vector = items.row(item as usize, dim);
            vector.iter().map(|&z| f64::from(z)).chain([1.0])
        };
        let base = |item: &u32| f64::from(mean) + f64::from(items.biases[*item as usize]);
        let by_age: Vec<f64> =
            by_age.map_or(vec![1.0; seen.len()], |by_age| by_age.iter().map(|&by| by.into()).collect());
        let n_rows: f64 = by_age.iter().sum();
        Self {
            loss,
            ratings,
            by_age,
            base: seen.iter().map(base).collect(),
            rows: seen.iter().flat_map(|&item| of(item)).collect(),
            unseen: has_unseen.then(|| Unseen::new(model.negatives(), seen, n_negatives)),
            reg: f64::from(reg).max(LEAST_REG) * n_rows * (1.0 + n_negatives),
        }
    }

    /// Returns over how many drawn items the search goes, part by part, each with its tolerance.
    fn stages(&self) -> Vec<(usize, f64)> {
        let Some(unseen) = &self.unseen else { return vec![(0, TOLERANCE)] };
        let all = unseen.weights.len();
        let first = FIRST.into_iter().filter(|&n| n < all).map(|n| (n, FIRST_TOLERANCE));
        let last = if unseen.negatives.whole { TOLERANCE } else { DRAWN_TOLERANCE };
        first.chain([(all, last)]).collect()
    }

    /// Returns the loss at `x` over the first `n` drawn items, and writes its gradient.
    fn at(&self, n: usize, x: &[f64], gradient: &mut [f64]) -> f64 {
        let rows = || self.rows.chunks_exact(x.len());
        let scores: Vec<f64> = rows().zip(&self.base).map(|(row, base)| base + dot(row, x)).collect();
        let mut slopes = vec![0.0; scores.len()];
        gradient.iter_mut().zip(x).for_each(|(gradient, x)| *gradient = 2.0 * self.reg * x);
        let mut loss = self.reg * dot(x, x);
        loss += match self.loss {
            Loss::Mse => squares(&scores, self.ratings, &self.by_age, &mut slopes),
            Loss::Bce => positives(&scores, &self.by_age, &mut slopes),
            Loss::Bpr | Loss::Softmax => 0.0,
        };
        if let Some(unseen) = &self.unseen {
            let (value, factor, pulled) = match self.loss {
                Loss::Bpr => unseen.pairs(n, x, &scores, &self.by_age, &mut slopes),
                Loss::Softmax => unseen.softmax(n, x, &scores, &self.by_age, &mut slopes),
                Loss::Bce | Loss::Mse => unseen.logistic(n, x, self.by_age.iter().sum()),
            };
            loss += value;
            gradient.iter_mut().zip(pulled).for_each(|(gradient, z)| *gradient += factor * f64::from(z));
        }
        rows().zip(&slopes).for_each(|(row, &slope)| add(gradient, slope, row));
        loss
    }
}

// Both of these return the loss, and write its derivatives by the scores of the seen items.

fn squares(seen: &[f64], ratings: &[f32], by_age: &[f64], slopes: &mut [f64]) -> f64 {
    let mut loss = 0.0;
    for (((slope, s), &rating), by) in slopes.iter_mut().zip(seen).zip(ratings).zip(by_age) {
        let error = s - f64::from(rating);
        loss += by * error * error;
        *slope = by * 2.0 * error;
    }
    loss
}

fn positives(seen: &[f64], by_age: &[f64], slopes: &mut [f64]) -> f64 {
    slopes.iter_mut().zip(seen).zip(by_age).for_each(|((slope, s), by)| *slope = -by / (1.0 + s.exp()));
    // ln(1 + e^-s) without overflow.
    seen.iter().zip(by_age).map(|(s, by)| by * ((-s).max(0.0) + (-s.abs()).exp().ln_1p())).sum()
}

// Each of the losses below returns its value over the first `n` drawn items, and a factor and a vector whose product is its
// gradient through these; it writes its derivatives by the scores of the seen items.
impl<'a> Unseen<'a> {
    fn new(negatives: &'a Negatives, seen: &[u32], n_negatives: f64) -> Self {
        let mut weights = negatives.weights.clone();
        seen.iter().filter_map(|&item| negatives.place(item)).for_each(|place| weights[place] = 0.0);
        Self { negatives, weights, n_negatives }
    }

    /// Returns the first `n` weights, and the factor that makes them add up to what they should.
    fn first(&self, n: usize) -> (&[f32], f64) {
        let weights = &self.weights[..n];
        let all: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        (weights, if all > 0.0 { self.n_negatives / all } else { 0.0 })
    }

    fn logistic(&self, n: usize, x: &[f64], n_rows: f64) -> (f64, f64, Vec<f32>) {
        let (weights, factor) = self.first(n);
        let factor = factor * n_rows;
        let mut sum = Logistic::default();
        let pulled = self.negatives.walk(weights, x, &mut sum);
        (factor * sum.loss, factor, pulled)
    }

    fn pairs(
        &self,
        n: usize,
        x: &[f64],
        seen: &[f64],
        by_age: &[f64],
        slopes: &mut [f64],
    ) -> (f64, f64, Vec<f32>) {
        let (weights, factor) = self.first(n);
        let [seen, by_age] = [seen, by_age].map(|of| of.iter().map(|&of| of as f32).collect::<Vec<f32>>());
        let mut pairs = Pairs::new(&seen, &by_age);
        let pulled = self.negatives.walk(weights, x, &mut pairs);
        slopes.iter_mut().zip(&pairs.slopes).for_each(|(slope, of)| *slope += factor * f64::from(*of));
        (factor * pairs.loss, factor, pulled)
    }

    fn softmax(
        &self,
        n: usize,
        x: &[f64],
        seen: &[f64],
        by_age: &[f64],
        slopes: &mut [f64],
    ) -> (f64, f64, Vec<f32>) {
        let (weights, factor) = self.first(n);
        let most = seen.iter().fold(f64::NEG_INFINITY, |most, &s| most.max(s));
        let mut others = Exponential { most: most as f32, sum: 0.0 };
        let pulled = self.negatives.walk(weights, x, &mut others);
        let (most, all) = (f64::from(others.most), factor * others.sum);
        let (mut loss, mut shares) = (0.0, 0.0);
        for ((slope, s), by) in slopes.iter_mut().zip(seen).zip(by_age) {
            let own = (s - most).exp();
            let both = (own + all).max(f64::MIN_POSITIVE);
            loss += by * (both.ln() + most - s);
            *slope = by * (own / both - 1.0);
            shares += by / both;
        }
        (loss, factor * shares, pulled)
    }
}

#[cfg(test)]
mod tests;
