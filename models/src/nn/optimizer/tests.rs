use burn_tensor::{Device, TensorData};

use super::*;
use crate::nn::params::on_host;

const WIDTH: usize = 3;

/// Returns a matrix `[rows, WIDTH]` of different values.
fn matrix(rows: usize, factor: f32) -> Tensor<2> {
    let values = (0..rows * WIDTH).map(|k| factor * ((k as f32 * 1.7).sin() + 0.3)).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [rows, WIDTH]), &Device::flex())
}

fn batch() -> Batch {
    Batch::new(&[4, 1, 4, 2], 6, &[0, 1, 2, 3], 4)
}

fn steps(config: &NnTraining, lazy: bool, n: usize, gradient: impl Fn(&Tensor<2>) -> Gradient) -> Vec<f32> {
    let (mut weight, mut optimizer) = (matrix(6, 1.0), OptimizerState::new(config, [lazy; 2]));
    for _ in 0..n {
        let grad = gradient(&weight);
        optimizer.step(vec![("weight", &mut weight)], vec![grad], Some(&batch()), 0.0);
    }
    on_host(&weight)
}

#[track_caller]
fn near(ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() < 1e-5, "{ours} and {theirs}");
    }
}

/// Returns the gradient of `w^3 + 0.3 w^2`.
fn cubic(w: f64) -> f64 {
    3.0 * w * w + 0.6 * w
}

/// Returns a weight after so many steps of Adam down [`cubic`]: Kingma and Ba 2015, algorithm 1, line by line.
fn adam_as_published(mut w: f64, steps: i32) -> f64 {
    const BETA_1: f64 = 0.9;
    const BETA_2: f64 = 0.999;
    let (mut m, mut v) = (0.0, 0.0);
    for t in 1..=steps {
        let g = cubic(w);
        m = BETA_1 * m + (1.0 - BETA_1) * g;
        v = BETA_2 * v + (1.0 - BETA_2) * g * g;
        let (m_hat, v_hat) = (m / (1.0 - BETA_1.powi(t)), v / (1.0 - BETA_2.powi(t)));
        w -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
    }
    w
}

#[test]
fn adam_takes_the_steps_of_its_paper() {
    let config = NnTraining { learning_rate: 0.01, ..NnTraining::default() };
    let grad = |weight: &Tensor<2>| weight.clone().square() * 3.0 + weight.clone() * 0.6;
    for n in [1, 2, 20] {
        let ours = steps(&config, false, n, |weight| Gradient::Whole(grad(weight)));
        let start = on_host(&matrix(6, 1.0));
        let expected = start.iter().map(|&w| adam_as_published(f64::from(w), n as i32) as f32);
        near(&ours, &expected.collect::<Vec<_>>());
    }
}

/// The expected values were computed with numpy 2.4.6 in float64, by the same algorithm on whole arrays:
/// `g = 3 * w**2 + 0.6 * w`, `m = 0.9 * m + 0.1 * g`, `v = 0.999 * v + 0.001 * g**2`,
/// `w = w - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)` from `w = [0.25, -0.625, 1.25, 0.0625]`.
#[test]
fn the_paper_is_transcribed_as_numpy_has_it() {
    let start = [0.25, -0.625, 1.25, 0.0625];
    let after = [
        (1, [0.24000000029629628, -0.6349999998745098, 1.2400000000183908, 0.05250000203174561]),
        (2, [0.2300214861901186, -0.6450082830575227, 1.2300041768240184, 0.04261097821737392]),
        (20, [0.07273248004376015, -0.8318200603532464, 1.0539491235824718, -0.013427111311567923]),
    ];
    for (n, expected) in after {
        for (w, expected) in start.into_iter().zip(expected) {
            let found = adam_as_published(w, n);
            assert!((found - expected).abs() < 1e-12, "{w} after {n} steps: {found} and {expected}");
        }
    }
}

/// Returns a gradient by the rows 1, 2 and 4.
fn of_users(weight: &Tensor<2>) -> Gradient {
    let rows = [1, 2, 4].map(|row| weight.clone().slice(row..row + 1) * 0.5 + 0.1);
    Gradient::Users(Tensor::cat(rows.into(), 0))
}

