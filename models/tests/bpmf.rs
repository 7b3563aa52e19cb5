//! Bayesian matrix factorisation: the distribution of a row against its equations in f64, threads, resuming, folding in and
//! what it predicts.

mod dense;
mod planted;

use burnrec_data::Csr;
use burnrec_data::tensors::{self, TensorFile};
use burnrec_models::als::initial_factors;
use burnrec_models::bpmf::{BpmfConfig, BpmfLearner, BpmfModel, Given, Implicit, RowPosterior, Source};
use burnrec_models::testing::catalog;
use burnrec_models::{Learner, Model, Shape, Silent};
use dense::solved;
use planted::ratings;

fn config(implicit: Implicit) -> BpmfConfig {
    BpmfConfig { dim: 7, burn_in: 2, samples: 3, implicit, ..BpmfConfig::default() }
}

const ALL: [Implicit; 3] = [Implicit::None, Implicit::Users, Implicit::Both];

fn after(train: &Csr, implicit: Implicit, sweeps: usize) -> BpmfLearner {
    let mut learner = BpmfLearner::new(train, config(implicit), 5).expect("a learner");
    (0..sweeps).for_each(|_| drop(learner.epoch(&Silent).expect("a sweep")));
    learner
}

#[test]
fn rows_have_the_mean_and_the_covariance_of_their_equations() {
    const WIDTH: usize = 4;
    let (n_items, noise) = (9, 1.7);
    let fixed = initial_factors(1, n_items, WIDTH, 1.5);
    let effects = initial_factors(2, n_items, WIDTH, 1.0);
    let half = initial_factors(3, WIDTH, WIDTH, 2.0);
    let cell =
        |i: usize, j: usize| (0..WIDTH).map(|k| half[i * WIDTH + k] * half[j * WIDTH + k]).sum::<f32>();
    let precision: Vec<f32> = (0..WIDTH * WIDTH)
        .map(|at| cell(at / WIDTH, at % WIDTH) + if at % (WIDTH + 1) == 0 { 0.5 } else { 0.0 })
        .collect();
    let mean = vec![0.3, -0.2, 0.1, 0.4];
    let (cols, values) = (vec![0u32, 2, 3, 7, 8], vec![0.5f32, -1.0, 1.5, 0.2, -0.4]);
    // 20,000 rows with the same entries, and one without any.
    const N: usize = 20_000;
    let offsets = (0..=N).map(|row| row * cols.len()).chain([N * cols.len()]).collect();
    let rows = Csr::new(n_items, offsets, cols.repeat(N), values.repeat(N));

    let at = |side: &[f32], item: u32, k: usize| f64::from(side[item as usize * WIDTH + k]);
    for with_effects in [true, false] {
        let given = Given {
            fixed: fixed.clone(),
            mean: mean.clone(),
            precision: precision.clone(),
            noise,
            effects: if with_effects { effects.clone() } else { Vec::new() },
            bins: Vec::new(),
            span_strength: None,
        };
        let posterior = RowPosterior::new(given);
        let (mut means, mut draws) = (vec![0.0; (N + 1) * WIDTH], vec![0.0; (N + 1) * WIDTH]);
        let source = Source { seed: 9, purpose: "test", sweep: 3 };
        posterior.draw((&rows, None), source, &mut means, &mut draws, &|_| {});
        let mut again = vec![0.0; (N + 1) * WIDTH];
        posterior.means((&rows, None), &mut again);
        assert!(again == means, "with and without a draw");

        let shifted = |k: usize| {
            let shift: f64 = cols.iter().map(|&item| at(&effects, item, k)).sum();
            f64::from(mean[k]) + if with_effects { shift / (cols.len() as f64).sqrt() } else { 0.0 }
        };
        let (mut a, mut b) = (vec![vec![0.0; WIDTH]; WIDTH], vec![0.0; WIDTH]);
        for i in 0..WIDTH {
            for j in 0..WIDTH {
                let prior = f64::from(precision[i * WIDTH + j]);
                a[i][j] = prior;
                b[i] += prior * shifted(j);
            }
        }
        for (&item, &value) in cols.iter().zip(&values) {
            let x: Vec<f64> =
                (0..WIDTH).map(|k| if k + 1 < WIDTH { at(&fixed, item, k) } else { 1.0 }).collect();
            let target = f64::from(value) - at(&fixed, item, WIDTH - 1);
            for i in 0..WIDTH {
                b[i] += f64::from(noise) * target * x[i];
                (0..WIDTH).for_each(|j| a[i][j] += f64::from(noise) * x[i] * x[j]);
            }
        }
        let identity = |i: usize| (0..WIDTH).map(move |j| if i == j { 1.0 } else { 0.0 });
        let right = (0..WIDTH).map(|i| [b[i]].into_iter().chain(identity(i)).collect()).collect();
        let solution = solved(a, right);
        for i in 0..WIDTH {
            let expected = solution[i][0];
            assert!(
                (f64::from(means[i]) - expected).abs() < 1e-5,
                "mean {i}: {}, expected {expected}",
                means[i]
            );
            let of = |row: usize, k: usize| f64::from(draws[row * WIDTH + k]) - solution[k][0];
            let mean: f64 = (0..N).map(|row| of(row, i)).sum::<f64>() / N as f64;
            assert!(mean.abs() < 4.0 * (solution[i][i + 1] / N as f64).sqrt(), "draws of {i}: {mean} off");
            for j in 0..WIDTH {
                let found: f64 = (0..N).map(|row| of(row, i) * of(row, j)).sum::<f64>() / N as f64;
                let (expected, scale) = (solution[i][j + 1], solution[i][i + 1] * solution[j][j + 1]);
                let error = ((scale + solution[i][j + 1].powi(2)) / N as f64).sqrt();
                assert!((found - expected).abs() < 4.5 * error, "{i} {j}: {found}, expected {expected}");
            }
        }
        // The row without entries has the mean of the prior, without a shift.
        let last = &means[N * WIDTH..];
        assert!(last.iter().zip(&mean).all(|(found, expected)| (found - expected).abs() < 1e-5), "{last:?}");
    }
}

