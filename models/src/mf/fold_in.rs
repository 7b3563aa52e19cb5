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
//! All are convex in x, so the answer does not depend on where the search starts. Of a large catalogue some items stand for
//! all ([`Negatives`]). For `bpr` each seen item is compared with a part of these where all pairs would be over [`PAIRS`],
//! with another part than the one before. What is computed for each unseen item is in f32, all else in f64.

use std::sync::Arc;

use burnrec_data::Csr;
use rayon::prelude::*;

use super::MfConfig;
use super::lbfgs::{dot, minimise};
use super::model::{MfModel, Side};
use super::negatives::Negatives;
use crate::nn::loss::Loss;
use crate::scorer::{FoldIn, Scorer, check_histories};
use crate::simd::exp::{exp, ln_1p};
use crate::simd::vectorised;
use crate::{Error, Result};

/// The most pairs of a seen and an unseen item for `bpr`, but for what [`CONTRASTS`] asks for.
const PAIRS: usize = 1 << 14;

/// How many unseen items each seen one is compared with for `bpr`, at least.
const CONTRASTS: usize = 100;

/// Keeps the answer finite where `reg` is 0 and a history can be fitted exactly.
const LEAST_REG: f64 = 1e-6;

/// The search ends where the loss can fall by no more than about this part of it: f32 does not hold less.
const TOLERANCE: f64 = 1e-6;

impl FoldIn for MfModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        if let Some(value) = histories.values().iter().find(|value| !value.is_finite()) {
            return Err(Error::FoldIn { found: value.to_string(), expected: "finite values".into() });
        }
        let rows: Vec<Vec<f64>> =
            (0..histories.n_rows()).into_par_iter().map(|row| self.folded(histories.row(row))).collect();
        let dim = self.config.dim;
        let users = Side {
            vectors: rows.iter().flat_map(|x| x[..dim].iter().map(|&value| value as f32)).collect(),
            biases: rows.iter().map(|x| x[dim] as f32).collect(),
        };
        Ok(Box::new(Self::new(self.config.clone(), self.mean, users, Arc::clone(&self.items))))
    }
}

impl MfModel {
    /// Returns the vector and then the bias of the user with this history.
    fn folded(&self, history: (&[u32], &[f32])) -> Vec<f64> {
        let mut user = UserLoss::new(self, history);
        minimise(vec![0.0; self.config.dim + 1], TOLERANCE, |x, gradient| user.at(x, gradient))
    }

    /// Returns the score of an item by the user `x`, in f64.
    fn precise_score(&self, x: &[f64], item: u32) -> f64 {
        let dim = self.config.dim;
        let vector = self.items.vector(item as usize, dim);
        let dot: f64 = x.iter().zip(vector).map(|(&x, &z)| x * f64::from(z)).sum();
        f64::from(self.mean) + f64::from(self.items.biases[item as usize]) + x[dim] + dot
    }
}

/// The loss of one user's row over the user's history.
struct UserLoss<'a> {
    model: &'a MfModel,
    seen: &'a [u32],
    ratings: &'a [f32],
    /// Absent where the loss has no negatives, or there are none.
    unseen: Option<Unseen<'a>>,
    reg: f64,
}

/// The unseen items of a user.
struct Unseen<'a> {
    negatives: &'a Negatives,
    /// The weight of each drawn item for each item seen, 0 where the user has seen it; their sum is `negatives`.
    weights: Vec<f32>,
    /// The scores of the drawn items.
    scores: Vec<f32>,
    /// The derivatives of the loss by these.
    slopes: Vec<f32>,
}

impl<'a> UserLoss<'a> {
    fn new(model: &'a MfModel, (seen, ratings): (&'a [u32], &'a [f32])) -> Self {
        let MfConfig { loss, negatives, reg, .. } = model.config;
        let n_negatives = loss.negatives(negatives) as f64;
        let has_unseen = n_negatives > 0.0 && !seen.is_empty() && seen.len() < model.n_items();
        let unseen = has_unseen.then(|| Unseen::new(model.negatives(), seen, n_negatives));
        let reg = f64::from(reg).max(LEAST_REG) * seen.len() as f64 * (1.0 + n_negatives);
        Self { model, seen, ratings, unseen, reg }
    }

    /// Returns the loss at `x`, and writes its gradient.
    fn at(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let Self { model, seen, ratings, unseen, reg } = self;
        let scores: Vec<f64> = seen.iter().map(|&item| model.precise_score(x, item)).collect();
        let mut slopes = vec![0.0; scores.len()];
        gradient.iter_mut().zip(x).for_each(|(gradient, x)| *gradient = 2.0 * *reg * x);
        let mut loss = *reg * dot(x, x);
        loss += match model.config.loss {
            Loss::Mse => squares(&scores, ratings, &mut slopes),
            Loss::Bce => positives(&scores, &mut slopes),
            Loss::Bpr | Loss::Softmax => 0.0,
        };
        if let Some(unseen) = unseen {
            unseen.negatives.score(x, &mut unseen.scores);
            loss += match model.config.loss {
                Loss::Bpr => unseen.pairs(&scores, &mut slopes),
                Loss::Softmax => unseen.softmax(&scores, &mut slopes),
                Loss::Bce | Loss::Mse => unseen.logistic(scores.len()),
            };
            unseen.negatives.pull(&unseen.slopes, gradient);
        }
        let dim = model.config.dim;
        for (&item, &slope) in seen.iter().zip(&slopes) {
            let vector = model.items.vector(item as usize, dim);
            gradient.iter_mut().zip(vector).for_each(|(gradient, &z)| *gradient += slope * f64::from(z));
            gradient[dim] += slope;
        }
        loss
    }
}

