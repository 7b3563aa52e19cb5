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
//! All are convex in x, so the answer does not depend on where the search starts. For `bpr` each seen item is compared
//! with at most [`CONTRASTS`] unseen ones, which are spread over the catalogue and differ from seen item to seen item;
//! their weight is scaled up, so that they stand for all unseen items.

use std::sync::Arc;

use burnrec_data::Csr;
use rayon::prelude::*;

use super::MfConfig;
use super::model::{MfModel, Side};
use crate::nn::loss::Loss;
use crate::scorer::{FoldIn, Scorer, check_histories};
use crate::{Error, Result};

/// How many unseen items each seen one is compared with for `bpr`.
const CONTRASTS: usize = 100;

/// Keeps the answer finite where `reg` is 0 and a history can be fitted exactly.
const LEAST_REG: f64 = 1e-6;

impl FoldIn for MfModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer>> {
        check_histories(histories, self.n_items())?;
        if let Some(value) = histories.values().iter().find(|value| !value.is_finite()) {
            return Err(Error::FoldIn { found: value.to_string(), expected: "finite values".into() });
        }
        let rows: Vec<Vec<f64>> = (0..histories.n_rows())
            .into_par_iter()
            .map(|row| {
                let user = UserLoss::new(self, histories.row(row));
                minimise(vec![0.0; self.config.dim + 1], |x, gradient| user.at(x, gradient))
            })
            .collect();
        let dim = self.config.dim;
        let users = Side {
            vectors: rows.iter().flat_map(|x| x[..dim].iter().map(|&value| value as f32)).collect(),
            biases: rows.iter().map(|x| x[dim] as f32).collect(),
        };
        let items = Arc::clone(&self.items);
        Ok(Box::new(MfModel { config: self.config.clone(), mean: self.mean, users, items }))
    }
}

/// The loss of one user's row over the user's history.
struct UserLoss<'a> {
    model: &'a MfModel,
    seen: &'a [u32],
    ratings: &'a [f32],
    /// The unseen items; empty where the loss does not use them.
    unseen: Vec<u32>,
    /// The weight of an unseen item, for each item seen.
    weight: f64,
    reg: f64,
}

impl<'a> UserLoss<'a> {
    fn new(model: &'a MfModel, (seen, ratings): (&'a [u32], &'a [f32])) -> Self {
        let MfConfig { loss, negatives, reg, .. } = model.config;
        let n_negatives = loss.negatives(negatives) as f64;
        let mut left = seen.iter().peekable();
        let unseen: Vec<u32> = match n_negatives > 0.0 && !seen.is_empty() {
            true => (0..model.n_items() as u32).filter(|item| left.next_if_eq(&item).is_none()).collect(),
            false => Vec::new(),
        };
        let weight = n_negatives / unseen.len().max(1) as f64;
        let reg = f64::from(reg).max(LEAST_REG) * seen.len() as f64 * (1.0 + n_negatives);
        Self { model, seen, ratings, unseen, weight, reg }
    }