#[test]
fn a_row_that_f32_does_not_hold_is_solved_in_f64() {
    // Nothing but a tiny prior holds the row across its one direction.
    let fixed = vec![900.0, 900.0, 0.0, 901.0, 901.0, 0.0];
    let precision = vec![1e-3, 0.0, 0.0, 0.0, 1e-3, 0.0, 0.0, 0.0, 1e-3];
    let (effects, bins) = (Vec::new(), Vec::new());
    let given =
        Given { fixed, mean: vec![0.0; 3], precision, noise: 1.0, effects, bins, span_strength: None };
    let rows = Csr::new(2, vec![0, 2], vec![0, 1], vec![1800.0, 1802.0]);
    let mut means = vec![0.0; 3];
    RowPosterior::new(given).means((&rows, None), &mut means);
    assert!((means[0] - 1.0).abs() < 1e-4 && (means[1] - 1.0).abs() < 1e-4, "{means:?}");
}

#[test]
fn samples_do_not_depend_on_the_number_of_threads() {
    let train = ratings(300, 60);
    for implicit in ALL {
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let bits = |side: &[f32]| side.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            pool.install(|| {
                let learner = after(&train, implicit, 3);
                (bits(learner.factors().0), bits(learner.factors().1), bits(&catalog(&*learner.model())))
            })
        };
        let one = with_threads(1);
        assert!(one == with_threads(2) && one == with_threads(5), "{implicit:?}");
    }
}

#[test]
fn a_resumed_chain_has_the_bits_of_one_that_was_not_stopped() {
    let train = ratings(60, 40);
    for implicit in ALL {
        for stopped in [1, 3, 5] {
            let dir = tempfile::tempdir().expect("a directory");
            after(&train, implicit, stopped).save_state(dir.path()).expect("saved");
            let mut resumed = BpmfLearner::new(&train, config(implicit), 5).expect("a learner");
            resumed.load_state(dir.path()).expect("loaded");
            (stopped..7).for_each(|_| drop(resumed.epoch(&Silent).expect("a sweep")));
            let through = after(&train, implicit, 7);
            assert!(resumed.factors() == through.factors(), "{implicit:?} from {stopped} on");
            assert!(
                catalog(&*resumed.model()) == catalog(&*through.model()),
                "{implicit:?} from {stopped} on"
            );
        }
        let dir = tempfile::tempdir().expect("a directory");
        after(&train, implicit, 1).save_state(dir.path()).expect("saved");
        let other = BpmfConfig { dim: 8, ..config(implicit) };
        let mut other = BpmfLearner::new(&train, other, 5).expect("a learner");
        assert!(other.load_state(dir.path()).is_err(), "another length");
    }
}