// Each of the losses below returns its value, and writes or changes its derivatives by the scores.

fn squares(seen: &[f64], ratings: &[f32], slopes: &mut [f64]) -> f64 {
    let mut loss = 0.0;
    for ((slope, s), &rating) in slopes.iter_mut().zip(seen).zip(ratings) {
        let error = s - f64::from(rating);
        loss += error * error;
        *slope = 2.0 * error;
    }
    loss
}

fn positives(seen: &[f64], slopes: &mut [f64]) -> f64 {
    slopes.iter_mut().zip(seen).for_each(|(slope, s)| *slope = -1.0 / (1.0 + s.exp()));
    // ln(1 + e^-s) without overflow.
    seen.iter().map(|s| (-s).max(0.0) + (-s.abs()).exp().ln_1p()).sum()
}

impl<'a> Unseen<'a> {
    fn new(negatives: &'a Negatives, seen: &[u32], n_negatives: f64) -> Self {
        let mut weights = negatives.weights.clone();
        seen.iter().filter_map(|&item| negatives.place(item)).for_each(|place| weights[place] = 0.0);
        let all: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        if all > 0.0 {
            weights.iter_mut().for_each(|weight| *weight *= (n_negatives / all) as f32);
        }
        let zeros = || vec![0.0; weights.len()];
        Self { scores: zeros(), slopes: zeros(), negatives, weights }
    }

    /// The unseen items' part of cross-entropy, for a number of seen items.
    fn logistic(&mut self, n_seen: usize) -> f64 {
        self.slopes.fill(0.0);
        f64::from(contrast(&self.scores, 0.0, &self.weights, n_seen as f32, &mut self.slopes).0)
    }

    fn pairs(&mut self, seen: &[f64], slopes_of_seen: &mut [f64]) -> f64 {
        let Self { negatives, weights, scores, slopes } = self;
        let contrasts = (PAIRS / seen.len()).max(CONTRASTS);
        let all: f32 = weights.iter().sum();
        let (mut loss, mut start) = (0.0, 0);
        slopes.fill(0.0);
        for (&s, slope) in seen.iter().zip(slopes_of_seen) {
            let (runs, next) = negatives.runs(start, contrasts);
            start = next;
            let weight: f32 = runs.iter().map(|run| weights[run.clone()].iter().sum::<f32>()).sum();
            for run in runs.into_iter().filter(|_| weight > 0.0) {
                let (scores, weights) = (&scores[run.clone()], &weights[run.clone()]);
                let (value, sum) = contrast(scores, s as f32, weights, all / weight, &mut slopes[run]);
                loss += f64::from(value);
                *slope -= f64::from(sum);
            }
        }
        loss
    }

    fn softmax(&mut self, seen: &[f64], slopes_of_seen: &mut [f64]) -> f64 {
        let Self { weights, scores, slopes, .. } = self;
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let most = seen.iter().copied().fold(f64::from(most), f64::max);
        vectorised(|| {
            for ((slope, s), weight) in slopes.iter_mut().zip(&*scores).zip(&*weights) {
                *slope = weight * exp(s - most as f32);
            }
        });
        let all: f64 = slopes.iter().map(|&share| f64::from(share)).sum();
        let (mut loss, mut factor) = (0.0, 0.0);
        for (slope, s) in slopes_of_seen.iter_mut().zip(seen) {
            let own = (s - most).exp();
            let both = (own + all).max(f64::MIN_POSITIVE);
            loss += both.ln() + most - s;
            *slope = own / both - 1.0;
            factor += 1.0 / both;
        }
        slopes.iter_mut().for_each(|slope| *slope *= factor as f32);
        loss
    }
}

/// Returns `factor` times the weighted sum of `ln(1 + e^(s - at))` over the scores s, and the sum of its derivatives by
/// these, which are added to `slopes`.
fn contrast(scores: &[f32], at: f32, weights: &[f32], factor: f32, slopes: &mut [f32]) -> (f32, f32) {
    // Sums side by side, so that the compiler can use wide registers.
    const LANES: usize = 16;
    let (mut values, mut sums) = ([0.0f32; LANES], [0.0f32; LANES]);
    vectorised(|| {
        let chunks = scores.chunks(LANES).zip(weights.chunks(LANES)).zip(slopes.chunks_mut(LANES));
        for ((scores, weights), slopes) in chunks {
            let sums = values.iter_mut().zip(&mut sums);
            for ((((value, sum), s), weight), slope) in sums.zip(scores).zip(weights).zip(slopes) {
                let (difference, weight) = (s - at, factor * weight);
                let e = exp(-difference.abs());
                let sigmoid = if difference > 0.0 { 1.0 } else { e } / (1.0 + e);
                *value += weight * (difference.max(0.0) + ln_1p(e));
                *sum += weight * sigmoid;
                *slope += weight * sigmoid;
            }
        }
    });
    (values.iter().sum(), sums.iter().sum())
}

#[cfg(test)]
mod tests;
