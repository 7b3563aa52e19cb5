//! ALS with biases against sums over the entries in f64: its objective, and that a half sweep ends where the gradient is 0.

mod planted;

use burnrec_data::{Csr, UserIx};
use burnrec_models::als::{AlsConfig, AlsLearner, RegScaling, Solver};
use burnrec_models::{Learner, Silent};
use planted::ratings;

const DIM: usize = 6;

fn config(solver: Solver) -> AlsConfig {
    let explicit = AlsConfig { dim: DIM, biases: true, solver, ..AlsConfig::explicit() };
    AlsConfig { reg: 0.3, reg_scaling: RegScaling::Frequency, nu: 0.5, ..explicit }
}

/// Ratings of users who differ in how high they rate, and some of whom have none.
fn train() -> Csr {
    let all = ratings(60, 40);
    let row = |user: usize| {
        let (items, values) = all.row(user);
        let n = if user % 13 == 5 { 0 } else { items.len() };
        (items[..n].to_vec(), values[..n].iter().map(|value| value + (user % 5) as f32).collect::<Vec<f32>>())
    };
    let (mut offsets, mut cols, mut values) = (vec![0], Vec::new(), Vec::new());
    for user in 0..60 {
        let (its_items, its_values) = row(user);
        cols.extend(its_items);
        values.extend(its_values);
        offsets.push(cols.len());
    }
    Csr::new(40, offsets, cols, values)
}

/// A side's vectors with their biases, in f64.
fn rows(side: &[f32]) -> Vec<(Vec<f64>, f64)> {
    let wide = |row: &[f32]| (row[..DIM].iter().map(|&x| f64::from(x)).collect(), f64::from(row[DIM]));
    side.chunks_exact(DIM + 1).map(wide).collect()
}

fn mean(train: &Csr) -> f64 {
    train.values().iter().map(|&value| f64::from(value)).sum::<f64>() / train.nnz() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn reg(n: usize) -> f64 {
    f64::from(0.3f32) * (n as f64).sqrt()
}

#[test]
fn the_objective_is_that_of_the_entries() {
    let train = train();
    let mut learner = AlsLearner::new(&train, config(Solver::Cg), 3).expect("a learner");
    for _ in 0..3 {
        learner.epoch(&Silent).expect("an epoch");
        let (users, items) = (rows(learner.factors().0), rows(learner.factors().1));
        let mut expected = 0.0;
        for (user, (p, b)) in users.iter().enumerate() {
            let (cols, values) = train.row(user);
            expected += reg(cols.len()) * (dot(p, p) + b * b);
            for (&item, &value) in cols.iter().zip(values) {
                let (q, c) = &items[item as usize];
                expected += (f64::from(value) - mean(&train) - b - c - dot(p, q)).powi(2);
            }
        }
        let transposed = train.transpose();
        for (item, (q, c)) in items.iter().enumerate() {
            expected += reg(transposed.row(item).0.len()) * (dot(q, q) + c * c);
        }
        let found = learner.objective().total();
        assert!((found - expected).abs() < 1e-4 * expected, "{found}, expected {expected}");
    }
}

#[test]
fn an_epoch_ends_where_no_user_can_lower_the_objective() {
    let train = train();
    let mut learner = AlsLearner::new(&train, config(Solver::Cholesky), 3).expect("a learner");
    learner.epoch(&Silent).expect("an epoch");
    let (users, items) = (rows(learner.factors().0), rows(learner.factors().1));
    for (user, (p, b)) in users.iter().enumerate() {
        let (cols, values) = train.row(user);
        let reg = reg(cols.len());
        let mut gradient: Vec<f64> = p.iter().chain([b]).map(|x| -reg * x).collect();
        for (&item, &value) in cols.iter().zip(values) {
            let (q, c) = &items[item as usize];
            let error = f64::from(value) - mean(&train) - b - c - dot(p, q);
            q.iter().chain([&1.0]).zip(&mut gradient).for_each(|(x, gradient)| *gradient += error * x);
        }
        assert!(gradient.iter().all(|x| x.abs() < 2e-4), "{user}: {gradient:?}");
        assert!(cols.is_empty() == (*b == 0.0), "{user} has the bias {b}");
    }
}

#[test]
fn scores_are_the_mean_the_biases_and_the_dot_product() {
    let train = train();
    let mut learner = AlsLearner::new(&train, config(Solver::Cg), 3).expect("a learner");
    learner.epoch(&Silent).expect("an epoch");
    let (users, items) = (rows(learner.factors().0), rows(learner.factors().1));
    let model = learner.model();
    let mut scores = vec![0.0; 40];
    for (user, (p, b)) in users.iter().enumerate() {
        model.score_catalog(&[UserIx(user as u32)], &mut scores);
        for ((q, c), &found) in items.iter().zip(&scores) {
            let expected = mean(&train) + b + c + dot(p, q);
            assert!((f64::from(found) - expected).abs() < 1e-4, "{found}, expected {expected}");
        }
    }
    assert_eq!(model.item_vectors().expect("vectors").dim, DIM, "biases are no part of what items are like");
}