    /// Returns the loss at `x`, and writes its gradient.
    fn at(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let score = |&item: &u32| self.score(x, item as usize);
        let seen: Vec<f64> = self.seen.iter().map(score).collect();
        let unseen: Vec<f64> = self.unseen.iter().map(score).collect();
        let (mut grad_seen, mut grad_unseen) = (vec![0.0; seen.len()], vec![0.0; unseen.len()]);
        let loss = match self.model.config.loss {
            Loss::Mse => self.squares(&seen, &mut grad_seen),
            Loss::Bce => self.cross_entropy(&seen, &unseen, &mut grad_seen, &mut grad_unseen),
            Loss::Bpr => self.pairs(&seen, &unseen, &mut grad_seen, &mut grad_unseen),
            Loss::Softmax => self.softmax(&seen, &unseen, &mut grad_seen, &mut grad_unseen),
        };
        let dim = self.model.config.dim;
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient = 2.0 * self.reg * x;
        }
        let items = self.seen.iter().chain(&self.unseen).zip(grad_seen.iter().chain(&grad_unseen));
        for (&item, &by_score) in items.filter(|(_, by_score)| **by_score != 0.0) {
            let vector = self.model.items.vector(item as usize, dim);
            gradient.iter_mut().zip(vector).for_each(|(gradient, &z)| *gradient += by_score * f64::from(z));
            gradient[dim] += by_score;
        }
        loss + self.reg * dot(x, x)
    }

    fn score(&self, x: &[f64], item: usize) -> f64 {
        let dim = self.model.config.dim;
        let vector = self.model.items.vector(item, dim);
        let dot: f64 = x.iter().zip(vector).map(|(&x, &z)| x * f64::from(z)).sum();
        f64::from(self.model.mean) + f64::from(self.model.items.biases[item]) + x[dim] + dot
    }

    // Each of the losses below returns its value, and writes its gradient by the scores.

    fn squares(&self, seen: &[f64], grad_seen: &mut [f64]) -> f64 {
        let mut loss = 0.0;
        for ((grad, s), &rating) in grad_seen.iter_mut().zip(seen).zip(self.ratings) {
            let error = s - f64::from(rating);
            loss += error * error;
            *grad = 2.0 * error;
        }
        loss
    }

    fn cross_entropy(
        &self,
        seen: &[f64],
        unseen: &[f64],
        grad_seen: &mut [f64],
        grad_unseen: &mut [f64],
    ) -> f64 {
        let weight = self.weight * seen.len() as f64;
        grad_seen.iter_mut().zip(seen).for_each(|(grad, s)| *grad = -sigmoid(-s));
        grad_unseen.iter_mut().zip(unseen).for_each(|(grad, s)| *grad = weight * sigmoid(*s));
        seen.iter().map(|s| softplus(-s)).sum::<f64>()
            + weight * unseen.iter().map(|s| softplus(*s)).sum::<f64>()
    }

    fn pairs(&self, seen: &[f64], unseen: &[f64], grad_seen: &mut [f64], grad_unseen: &mut [f64]) -> f64 {
        let n = unseen.len().min(CONTRASTS);
        let weight = self.weight * unseen.len() as f64 / n.max(1) as f64;
        let mut loss = 0.0;
        for (number, (s, grad)) in seen.iter().zip(grad_seen).enumerate() {
            for contrast in 0..n {
                let at = (contrast * unseen.len() / n + number) % unseen.len();
                loss += weight * softplus(unseen[at] - s);
                let by_difference = weight * sigmoid(unseen[at] - s);
                grad_unseen[at] += by_difference;
                *grad -= by_difference;
            }
        }
        loss
    }

    fn softmax(&self, seen: &[f64], unseen: &[f64], grad_seen: &mut [f64], grad_unseen: &mut [f64]) -> f64 {
        let most = seen.iter().chain(unseen).copied().fold(f64::NEG_INFINITY, f64::max);
        let all = self.weight * unseen.iter().map(|s| (s - most).exp()).sum::<f64>();
        let (mut loss, mut shares) = (0.0, 0.0);
        for (grad, s) in grad_seen.iter_mut().zip(seen) {
            let own = (s - most).exp();
            let both = (own + all).max(f64::MIN_POSITIVE);
            loss += both.ln() + most - s;
            *grad = own / both - 1.0;
            shares += self.weight / both;
        }
        grad_unseen.iter_mut().zip(unseen).for_each(|(grad, s)| *grad = shares * (s - most).exp());
        loss
    }
}

fn sigmoid(s: f64) -> f64 {
    1.0 / (1.0 + (-s).exp())
}

/// Returns `ln(1 + e^s)` without overflow.
fn softplus(s: f64) -> f64 {
    s.max(0.0) + (-s.abs()).exp().ln_1p()
}

/// How many earlier steps L-BFGS remembers.
const MEMORY: usize = 10;

