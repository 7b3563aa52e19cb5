//! The ALS learner: it descends, does not depend on threads, finds what was planted, and goes on where it stopped.

use burnrec_data::tensors::{self, TensorFile};
use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::als::{
    AlsConfig, AlsLearner, AlsModel, Convention, RegScaling, Solver, Weighting, initial_factors,
};
use burnrec_models::{Learner, Model, ModelConfig, Scorer, Shape, Silent};

/// Drawn rows: user `u` has about `u / 3 + 1` items, of which low ones are taken more often; some users and items have
/// none.
fn drawn(n_users: usize, n_items: usize) -> Csr {
    let noise = initial_factors(17, n_users, n_items, (n_items as f32).sqrt());
    let (mut offsets, mut cols, mut values) = (vec![0], Vec::new(), Vec::new());
    for user in 0..n_users {
        for item in 0..n_items - 1 {
            let wanted = if user % 11 == 3 { -9.0 } else { 0.02 * user as f32 - 0.02 * item as f32 - 0.5 };
            if noise[user * n_items + item] < wanted {
                cols.push(item as u32);
                values.push((1 + (user * 5 + item * 3) % 5) as f32);
            }
        }
        offsets.push(cols.len());
    }
    Csr::new(n_items, offsets, cols, values)
}

fn all_configs() -> Vec<AlsConfig> {
    let mut configs = vec![AlsConfig::explicit(), AlsConfig { biases: true, ..AlsConfig::explicit() }];
    configs.extend([Convention::Rendle, Convention::Implicit, Convention::Spark].map(AlsConfig::implicit));
    configs.push(AlsConfig { nonnegative: true, ..AlsConfig::default() });
    for weighting in [Weighting::Log, Weighting::Bm25, Weighting::Tfidf] {
        configs.push(AlsConfig { weighting, ..AlsConfig::implicit(Convention::Implicit) });
    }
    configs.iter_mut().for_each(|config| (config.dim, config.block_size) = (10, 4));
    let with = |solver| configs.clone().into_iter().map(move |config| AlsConfig { solver, ..config });
    with(Solver::Cholesky).chain(with(Solver::Cg)).chain(with(Solver::Subspace)).collect()
}

#[test]
fn every_epoch_lowers_the_objective() {
    let train = drawn(150, 70);
    for config in all_configs() {
        let mut learner = AlsLearner::new(&train, config.clone(), 1).unwrap();
        learner.track_loss(true);
        let mut last = f64::INFINITY;
        for epoch in 0..8 {
            let loss = learner.epoch(&Silent).unwrap();
            let total = loss.total.unwrap();
            assert!(total <= last * (1.0 + 1e-6), "epoch {epoch}: {total} after {last}, {config:?}");
            assert!((loss.parts.values().sum::<f64>() - total).abs() < 1e-9 * total);
            assert_eq!(loss.samples, train.nnz() as u64);
            last = total;
        }
    }
}

#[test]
fn weights_do_not_depend_on_the_number_of_threads() {
    let train = drawn(700, 90);
    for config in all_configs() {
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut learner = AlsLearner::new(&train, config.clone(), 7).unwrap();
                learner.track_loss(true);
                let losses: Vec<_> = (0..2).map(|_| learner.epoch(&Silent).unwrap()).collect();
                let bits = |side: &[f32]| side.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                (bits(learner.factors().0), bits(learner.factors().1), losses)
            })
        };
        let one = with_threads(1);
        assert!(one == with_threads(2) && one == with_threads(5), "{config:?}");
        assert!(one == with_threads(1), "same seed, same result: {config:?}");
    }
}

#[test]
fn fast_solvers_reach_the_exact_loss() {
    let train = drawn(400, 120);
    for convention in [Convention::Rendle, Convention::Implicit, Convention::Spark] {
        let loss = |solver| {
            let config = AlsConfig { dim: 16, solver, block_size: 8, ..AlsConfig::implicit(convention) };
            let mut learner = AlsLearner::new(&train, config, 3).unwrap();
            (0..60).for_each(|_| drop(learner.epoch(&Silent).unwrap()));
            learner.objective().total()
        };
        let exact = loss(Solver::Cholesky);
        for solver in [Solver::Cg, Solver::Subspace] {
            let found = loss(solver);
            // The objective has several valleys, and a lower one is no failure.
            assert!(found < exact * 1.001, "{convention:?}, {solver:?}: {found}, exact {exact}");
        }
    }
}