#[test]
fn the_model_is_the_mean_of_the_last_samples_and_the_first_are_gone() {
    let train = ratings(60, 40);
    // During the burn-in, and with one sample, the model is that of the newest sweep.
    let newest = |sweeps| {
        let one = BpmfConfig { samples: 1, ..config(Implicit::Both) };
        let mut learner = BpmfLearner::new(&train, one, 5).expect("a learner");
        (0..sweeps).for_each(|_| drop(learner.epoch(&Silent).expect("a sweep")));
        catalog(&*learner.model())
    };
    for (sweeps, kept) in [(1, 1..=1), (2, 2..=2), (3, 3..=3), (4, 3..=4), (5, 3..=5), (6, 4..=6)] {
        let model = after(&train, Implicit::Both, sweeps).model();
        let all: Vec<Vec<f32>> = kept.map(newest).collect();
        for (at, found) in catalog(&*model).into_iter().enumerate() {
            let expected = all.iter().map(|scores| scores[at]).sum::<f32>() / all.len() as f32;
            assert!((found - expected).abs() < 1e-4, "{sweeps} sweeps: {found}, expected {expected}");
        }
    }
}

#[test]
fn folding_a_training_history_in_gives_the_stored_row_and_a_saved_model_does_the_same() {
    let train = ratings(60, 40);
    for implicit in ALL {
        let model = after(&train, implicit, 5).model();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("weights.safetensors");
        tensors::write(&path, &model.weights()).expect("saved");
        let file = TensorFile::open(&path).expect("a file");
        let shape = Shape { n_users: 60, n_items: 40 };
        let opened = BpmfModel::load(&file, config(implicit), shape).expect("a model");
        let folded = |model: &dyn Model| {
            catalog(&*model.as_fold_in().expect("it folds in").fold_in(&train).expect("histories"))
        };
        assert!(catalog(&*model) == catalog(&opened), "{implicit:?}");
        assert!(folded(&*model) == catalog(&*model) && folded(&opened) == catalog(&*model), "{implicit:?}");
        let other = BpmfConfig { dim: 8, ..config(implicit) };
        assert!(BpmfModel::load(&file, other, shape).is_err(), "another length");
    }
}

#[test]
fn held_out_ratings_are_predicted_nearly_as_well_as_their_noise_lets() {
    // Ratings with noise of a standard deviation of 0.5; two in three are known.
    let (n_users, n_items, rank) = (150, 90, 3);
    let (users, items) = (initial_factors(1, n_users, rank, 1.5), initial_factors(2, n_items, rank, 1.5));
    let noise = initial_factors(3, n_users, n_items, 0.5 * (n_items as f32).sqrt());
    let rating = |user: usize, item: usize| {
        let dot: f32 = (0..rank).map(|k| users[user * rank + k] * items[item * rank + k]).sum();
        3.0 + (user % 7) as f32 / 4.0 + (item % 5) as f32 / 4.0 + dot
    };
    let known = |user: usize, item: usize| !(user * 31 + item * 17 + user * item).is_multiple_of(3);
    let (mut offsets, mut cols, mut values) = (vec![0], Vec::new(), Vec::new());
    for user in 0..n_users {
        for item in (0..n_items).filter(|&item| known(user, item)) {
            cols.push(item as u32);
            values.push(rating(user, item) + noise[user * n_items + item]);
        }
        offsets.push(cols.len());
    }
    let train = Csr::new(n_items, offsets, cols, values);
    for implicit in [Implicit::None, Implicit::Both] {
        let config = BpmfConfig { dim: 7, burn_in: 20, samples: 20, implicit, ..BpmfConfig::default() };
        let mut learner = BpmfLearner::new(&train, config, 3).expect("a learner");
        (0..40).for_each(|_| drop(learner.epoch(&Silent).expect("a sweep")));
        let scores = catalog(&*learner.model());
        let (mut squared, mut n) = (0.0, 0);
        for user in 0..n_users {
            for item in (0..n_items).filter(|&item| !known(user, item)) {
                squared += (scores[user * n_items + item] - rating(user, item)).powi(2);
                n += 1;
            }
        }
        let rmse = (squared / n as f32).sqrt();
        assert!(rmse < 0.2, "{implicit:?}: {rmse} off the ratings without noise");
    }
}