/// Returns the minimum of a smooth convex function, by L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with
/// backtracking. `f` returns the value at a point and writes the gradient.
fn minimise(mut x: Vec<f64>, f: impl Fn(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = f(&x, &mut gradient);
    let mut steps: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..100 {
        let direction = descent(&gradient, &steps);
        let derivative = dot(&gradient, &direction);
        // Stops when one more full step can lower the value by no more than a negligible fraction of it.
        if -derivative <= 1e-10 * value.abs() {
            break;
        }
        let mut length = if steps.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let mut next_gradient = vec![0.0; x.len()];
        let (next, next_value) = loop {
            let next: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let next_value = f(&next, &mut next_gradient);
            if next_value <= value + 1e-4 * length * derivative {
                break (next, next_value);
            }
            length /= 2.0;
            if length < 1e-10 {
                // Rounding hides any further descent.
                return x;
            }
        };
        let s: Vec<f64> = next.iter().zip(&x).map(|(next, x)| next - x).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, old)| next - old).collect();
        if dot(&s, &y) > 0.0 {
            if steps.len() == MEMORY {
                steps.remove(0);
            }
            steps.push((s, y));
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// Returns the direction of the next step by the two-loop recursion: minus the gradient times the inverse Hessian that
/// the earlier steps `s` and the changes `y` of the gradient over them approximate.
fn descent(gradient: &[f64], steps: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for (s, y) in steps.iter().rev() {
        let share = dot(s, &direction) / dot(s, y);
        direction.iter_mut().zip(y).for_each(|(d, y)| *d -= share * y);
        shares.push(share);
    }
    if let Some((s, y)) = steps.last() {
        let scale = dot(s, y) / dot(y, y);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((s, y), share) in steps.iter().zip(shares.into_iter().rev()) {
        let correction = share - dot(y, &direction) / dot(s, y);
        direction.iter_mut().zip(s).for_each(|(d, s)| *d += correction * s);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::params::{Init, drawn};

    fn model(config: MfConfig, n_users: usize, n_items: usize) -> MfModel {
        let mut draw = drawn(3);
        let mut side = |vectors, biases, n| {
            let mut get = |name, cols| draw(name, [n, cols], Init::Normal { std: 0.7 }).expect("drawn");
            Side { vectors: get(vectors, config.dim), biases: get(biases, 1) }
        };
        let users = side("users", "user_bias", n_users);
        let items = Arc::new(side("items", "item_bias", n_items));
        MfModel { mean: -0.3, users, items, config }
    }

    fn configs() -> [MfConfig; 5] {
        let bce = MfConfig { dim: 5, reg: 0.02, negatives: 3, ..MfConfig::default() };
        let of = |loss| MfConfig { loss, ..bce.clone() };
        [of(Loss::Bce), MfConfig { reg: 0.0, ..bce.clone() }, of(Loss::Bpr), of(Loss::Softmax), of(Loss::Mse)]
    }

    fn histories(n_items: usize) -> Csr {
        let few: Vec<u32> = vec![0, 4, 7];
        let all: Vec<u32> = (0..n_items as u32).collect();
        let cols = [few.clone(), all].concat();
        let values = cols.iter().map(|&col| 1.0 + (col % 5) as f32).collect();
        Csr::new(n_items, vec![0, few.len(), few.len(), cols.len()], cols, values)
    }

    #[test]
    fn gradients_are_the_finite_differences_of_the_loss() {
        for config in configs() {
            let model = model(config, 1, 12);
            let histories = histories(12);
            let user = UserLoss::new(&model, histories.row(0));
            let x: Vec<f64> = (0..6).map(|k| 0.3 * k as f64 - 0.8).collect();
            let (mut gradient, mut unused) = (vec![0.0; 6], vec![0.0; 6]);
            user.at(&x, &mut gradient);
            for k in 0..6 {
                let mut at = |step: f64| {
                    let mut x = x.clone();
                    x[k] += step;
                    user.at(&x, &mut unused)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((difference - gradient[k]).abs() < 1e-6, "{k}: {difference} and {}", gradient[k]);
            }
        }
    }

    #[test]
    fn a_folded_in_row_is_where_the_gradient_is_zero() {
        for config in configs() {
            let model = model(config, 1, 12);
            let histories = histories(12);
            let user = UserLoss::new(&model, histories.row(0));
            let x = minimise(vec![0.0; 6], |x, gradient| user.at(x, gradient));
            let mut gradient = vec![0.0; 6];
            let value = user.at(&x, &mut gradient);
            assert!(dot(&gradient, &gradient).sqrt() < 1e-3, "gradient {gradient:?} at value {value}");
        }
    }

    #[test]
    fn no_history_scores_by_the_items_alone_and_all_items_seen_is_no_trouble() {
        for config in configs() {
            let model = model(config, 1, 12);
            let histories = histories(12);
            let folded = model.fold_in(&histories).expect("folded in");
            assert_eq!(folded.n_users(), 3);
            let users = [0, 1, 2].map(burnrec_data::UserIx);
            let mut scores = vec![f32::NAN; 36];
            folded.score_catalog(&users, &mut scores);
            assert!(scores.iter().all(|score| score.is_finite()));
            for (item, score) in scores[12..24].iter().enumerate() {
                assert_eq!(*score, model.mean + model.items.biases[item]);
            }
        }
    }

    #[test]
    fn histories_that_do_not_fit_are_refused() {
        let model = model(MfConfig { dim: 5, ..MfConfig::default() }, 1, 12);
        let error = model.fold_in(&Csr::empty(1, 11)).err().expect("refused").to_string();
        assert_eq!(error, "fold-in: found histories over 11 items, expected 12 items, as the model has");
        let nan = Csr::new(12, vec![0, 1], vec![3], vec![f32::NAN]);
        assert!(model.fold_in(&nan).is_err());
    }
}