#[test]
fn a_planted_low_rank_matrix_is_recovered() {
    let (n_users, n_items, rank) = (120, 80, 3);
    let users = initial_factors(1, n_users, rank, 1.5);
    let items = initial_factors(2, n_items, rank, 1.5);
    let rating = |user: usize, item: usize| {
        (0..rank).map(|d| users[user * rank + d] * items[item * rank + d]).sum::<f32>()
    };
    let observed =
        |user: usize, item: usize| ((user * 7919 + item * 104_729 + user * item * 31) >> 3) % 10 < 5;
    let rows: Vec<(usize, usize)> = (0..n_users * n_items).map(|k| (k / n_items, k % n_items)).collect();
    let train: Vec<_> = rows.iter().copied().filter(|&(user, item)| observed(user, item)).collect();
    let train = Csr::from_rows(
        n_users,
        n_items,
        &train.iter().map(|pair| UserIx(pair.0 as u32)).collect::<Vec<_>>(),
        &train.iter().map(|pair| ItemIx(pair.1 as u32)).collect::<Vec<_>>(),
        &train.iter().map(|pair| rating(pair.0, pair.1)).collect::<Vec<_>>(),
    );
    for solver in [Solver::Cholesky, Solver::Cg, Solver::Subspace] {
        let config = AlsConfig { dim: rank, reg: 1e-5, solver, init_std: 1.0, ..AlsConfig::explicit() };
        let mut learner = AlsLearner::new(&train, config, 5).unwrap();
        (0..300).for_each(|_| drop(learner.epoch(&Silent).unwrap()));
        let model = learner.model();
        let mut scores = vec![0.0; n_users * n_items];
        let everyone: Vec<UserIx> = (0..n_users as u32).map(UserIx).collect();
        model.score_catalog(&everyone, &mut scores);
        for &(user, item) in rows.iter().filter(|pair| !observed(pair.0, pair.1)) {
            let (found, planted) = (scores[user * n_items + item], rating(user, item));
            assert!((found - planted).abs() < 0.02, "{solver:?}, {user} {item}: {found}, planted {planted}");
        }
    }
}

#[test]
fn folding_a_training_history_in_gives_the_stored_row() {
    let train = drawn(200, 60);
    for config in all_configs().into_iter().filter(|config| config.solver == Solver::Cholesky) {
        let mut learner = AlsLearner::new(&train, config.clone(), 2).unwrap();
        (0..4).for_each(|_| drop(learner.epoch(&Silent).unwrap()));
        let model = learner.model();
        let folded = model.as_fold_in().unwrap().fold_in(&train).unwrap();
        let (stored, folded) = (model.user_vectors().unwrap(), folded.user_vectors().unwrap());
        for (found, expected) in folded.values.iter().zip(stored.values) {
            assert!((found - expected).abs() < 1e-4, "{found}, expected {expected}: {config:?}");
        }
        assert!(model.as_fold_in().unwrap().fold_in(&Csr::empty(3, 59)).is_err(), "another catalogue");
    }
}

