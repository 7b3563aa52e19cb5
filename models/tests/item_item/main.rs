//! EASE, SLIM, k nearest neighbours and RP3beta: what is learned, how it is saved, scores and folds in, and what is refused.

mod references;

use burnrec_data::tensors::{self, TensorFile};
use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::{ClosedForm, ItemItem, ItemItemLearner, ItemMatrix, NeighboursOf};
use burnrec_models::knn::{KnnConfig, Similarity};
use burnrec_models::rp3beta::Rp3betaConfig;
use burnrec_models::scorer::Allowed;
use burnrec_models::slim::SlimConfig;
use burnrec_models::testing::catalog;
use burnrec_models::{Error, Learner, Model, Progress, Silent};

fn learned<F: ClosedForm>(config: &F, train: &Csr) -> Box<dyn Model> {
    let mut learner = ItemItemLearner::new(train, config.clone()).unwrap();
    learner.epoch(&Silent).unwrap();
    learner.model()
}

/// All weights of a matrix, row-major.
fn dense(matrix: &ItemMatrix) -> Vec<f32> {
    match matrix {
        ItemMatrix::Dense { weights, .. } => weights.clone(),
        ItemMatrix::Sparse(rows) => {
            let mut out = vec![0.0; rows.n_rows() * rows.n_cols()];
            for row in 0..rows.n_rows() {
                let (items, weights) = rows.row(row);
                let to = &mut out[row * rows.n_cols()..];
                items.iter().zip(weights).for_each(|(&item, &weight)| to[item as usize] = weight);
            }
            out
        }
    }
}

/// Rows of more items than a tile of the inverse and a strip of the products hold, with many equal products.
fn drawn(n_users: usize, n_items: usize) -> Csr {
    let mut state = 7u32;
    let mut draw = |n: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % n
    };
    let cells: Vec<(u32, u32)> = (0..n_users * 12)
        .map(|k| {
            let user = k % n_users;
            let item = (user * n_items / n_users + draw(n_items / 3) * draw(3)) % n_items;
            (user as u32, item as u32)
        })
        .collect();
    let (users, items): (Vec<_>, Vec<_>) =
        cells.iter().map(|&(user, item)| (UserIx(user), ItemIx(item))).unzip();
    let values: Vec<f32> = (0..cells.len()).map(|k| (k % 5 + 1) as f32).collect();
    Csr::from_rows(n_users, n_items, &users, &items, &values)
}

fn knn(similarity: Similarity) -> KnnConfig {
    KnnConfig { similarity, k: 10, ..KnnConfig::default() }
}

fn does_not_depend_on_threads<F: ClosedForm>(config: &F, train: &Csr) {
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let matrix = pool.install(|| config.solve(train, &Silent).unwrap());
        dense(&matrix).iter().map(|weight| weight.to_bits()).collect::<Vec<_>>()
    };
    let one = with_threads(1);
    assert!(one == with_threads(2) && one == with_threads(5), "{config:?}");
}

#[test]
fn weights_do_not_depend_on_the_number_of_threads() {
    let train = drawn(500, 300);
    does_not_depend_on_threads(&EaseConfig { reg: 3.0, ..EaseConfig::default() }, &train);
    does_not_depend_on_threads(&SlimConfig { reg: 3.0, k: 40, ..SlimConfig::default() }, &train);
    does_not_depend_on_threads(&knn(Similarity::Bm25), &train);
    does_not_depend_on_threads(&Rp3betaConfig { k: 10, ..Rp3betaConfig::default() }, &train);
}

fn a_history_equals_its_row<F: ClosedForm>(config: &F, train: &Csr) {
    let model = learned(config, train);
    let scores = catalog(&*model);
    let folded = model.as_fold_in().unwrap().fold_in(train).unwrap();
    assert_eq!(catalog(&*folded), scores, "{config:?}");
    // Pairs score to the bit as the catalogue does, in runs of one user and out of order.
    let n_items = train.n_cols();
    let pair = |k: usize| (UserIx((k / 7 * 11 % train.n_rows()) as u32), ItemIx((k * 13 % n_items) as u32));
    let (users, items): (Vec<_>, Vec<_>) = (0..2000).map(pair).unzip();
    let mut out = vec![f32::NAN; users.len()];
    folded.score_pairs(&users, &items, &mut out);
    for ((user, item), score) in users.iter().zip(&items).zip(out) {
        assert_eq!(score, scores[user.at() * n_items + item.at()], "{config:?}, {user:?} {item:?}");
    }
}