#[test]
fn a_dense_step_updates_untouched_rows_by_their_moments() {
    let config = NnTraining { learning_rate: 0.01, weight_decay: 0.1, ..NnTraining::default() };
    for optimizer in [Optimizer::Adam, Optimizer::Adagrad, Optimizer::Sgd] {
        let config = NnTraining { optimizer, ..config.clone() };
        let whole = |weight: &Tensor<2>| {
            let Gradient::Users(rows) = of_users(weight) else { unreachable!() };
            let zero = Tensor::zeros([1, WIDTH], &Device::flex());
            let row = |at: usize| rows.clone().slice(at..at + 1);
            let all = vec![zero.clone(), row(0), row(1), zero.clone(), row(2), zero];
            Gradient::Whole(Tensor::cat(all, 0))
        };
        near(&steps(&config, false, 5, of_users), &steps(&config, false, 5, whole));
    }
}

#[test]
fn a_lazy_step_leaves_untouched_rows_alone() {
    for optimizer in [Optimizer::Adam, Optimizer::Adagrad, Optimizer::Sgd] {
        let config =
            NnTraining { learning_rate: 0.01, optimizer, weight_decay: 0.1, ..NnTraining::default() };
        let (lazy, dense) = (steps(&config, true, 5, of_users), steps(&config, false, 5, of_users));
        let start = on_host(&matrix(6, 1.0));
        for row in 0..6 {
            let range = row * WIDTH..(row + 1) * WIDTH;
            match [1, 2, 4].contains(&row) {
                true => near(&lazy[range.clone()], &dense[range]),
                false => assert_eq!(lazy[range.clone()], start[range]),
            }
        }
    }
}

/// The tensor operations of a device take the same steps as the passes over the host's memory.
#[test]
fn both_ways_to_step_agree() {
    let mut batch = batch().with_reductions();
    batch.users.upload(&Device::flex());
    for optimizer in [Optimizer::Adam, Optimizer::Adagrad, Optimizer::Sgd] {
        let sizes = StepSizes { optimizer, decay: 0.99, step_size: 0.1, epsilon: 1e-3 };
        let state = |n| (0..n).map(|number| matrix(6, 0.1 + number as f32).square()).collect::<Vec<_>>();
        let of_batch = |lazy| TouchedRows::OfBatch { lookup: &batch.users, lazy };
        for (rows, touched) in [(6, TouchedRows::All), (3, of_batch(true)), (3, of_batch(false))] {
            let (grad, n) = (matrix(rows, 0.7), optimizer.n_states());
            let (ours, our_state) = host::updated(matrix(6, 1.0), state(n), &grad, touched, sizes);
            let (theirs, their_state) = device::updated(matrix(6, 1.0), state(n), grad, touched, sizes);
            near(&on_host(&ours), &on_host(&theirs));
            for (ours, theirs) in our_state.iter().zip(&their_state) {
                near(&on_host(ours), &on_host(theirs));
            }
        }
    }
}

#[test]
fn sgd_goes_down_the_gradient_and_decay_shrinks() {
    let config = NnTraining {
        learning_rate: 0.1,
        weight_decay: 0.5,
        optimizer: Optimizer::Sgd,
        ..NnTraining::default()
    };
    let updated = steps(&config, false, 1, |weight| Gradient::Whole(weight.clone() * 2.0));
    let expected: Vec<f32> = on_host(&matrix(6, 1.0)).iter().map(|w| w * (1.0 - 0.05 - 0.2)).collect();
    near(&updated, &expected);
}

#[test]
fn long_gradients_are_cut_to_length_and_short_ones_left() {
    let config = NnTraining { learning_rate: 1.0, optimizer: Optimizer::Sgd, ..NnTraining::default() };
    let start = on_host(&matrix(6, 1.0));
    let norm = start.iter().map(|w| w * w).sum::<f32>().sqrt();
    for (most, factor) in [(norm / 4.0, 0.25), (norm * 4.0, 1.0)] {
        let config = NnTraining { clip_norm: Some(most), ..config.clone() };
        let updated = steps(&config, false, 1, |weight| Gradient::Whole(weight.clone()));
        near(&updated, &start.iter().map(|w| w - factor * w).collect::<Vec<_>>());
    }
}