#[test]
fn a_saved_model_scores_alike_and_folds_in_alike() {
    let train = drawn(60, 40);
    for config in all_configs().into_iter().filter(|config| config.solver == Solver::Cg) {
        let mut learner = AlsLearner::new(&train, config.clone(), 2).unwrap();
        learner.epoch(&Silent).unwrap();
        let model = learner.model();
        assert_eq!(model.config(), ModelConfig::new(config.clone()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weights.safetensors");
        tensors::write(&path, &model.weights()).unwrap();
        let shape = Shape { n_users: 60, n_items: 40 };
        let opened = AlsModel::load(&TensorFile::open(&path).unwrap(), config.clone(), shape).unwrap();
        let catalog = |scorer: &dyn Scorer| {
            let users: Vec<UserIx> = (0..scorer.n_users() as u32).map(UserIx).collect();
            let mut scores = vec![0.0; users.len() * 40];
            scorer.score_catalog(&users, &mut scores);
            let mut pairs = vec![0.0; users.len() * 40];
            let each: Vec<UserIx> = users.iter().flat_map(|&user| [user; 40]).collect();
            let items: Vec<ItemIx> = users.iter().flat_map(|_| (0..40).map(ItemIx)).collect();
            scorer.score_pairs(&each, &items, &mut pairs);
            assert!(scores.iter().zip(&pairs).all(|(a, b)| (a - b).abs() < 1e-5));
            scores
        };
        assert_eq!(catalog(&*model), catalog(&opened));
        let folded = |model: &dyn Model| catalog(&*model.as_fold_in().unwrap().fold_in(&train).unwrap());
        assert_eq!(folded(&*model), folded(&opened));
        let other = AlsConfig { dim: 11, ..config };
        assert!(AlsModel::load(&TensorFile::open(&path).unwrap(), other, shape).is_err());
    }
}

#[test]
fn learning_goes_on_from_a_saved_state() {
    let train = drawn(60, 40);
    let config = AlsConfig { dim: 6, ..AlsConfig::default() };
    let mut through = AlsLearner::new(&train, config.clone(), 2).unwrap();
    through.epoch(&Silent).unwrap();
    let dir = tempfile::tempdir().unwrap();
    through.save_state(dir.path()).unwrap();
    let kept = through.model();
    through.epoch(&Silent).unwrap();
    let mut resumed = AlsLearner::new(&train, config.clone(), 9).unwrap();
    resumed.load_state(dir.path()).unwrap();
    assert_eq!(resumed.factors().0, kept.user_vectors().unwrap().values, "a model stays as it was given out");
    resumed.epoch(&Silent).unwrap();
    assert_eq!(resumed.factors(), through.factors());

    let mut other = AlsLearner::new(&train, AlsConfig { dim: 7, ..config.clone() }, 2).unwrap();
    assert!(other.load_state(dir.path()).is_err());
    let (users, items) = through.factors();
    let warm = AlsLearner::with_factors(&train, config.clone(), users.to_vec(), items.to_vec()).unwrap();
    assert_eq!(warm.objective(), through.objective());
    assert!(AlsLearner::with_factors(&train, config, users[6..].to_vec(), items.to_vec()).is_err());
}

#[test]
fn rows_whose_targets_are_0_are_0() {
    // By count they have no regulariser, and there are fewer items than `dim`: their matrices are singular.
    let train = drawn(60, 12).map_values(|user, _, value| if user >= 50 { value - 5.0 } else { value });
    for convention in [Convention::Implicit, Convention::Spark] {
        for solver in [Solver::Cg, Solver::Cholesky] {
            let kind = AlsConfig::implicit(convention);
            let config = AlsConfig { solver, dim: 32, reg_scaling: RegScaling::Count, ..kind };
            let mut learner = AlsLearner::new(&train, config, 1).unwrap();
            for _ in 0..3 {
                learner.epoch(&Silent).unwrap();
                let rows = &learner.factors().0[50 * 32..];
                assert!(rows.iter().all(|&x| x == 0.0), "{convention:?} {solver:?}");
            }
        }
    }
}

#[test]
fn rounding_errors_do_not_grow_where_there_is_no_regulariser() {
    // There are fewer items than `dim`: in some directions no item has a factor, and nothing holds the users there.
    let train = drawn(60, 12);
    for convention in [Convention::Rendle, Convention::Implicit] {
        let kind = AlsConfig::implicit(convention);
        let config = AlsConfig { dim: 32, reg: 0.0, reg_scaling: RegScaling::None, ..kind };
        let mut learner = AlsLearner::new(&train, config, 1).unwrap();
        let mut last = f64::INFINITY;
        for _ in 0..8 {
            learner.epoch(&Silent).unwrap();
            let total = learner.objective().total();
            let (users, items) = learner.factors();
            let largest = users.iter().chain(items).fold(0.0f32, |largest, x| largest.max(x.abs()));
            println!("{convention:?}: {total}, {largest}");
            // The objective is a sum of about a hundred, less what cancels.
            assert!(total <= last + 1e-3, "{convention:?}: {total} after {last}");
            assert!(largest < 100.0, "{convention:?}: {largest}");
            last = total;
        }
    }
}

#[test]
fn settings_and_values_without_sense_are_named() {
    let train = drawn(60, 40);
    let error = |train: &Csr, config| match AlsLearner::new(train, config, 0) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    };
    let rendle = AlsConfig::default();
    assert!(error(&train, AlsConfig { dim: 0, ..rendle.clone() }).starts_with("dim: found 0"));
    assert!(error(&train, AlsConfig { reg: f32::NAN, ..rendle.clone() }).starts_with("reg: found NaN"));
    assert!(
        error(&train, AlsConfig { weighting: Weighting::Log, ..rendle.clone() })
            .starts_with("weighting: found log")
    );
    assert!(
        error(&train, AlsConfig { biases: true, ..rendle }).starts_with("biases: found true"),
        "biases are of explicit feedback"
    );
    let bad = train.map_values(|user, _, value| if user == 50 { f32::NAN } else { value });
    assert!(error(&bad, AlsConfig::explicit()).contains("NaN"));
    let negative = train.map_values(|_, _, value| -value);
    let tfidf = AlsConfig { weighting: Weighting::Tfidf, ..AlsConfig::implicit(Convention::Implicit) };
    assert!(error(&negative, tfidf).contains("at least 0"));
    let scaled = AlsConfig { reg_scaling: RegScaling::Count, ..AlsConfig::implicit(Convention::Implicit) };
    AlsLearner::new(&negative, scaled, 0).unwrap().epoch(&Silent).unwrap();
}
