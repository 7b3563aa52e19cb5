//! Folding users into matrix factorisation: the row that minimises the training loss over their histories, with the
//! items as they stand.
//!
//! For `loss = "bce"` the drawn negatives are replaced by what they are on average: every unseen item counts with the
//! weight `negatives * n_seen / n_unseen`. With z = (item vector, 1), s = mean + item bias + x · z and x = (user
//! vector, user bias), a user who has seen the items H minimises
//!
//! ```text
//! sum over H of ln(1 + e^-s) + weight * sum over unseen of ln(1 + e^s) + reg * n_samples * |x|^2
//! ```
//!
//! and for `loss = "mse"` the sum over H of `(rating - s)^2`, with the same regulariser. Both are convex in x, so the
//! answer does not depend on where the search starts.

use std::sync::Arc;

use burnrec_data::Csr;
use rayon::prelude::*;

use super::{MfModel, Side};
use crate::config::Loss;
use crate::{Error, FoldIn, Result, Scorer};

/// Keeps the answer finite where `reg` is 0 and a history can be met exactly.
const LEAST_REG: f64 = 1e-6;

impl FoldIn for MfModel {
    fn fold_in(&self, histories: &Csr) -> Result<Box<dyn Scorer + '_>> {
        if histories.n_cols() != self.n_items() {
            let found = format!("histories over {} items", histories.n_cols());
            return Err(Error::FoldIn {
                found,
                expected: format!("{} items, as the model has", self.n_items()),
            });
        }
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
    unseen_weight: f64,
    reg: f64,
}

impl<'a> UserLoss<'a> {
    fn new(model: &'a MfModel, (seen, ratings): (&'a [u32], &'a [f32])) -> Self {
        let n_seen = seen.len() as f64;
        let n_negatives = match model.config.loss {
            Loss::Bce => n_seen * model.config.negatives as f64,
            Loss::Mse => 0.0,
        };
        let n_unseen = (model.n_items() - seen.len()).max(1) as f64;
        let reg = f64::from(model.config.reg).max(LEAST_REG) * (n_seen + n_negatives);
        Self { model, seen, ratings, unseen_weight: n_negatives / n_unseen, reg }
    }

    /// The loss at `x`, and its gradient.
    fn at(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let dim = self.model.config.dim;
        for (slope, x) in gradient.iter_mut().zip(x) {
            *slope = 2.0 * self.reg * x;
        }
        let mut loss = self.reg * x.iter().map(|x| x * x).sum::<f64>();
        let mut add = |item: usize, sample: &dyn Fn(f64) -> (f64, f64)| {
            let vector = self.model.items.vector(item, dim);
            let dot: f64 = x.iter().zip(vector).map(|(&x, &z)| x * f64::from(z)).sum();
            let (part, slope) =
                sample(f64::from(self.model.mean) + f64::from(self.model.items.biases[item]) + x[dim] + dot);
            loss += part;
            gradient[dim] += slope;
            gradient.iter_mut().zip(vector).for_each(|(gradient, &z)| *gradient += slope * f64::from(z));
        };
        match self.model.config.loss {
            Loss::Mse => {
                for (&item, &rating) in self.seen.iter().zip(self.ratings) {
                    add(item as usize, &|s| ((s - f64::from(rating)).powi(2), 2.0 * (s - f64::from(rating))));
                }
            }
            Loss::Bce => {
                let mut seen = self.seen.iter().peekable();
                for item in 0..self.model.n_items() {
                    if seen.next_if_eq(&&(item as u32)).is_some() {
                        add(item, &|s| (softplus(-s), -sigmoid(-s)));
                    } else if self.unseen_weight > 0.0 {
                        add(item, &|s| (self.unseen_weight * softplus(s), self.unseen_weight * sigmoid(s)));
                    }
                }
            }
        }
        loss
    }
}

fn sigmoid(s: f64) -> f64 {
    1.0 / (1.0 + (-s).exp())
}

/// `ln(1 + e^s)` without overflow.
fn softplus(s: f64) -> f64 {
    s.max(0.0) + (-s.abs()).exp().ln_1p()
}

/// How many earlier steps the search remembers.
const MEMORY: usize = 10;

/// The minimum of a smooth convex function, by L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with
/// backtracking. `f` gives the value at a point and fills in the gradient.
fn minimise(mut x: Vec<f64>, f: impl Fn(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    let mut value = f(&x, &mut gradient);
    let mut steps: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..100 {
        let direction = descent(&gradient, &steps);
        let slope = dot(&gradient, &direction);
        // What one more full step can still gain, beside what is there.
        if -slope <= 1e-10 * value.abs() {
            break;
        }
        let mut length = if steps.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let mut next_gradient = vec![0.0; x.len()];
        let (next, next_value) = loop {
            let next: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let next_value = f(&next, &mut next_gradient);
            if next_value <= value + 1e-4 * length * slope {
                break (next, next_value);
            }
            length /= 2.0;
            if length < 1e-10 {
                // Rounding hides any further descent.
                return x;
            }
        };
        let moved: Vec<f64> = next.iter().zip(&x).map(|(next, x)| next - x).collect();
        let bent: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, old)| next - old).collect();
        if dot(&moved, &bent) > 0.0 {
            if steps.len() == MEMORY {
                steps.remove(0);
            }
            steps.push((moved, bent));
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// The two-loop recursion: minus the gradient times the inverse curvature that the earlier steps have shown.
fn descent(gradient: &[f64], steps: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for (moved, bent) in steps.iter().rev() {
        let share = dot(moved, &direction) / dot(moved, bent);
        direction.iter_mut().zip(bent).for_each(|(d, bent)| *d -= share * bent);
        shares.push(share);
    }
    if let Some((moved, bent)) = steps.last() {
        let scale = dot(moved, bent) / dot(bent, bent);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((moved, bent), share) in steps.iter().zip(shares.into_iter().rev()) {
        let correction = share - dot(bent, &direction) / dot(moved, bent);
        direction.iter_mut().zip(moved).for_each(|(d, moved)| *d += correction * moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mf::MfConfig;
    use crate::params::{Init, drawn};

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

    fn configs() -> [MfConfig; 3] {
        let bce = MfConfig { dim: 5, reg: 0.02, negatives: 3, ..MfConfig::default() };
        [bce.clone(), MfConfig { reg: 0.0, ..bce.clone() }, MfConfig { loss: Loss::Mse, ..bce }]
    }

    fn histories(n_items: usize) -> Csr {
        let few: Vec<u32> = vec![0, 4, 7];
        let all: Vec<u32> = (0..n_items as u32).collect();
        let cols = [few.clone(), all].concat();
        let values = cols.iter().map(|&col| 1.0 + (col % 5) as f32).collect();
        Csr::new(n_items, vec![0, few.len(), few.len(), cols.len()], cols, values)
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
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
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((slope - gradient[k]).abs() < 1e-6, "{k}: {slope} and {}", gradient[k]);
            }
        }
    }

    #[test]
    fn a_folded_row_is_where_the_gradient_ends() {
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
