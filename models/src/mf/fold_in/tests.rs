//! Folded-in users against the exact minimum: the loss over the whole catalogue, in f64.

use burnrec_data::UserIx;

use super::super::negatives::{LEAST_DRAWN_REG, MOST};
use super::*;
use crate::least_squares::BiasedDots;
use crate::nn::params::{Init, drawn};

/// Items whose vectors have a standard deviation of 0.7, and biases too.
fn model(config: MfConfig, n_items: usize) -> MfModel {
    let mut draw = drawn(3);
    let mut side = |vectors, biases, n| {
        let mut get = |name, cols| draw(name, [n, cols], Init::Normal { std: 0.7 }).expect("drawn");
        let vectors = Arc::new(get(vectors, config.dim));
        Side { vectors, biases: Arc::new(get(biases, 1)) }
    };
    let users = side("users", "user_bias", 1);
    let items = side("items", "item_bias", n_items);
    MfModel::new(config, -0.3, users, items)
}

fn configs(dim: usize) -> [MfConfig; 5] {
    let bce = MfConfig { dim, reg: 0.02, negatives: 3, ..MfConfig::default() };
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

/// Returns the score of an item by the user `x`, in f64.
fn score(model: &MfModel, x: &[f64], item: u32) -> f64 {
    let dim = model.config.dim;
    let BiasedDots { mean, items, .. } = &model.dots;
    let vector = items.side().row(item as usize, dim);
    let dot: f64 = x.iter().zip(vector).map(|(&x, &z)| x * f64::from(z)).sum();
    f64::from(*mean) + f64::from(items.side().biases[item as usize]) + x[dim] + dot
}

fn sigmoid(s: f64) -> f64 {
    1.0 / (1.0 + (-s).exp())
}

fn softplus(s: f64) -> f64 {
    s.max(0.0) + (-s.abs()).exp().ln_1p()
}

/// Returns the loss at `x` by the formulas of the module's documentation, over all unseen items, and writes its gradient; rows
/// have the weights `by_age`, or all 1.
fn exact(
    model: &MfModel,
    (seen, ratings): (&[u32], &[f32]),
    by_age: Option<&[f32]>,
    x: &[f64],
    gradient: &mut [f64],
) -> f64 {
    let by_age: Vec<f64> = (0..seen.len()).map(|at| by_age.map_or(1.0, |by| by[at].into())).collect();
    let MfConfig { dim, loss: kind, negatives, reg, .. } = model.config;
    let n_negatives = kind.negatives(negatives) as f64;
    let unseen: Vec<u32> =
        (0..model.n_items() as u32).filter(|item| seen.binary_search(item).is_err()).collect();
    let weight = n_negatives / unseen.len().max(1) as f64;
    let reg = f64::from(reg).max(LEAST_REG) * by_age.iter().sum::<f64>() * (1.0 + n_negatives);
    let all: Vec<u32> = seen.iter().chain(&unseen).copied().collect();
    let scores: Vec<f64> = all.iter().map(|&item| score(model, x, item)).collect();
    let (of_seen, of_unseen) = scores.split_at(seen.len());
    let mut slopes = vec![0.0; scores.len()];
    let (slopes_of_seen, slopes_of_unseen) = slopes.split_at_mut(seen.len());
    let mut loss = reg * dot(x, x);
    for (((&s, slope), &rating), by) in of_seen.iter().zip(slopes_of_seen).zip(ratings).zip(&by_age) {
        let pairs = of_unseen.iter().zip(slopes_of_unseen.iter_mut());
        match kind {
            Loss::Mse => {
                let error = s - f64::from(rating);
                loss += by * error * error;
                *slope = by * 2.0 * error;
            }
            Loss::Bce => {
                loss += by * softplus(-s);
                *slope = by * -sigmoid(-s);
                for (&other, slope) in pairs {
                    loss += by * weight * softplus(other);
                    *slope += by * weight * sigmoid(other);
                }
            }
            Loss::Bpr => {
                for (&other, slope_of_other) in pairs {
                    loss += by * weight * softplus(other - s);
                    *slope_of_other += by * weight * sigmoid(other - s);
                    *slope -= by * weight * sigmoid(other - s);
                }
            }
            Loss::Softmax => {
                let sum = s.exp() + weight * of_unseen.iter().map(|other| other.exp()).sum::<f64>();
                loss += by * (sum.ln() - s);
                *slope = by * (s.exp() / sum - 1.0);
                pairs.for_each(|(other, slope)| *slope += by * weight * other.exp() / sum);
            }
        }
    }
    gradient.iter_mut().zip(x).for_each(|(gradient, x)| *gradient = 2.0 * reg * x);
    for (&item, &slope) in all.iter().zip(&slopes) {
        let vector = model.dots.items.side().row(item as usize, dim);
        gradient.iter_mut().zip(vector).for_each(|(gradient, &z)| *gradient += slope * f64::from(z));
        gradient[dim] += slope;
    }
    loss
}

/// Returns the loss of the folded-in row over the whole catalogue, and the least there is.
fn losses(model: &MfModel, history: (&[u32], &[f32]), by_age: Option<&[f32]>) -> (f64, f64) {
    let mut gradient = vec![0.0; model.config.dim + 1];
    let found = exact(model, history, by_age, &model.folded(history, by_age), &mut gradient);
    let mut search = Search::new(vec![0.0; model.config.dim + 1]);
    search.descend(1e-9, |x, gradient| exact(model, history, by_age, x, gradient));
    (found, exact(model, history, by_age, &search.x, &mut gradient))
}

/// Weights of rows, none twice.
fn weights_of(history: (&[u32], &[f32])) -> Vec<f32> {
    (0..history.0.len()).map(|at| (-0.4 * at as f32).exp()).collect()
}

#[test]
fn gradients_are_the_finite_differences_of_the_exact_loss() {
    for config in configs(5) {
        let model = model(config, 12);
        let histories = histories(12);
        let x: Vec<f64> = (0..6).map(|k| 0.3 * k as f64 - 0.8).collect();
        for (row, is_weighted) in [(0, false), (2, false), (0, true), (2, true)] {
            let by_age = weights_of(histories.row(row));
            let by_age = is_weighted.then_some(&by_age[..]);
            let user = UserLoss::new(&model, histories.row(row), by_age);
            let (mut gradient, mut unused) = (vec![0.0; 6], vec![0.0; 6]);
            let (all, _) = *user.stages().last().expect("a stage");
            let loss = user.at(all, &x, &mut gradient);
            let expected = exact(&model, histories.row(row), by_age, &x, &mut unused);
            assert!((loss - expected).abs() < 1e-5 * expected.max(1.0), "{loss}, in f64 {expected}");
            for k in 0..6 {
                let mut at = |step: f64| {
                    let mut x = x.clone();
                    x[k] += step;
                    exact(&model, histories.row(row), by_age, &x, &mut unused)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                let near = (difference - gradient[k]).abs() < 1e-4 * difference.abs().max(1.0);
                assert!(near, "{k}: {difference} and {}", gradient[k]);
            }
        }
    }
}

#[test]
fn in_a_small_catalogue_a_folded_in_row_is_the_minimum() {
    for config in configs(5) {
        for n_items in [12, 300, 3000] {
            let model = model(config.clone(), n_items);
            let histories = histories(n_items);
            for row in [0, 2] {
                let by_age = weights_of(histories.row(row));
                for by_age in [None, Some(&by_age[..])] {
                    let (found, least) = losses(&model, histories.row(row), by_age);
                    assert!(found <= least + 1e-4 * least.max(1e-2), "{found}, least {least}: {config:?}");
                }
            }
        }
    }
}

#[test]
fn in_a_large_catalogue_the_loss_is_within_a_hundredth_of_the_least() {
    let n_items = 20_000;
    let losses_of = [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse];
    let model =
        |loss, reg| model(MfConfig { dim: 16, loss, reg, negatives: 4, ..MfConfig::default() }, n_items);
    for (loss, reg) in losses_of.into_iter().flat_map(|loss| [0.0, LEAST_DRAWN_REG].map(|reg| (loss, reg))) {
        let model = model(loss, reg);
        // Without a regulariser all items are needed.
        assert_eq!(model.negatives().weights.len() <= MOST, reg > 0.0);
        let all: f32 = model.negatives().weights.iter().sum();
        assert!((all / n_items as f32 - 1.0).abs() < 0.02, "{all} items of {n_items}");
        for (user, n_seen) in [(0, 5), (1, 20), (2, 60)] {
            let seen: Vec<u32> = (0..n_seen).map(|at| (at * 20_000 / n_seen + 37 * user) as u32).collect();
            let ratings: Vec<f32> = seen.iter().map(|item| 1.0 + (item % 5) as f32).collect();
            let (found, least) = losses(&model, (&seen, &ratings), None);
            assert!(found <= 1.01 * least, "{loss:?}, reg {reg}, {n_seen} seen: {found}, least {least}");
        }
    }
}

#[test]
fn a_row_is_the_same_for_every_model_number_of_threads_and_company() {
    let n_items = 10_000;
    for loss in [Loss::Bce, Loss::Bpr, Loss::Softmax, Loss::Mse] {
        let config = MfConfig { dim: 16, loss, ..MfConfig::default() };
        let (model, other) = (model(config.clone(), n_items), model(config, n_items));
        let cols: Vec<u32> = (0..40).map(|at| at % 20 * 400 + at / 20).collect();
        let histories = Csr::new(n_items, vec![0, 20, 40], cols, vec![4.0; 40]);
        let rows = [0, 1].map(|row| other.folded(histories.row(row), None));
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let folded = pool.install(|| model.fold_in(&histories)).expect("folded in");
            let vectors: Vec<f32> =
                rows.iter().flat_map(|row| row[..16].iter().map(|&value| value as f32)).collect();
            assert_eq!(
                folded.user_vectors().expect("vectors").values,
                vectors,
                "{loss:?}, {threads} threads"
            );
        }
    }
}

#[test]
fn no_history_scores_by_the_items_alone_and_all_items_seen_is_no_trouble() {
    for config in configs(5) {
        let model = model(config, 12);
        let histories = histories(12);
        let folded = model.fold_in(&histories).expect("folded in");
        assert_eq!(folded.n_users(), 3);
        let users = [0, 1, 2].map(UserIx);
        let mut scores = vec![f32::NAN; 36];
        folded.score_catalog(&users, &mut scores);
        assert!(scores.iter().all(|score| score.is_finite()));
        for (item, score) in scores[12..24].iter().enumerate() {
            assert_eq!(*score, model.dots.mean + model.dots.items.side().biases[item]);
        }
    }
}

#[test]
fn histories_that_do_not_fit_are_refused() {
    let model = model(MfConfig { dim: 5, ..MfConfig::default() }, 12);
    let error = model.fold_in(&Csr::empty(1, 11)).err().expect("refused").to_string();
    assert_eq!(error, "fold-in: found histories over 11 items, expected 12 items, as the model has");
    let nan = Csr::new(12, vec![0, 1], vec![3], vec![f32::NAN]);
    assert!(model.fold_in(&nan).is_err());
}