#[test]
fn a_folded_in_history_equals_its_row() {
    let train = drawn(400, 280);
    a_history_equals_its_row(&EaseConfig::default(), &train);
    a_history_equals_its_row(&SlimConfig::default(), &train);
    a_history_equals_its_row(&knn(Similarity::Cosine), &train);
    a_history_equals_its_row(&Rp3betaConfig::default(), &train);
}

#[test]
fn neighbours_of_the_target_are_those_of_the_history_turned() {
    fn turned<F: ClosedForm>(history: &F, target: &F) {
        let train = drawn(200, 150);
        let [history, target] =
            [history, target].map(|config| dense(&config.solve(&train, &Silent).unwrap()));
        let mut turned = vec![0.0; history.len()];
        (0..150 * 150).for_each(|at| turned[at % 150 * 150 + at / 150] = history[at]);
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * a.abs().max(b.abs());
        assert!(target.iter().zip(&turned).all(near) && target != history);
    }
    let history = knn(Similarity::Tfidf);
    turned(&history, &KnnConfig { neighbours_of: NeighboursOf::Target, ..history.clone() });
    // A walk from j to i has the factors of one from i to j where alpha and beta change their places; that of users stays.
    let [history, target] = [NeighboursOf::History, NeighboursOf::Target].map(|neighbours_of| {
        Rp3betaConfig { alpha: 0.7, beta: 0.7, k: 10, neighbours_of, ..Default::default() }
    });
    turned(&history, &target);
}

#[test]
fn normalised_weights_of_an_item_add_up_to_1() {
    let train = drawn(200, 150);
    for neighbours_of in [NeighboursOf::History, NeighboursOf::Target] {
        let plain = Rp3betaConfig { k: 10, neighbours_of, ..Rp3betaConfig::default() };
        let scaled = Rp3betaConfig { normalised: true, ..plain.clone() };
        let [plain, scaled] = [plain, scaled].map(|config| dense(&config.solve(&train, &Silent).unwrap()));
        for (plain, scaled) in plain.chunks_exact(150).zip(scaled.chunks_exact(150)) {
            let sum: f32 = plain.iter().sum();
            for (plain, scaled) in plain.iter().zip(scaled).filter(|(plain, _)| **plain > 0.0) {
                assert!((scaled - plain / sum).abs() < 1e-5, "{scaled}, expected {plain} of {sum}");
            }
            assert!(sum == 0.0 || (scaled.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn popularity_adds_its_share_in_units_of_the_mean_weight() {
    fn adds<F: ClosedForm>(without: &F, with: &F) {
        let train = drawn(120, 90);
        let matrix = without.solve(&train, &Silent).unwrap();
        let ItemMatrix::Sparse(rows) = &matrix else { panic!("neighbours are sparse") };
        let mean = rows.values().iter().map(|&weight| f64::from(weight)).sum::<f64>() / rows.nnz() as f64;
        let count = |item: u32| train.cols().iter().filter(|&&other| other == item).count() as f64;
        let [plain, found] = [without, with].map(|config| catalog(&*learned(config, &train)));
        for (at, (found, plain)) in found.iter().zip(&plain).enumerate() {
            let expected = f64::from(*plain) + 0.25 * mean * count(at as u32 % 90) / 120.0;
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5 * expected.abs().max(1.0),
                "{found}, {expected}"
            );
        }
        a_history_equals_its_row(with, &train);
    }
    let knn = knn(Similarity::Cosine);
    adds(&knn, &KnnConfig { popularity: 0.25, ..knn.clone() });
    let rp3beta = Rp3betaConfig { k: 10, ..Rp3betaConfig::default() };
    adds(&rp3beta, &Rp3betaConfig { popularity: 0.25, ..rp3beta.clone() });
}

#[test]
fn values_weigh_in_neighbours_alone_and_0_is_no_item() {
    let train = drawn(100, 50);
    let histories = Csr::new(50, vec![0, 2, 4], vec![3, 9, 3, 9], vec![5.0, 1.0, 1.0, 0.0]);
    let ones = Csr::new(50, vec![0, 2, 3], vec![3, 9, 3], vec![1.0; 3]);
    assert_eq!(EaseConfig::default().weigh(&histories).unwrap(), ones);
    assert_eq!(Rp3betaConfig::default().weigh(&histories).unwrap(), ones);
    let values = Csr::new(50, vec![0, 2, 3], vec![3, 9, 3], vec![5.0, 1.0, 1.0]);
    assert_eq!(KnnConfig::default().weigh(&histories).unwrap(), values);
    let folded = |histories: &Csr| {
        catalog(&*learned(&KnnConfig::default(), &train).as_fold_in().unwrap().fold_in(histories).unwrap())
    };
    assert_ne!(folded(&histories)[..50], folded(&ones)[..50]);
}

#[test]
fn cosines_of_many_users_are_exact_and_those_of_great_values_finite() {
    let n_users = 60_000;
    let value = |user: usize, item: usize| ((user * (item + 3) + user / 7) % 5 + 1) as f32;
    let values = (0..n_users).flat_map(|user| (0..3).map(move |item| value(user, item)));
    let offsets = (0..=n_users).map(|user| 3 * user).collect();
    let items = (0..n_users).flat_map(|_| 0..3).collect();
    let train = Csr::new(3, offsets, items, values.collect());
    let sum = |i, j| (0..n_users).map(|user| f64::from(value(user, i) * value(user, j))).sum::<f64>();
    for scale in [1.0, 2f32.powi(100), 2f32.powi(-100)] {
        let nearest =
            knn(Similarity::Cosine).nearest(&train.map_values(|_, _, value| value * scale), &Silent);
        let nearest = nearest.unwrap();
        for item in 0..3 {
            let (others, found) = nearest.row(item);
            assert_eq!(others, [0, 1, 2]);
            for (other, found) in found.iter().enumerate() {
                let expected = sum(item, other) / (sum(item, item) * sum(other, other)).sqrt();
                assert!((f64::from(*found) - expected).abs() < 3e-7, "{scale}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn of_equal_neighbours_the_first_are_kept() {
    // All items have the same users, so that all cosines are 1.
    let n_items = 400;
    let rows: Vec<u32> = (0..3).flat_map(|_| 0..n_items as u32).collect();
    let train = Csr::new(n_items, vec![0, n_items, 2 * n_items, 3 * n_items], rows, vec![1.0; 3 * n_items]);
    let ItemMatrix::Sparse(found) = knn(Similarity::Cosine).solve(&train, &Silent).unwrap() else {
        panic!("neighbours are sparse");
    };
    let others = Rp3betaConfig { k: 10, ..Rp3betaConfig::default() }.solve(&train, &Silent).unwrap();
    for item in 0..n_items as u32 {
        assert_eq!(found.row(item as usize).0, (0..10).collect::<Vec<u32>>(), "item {item}");
        let expected: Vec<u32> = (0..11).filter(|&other| other != item).take(10).collect();
        let found: Vec<u32> = others.row(ItemIx(item)).iter().map(|(other, _)| other.0).collect();
        assert_eq!(found, expected, "item {item}");
    }
}

#[test]
fn a_resumed_learner_has_the_same_matrix_and_is_finished() {
    fn resumes<F: ClosedForm>(config: &F, train: &Csr) {
        let dir = tempfile::tempdir().unwrap();
        let mut learner = ItemItemLearner::new(train, config.clone()).unwrap();
        assert!(!learner.is_finished());
        learner.epoch(&Silent).unwrap();
        learner.save_state(dir.path()).unwrap();
        let mut resumed = ItemItemLearner::new(train, config.clone()).unwrap();
        resumed.load_state(dir.path()).unwrap();
        assert!(learner.is_finished() && resumed.is_finished());
        assert_eq!(catalog(&*resumed.model()), catalog(&*learner.model()), "{config:?}");
        // Another epoch changes nothing.
        resumed.epoch(&Silent).unwrap();
        assert_eq!(catalog(&*resumed.model()), catalog(&*learner.model()), "{config:?}");
        let few = drawn(50, 30);
        let mut other = ItemItemLearner::new(&few, config.clone()).unwrap();
        assert!(other.load_state(dir.path()).is_err(), "the state of other items is refused");
    }
    let train = drawn(100, 150);
    resumes(&EaseConfig::default(), &train);
    resumes(&SlimConfig::default(), &train);
    resumes(&knn(Similarity::Tfidf), &train);
    resumes(&Rp3betaConfig::default(), &train);
}

/// Tells the work to stop.
struct Stop;

impl Progress for Stop {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn end(&self) {}
    fn interrupted(&self) -> bool {
        true
    }
}

#[test]
fn the_work_stops_when_it_is_told_to() {
    let train = drawn(100, 150);
    let stops = |result: burnrec_models::Result<ItemMatrix>| matches!(result, Err(Error::Interrupted));
    assert!(stops(EaseConfig::default().solve(&train, &Stop)));
    assert!(stops(SlimConfig::default().solve(&train, &Stop)));
    assert!(stops(KnnConfig::default().solve(&train, &Stop)));
    assert!(stops(Rp3betaConfig::default().solve(&train, &Stop)));
}

#[test]
fn settings_out_of_their_range_are_named() {
    fn error<F: ClosedForm>(config: F) -> String {
        let train = Csr::empty(1, 1);
        ItemItemLearner::new(&train, config).err().expect("it is refused").to_string()
    }
    assert!(
        error(EaseConfig { reg: 0.0, ..Default::default() })
            .starts_with("reg: found 0, expected a finite number over 0")
    );
    assert!(error(EaseConfig { reg: f32::NAN, ..Default::default() }).starts_with("reg: found NaN"));
    assert!(error(SlimConfig { reg: 0.0, ..Default::default() }).starts_with("reg: found 0"));
    assert!(error(SlimConfig { l1: -1.0, ..Default::default() }).starts_with("l1: found -1"));
    assert!(error(SlimConfig { k: 0, ..Default::default() }).starts_with("k: found 0"));
    assert!(error(KnnConfig { k: 0, ..Default::default() }).starts_with("k: found 0, expected at least 1"));
    assert!(error(KnnConfig { k1: -1.0, ..Default::default() }).starts_with("k1: found -1"));
    assert!(
        error(KnnConfig { b: 1.5, ..Default::default() })
            .starts_with("b: found 1.5, expected a number from 0")
    );
    assert!(error(Rp3betaConfig { alpha: -1.0, ..Default::default() }).starts_with("alpha: found -1"));
    assert!(
        error(Rp3betaConfig { beta: f32::INFINITY, ..Default::default() }).starts_with("beta: found inf")
    );
    assert!(error(Rp3betaConfig { k: 0, ..Default::default() }).starts_with("k: found 0"));
    assert!(
        error(Rp3betaConfig { popularity: -1.0, ..Default::default() }).starts_with("popularity: found -1")
    );
    assert!(
        error(KnnConfig { popularity: f32::NAN, ..Default::default() }).starts_with("popularity: found NaN")
    );
}

#[test]
fn a_catalogue_that_no_memory_holds_is_refused_before_anything_is_allocated() {
    let train = Csr::empty(1, 20_000_000);
    let error = ItemItemLearner::new(&train, EaseConfig::default()).err().expect("it is refused").to_string();
    assert!(error.starts_with("memory: found ") && error.contains("for 20000000 items"), "{error}");
}

#[test]
fn alike_items_are_those_with_the_greatest_weights() {
    let train = drawn(300, 100);
    let config = knn(Similarity::Cosine);
    let matrix = config.solve(&train, &Silent).unwrap();
    let model = learned(&config, &train);
    let likeness = model.likeness().expect("neighbours are alike");
    assert_eq!(likeness.name(), "weight");
    let without = Allowed::all(100).without(&[ItemIx(7)]);
    for item in (0..100).map(ItemIx) {
        let found = likeness.nearest(item, 5, &without);
        let mut expected = matrix.row(item);
        expected.retain(|(other, _)| other.0 != 7);
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        expected.truncate(5);
        assert_eq!(found, expected);
        assert!(found.iter().all(|(other, _)| *other != item));
    }
    assert!(model.item_vectors().is_none() && model.factors().is_none());
}

#[test]
fn damaged_weights_are_refused() {
    let train = drawn(30, 20);
    let model = learned(&KnnConfig::default(), &train);
    let device = burnrec_models::device::open(burnrec_models::DeviceChoice::Cpu).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.safetensors");
    let shape = burnrec_models::Shape { n_users: 30, n_items: 20 };
    for missing in ["histories.cols", "item_weights.values"] {
        let mut weights = model.weights();
        weights.retain(|(name, _)| name != missing);
        tensors::write(&path, &weights).unwrap();
        let error = model.config().load(&TensorFile::open(&path).unwrap(), shape, &device).err();
        assert!(error.expect("it is refused").to_string().contains(missing), "{missing}");
    }
}
