//! Histories weighted by the age of their rows, in item-item models against plain sums in f64, and in matrix factorisation.
//! ALS has a test of its own (`als_recency.rs`).

use burnrec_data::rng::stream;
use burnrec_data::{Csr, Entry};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::{ClosedForm, ItemItemLearner, ItemMatrix, NeighboursOf};
use burnrec_models::knn::KnnConfig;
use burnrec_models::mf::{AgedMfLearner, MfConfig};
use burnrec_models::nn::loss::Loss;
use burnrec_models::nn::{NnLearner, NnTraining};
use burnrec_models::rp3beta::Rp3betaConfig;
use burnrec_models::testing::catalog;
use burnrec_models::{DeviceChoice, Learner, Model, Recency, Silent};
use rand::RngExt;

const USERS: usize = 50;
const ITEMS: usize = 40;
const DAY: i64 = 86_400;
const RECENCIES: [Recency; 2] = [Recency::Rows(2.5), Recency::Days(4.0)];

/// Entries of up to 24 rows a user, the oldest first, with times in no even steps; of a repeated item the newest counts.
fn entries() -> Vec<Vec<Entry>> {
    let history = |user: usize| {
        let mut rng = stream(3, "histories", user as u64);
        let mut time = 1_000_000_000;
        let mut entry = |_| {
            time += rng.random_range(0..3 * DAY);
            let (col, value) = (rng.random_range(0..ITEMS as u32), rng.random_range(0..=5) as f32);
            Entry { col, value, time: Some(time) }
        };
        let all: Vec<Entry> = (0..user % 25).map(&mut entry).collect();
        let is_newest = |at: usize| all[at + 1..].iter().all(|newer| newer.col != all[at].col);
        (0..all.len()).filter(|&at| is_newest(at)).map(|at| all[at]).collect()
    };
    (0..USERS).map(history).collect()
}

fn unordered(train: &Csr) -> Csr {
    Csr::new(ITEMS, train.offsets().to_vec(), train.cols().to_vec(), train.values().to_vec())
}

fn cpu() -> OpenDevice {
    device::open(DeviceChoice::Cpu).expect("the CPU")
}

/// Returns `B_ij`.
fn weight(matrix: &ItemMatrix, i: u32, j: u32) -> f64 {
    match matrix {
        ItemMatrix::Dense { n_items, weights } => weights[i as usize * n_items + j as usize].into(),
        ItemMatrix::Sparse(rows) => {
            let (items, weights) = rows.row(i as usize);
            items.iter().position(|&item| item == j).map_or(0.0, |at| weights[at].into())
        }
    }
}

/// Checks the scores of a family by the definition: the sum over the rows of a history of what the row counts, times
/// `e^(-age / tau)`, times the item's weights.
fn scores_are_plain_sums<F: ClosedForm>(with: impl Fn(Recency) -> F, count: impl Fn(f32) -> f64) {
    let entries = entries();
    let train = Csr::from_histories(ITEMS, entries.clone());
    let fitted = |recency: Recency| -> Box<dyn Model> {
        let mut learner = ItemItemLearner::new(&train, with(recency)).expect("a learner");
        learner.epoch(&Silent).expect("an epoch");
        learner.model()
    };
    let matrix = with(Recency::None).solve(&train, &Silent).expect("solved");
    let plain = catalog(&*fitted(Recency::None));
    for recency in RECENCIES {
        assert_eq!(with(recency).solve(&train, &Silent).expect("solved"), matrix, "training reads no ages");
        let model = fitted(recency);
        let scores = catalog(&*model);
        for (history, scores) in entries.iter().zip(scores.chunks_exact(ITEMS)) {
            let newest = history.last().and_then(|entry| entry.time).unwrap_or_default();
            for (item, &score) in (0..).zip(scores) {
                let term = |(before, entry): (usize, &Entry)| {
                    let age = match recency {
                        Recency::Rows(tau) => (history.len() - 1 - before) as f64 / f64::from(tau),
                        Recency::Days(tau) => {
                            (newest - entry.time.expect("a time")) as f64 / DAY as f64 / f64::from(tau)
                        }
                        Recency::None => unreachable!("none is weighed"),
                    };
                    count(entry.value) * (-age).exp() * weight(&matrix, entry.col, item)
                };
                let expected: f64 = history.iter().enumerate().map(term).sum();
                let apart = (f64::from(score) - expected).abs();
                assert!(apart < 1e-5 * expected.abs().max(1.0), "{score} is {expected}: {recency:?}");
            }
        }
        assert!(scores != plain, "{recency:?} changes scores");
        let folded = model.as_fold_in().expect("folds in").fold_in(&train).expect("histories");
        assert_eq!(catalog(&*folded), scores, "an unknown user with the same history");
        let refused = ItemItemLearner::new(&unordered(&train), with(recency)).err().expect("refused");
        assert!(refused.to_string().contains("found histories without an order"), "{refused}");
    }
    let mut learner = ItemItemLearner::new(&train, with(Recency::None)).expect("a learner");
    learner.epoch(&Silent).expect("an epoch");
    assert_eq!(catalog(&*learner.model()), plain, "without recency the order changes no bit");
    let refused = ItemItemLearner::new(&train, with(Recency::Rows(0.0))).err().expect("refused");
    assert!(refused.to_string().starts_with("recency: found 0, expected a finite number"), "{refused}");
}

#[test]
fn item_item_models_sum_their_histories_by_age() {
    let one = |value: f32| if value > 0.0 { 1.0 } else { 0.0 };
    scores_are_plain_sums(|recency| EaseConfig { reg: 3.0, recency }, one);
    scores_are_plain_sums(|recency| Rp3betaConfig { k: 12, recency, ..Rp3betaConfig::default() }, one);
    for neighbours_of in [NeighboursOf::History, NeighboursOf::Target] {
        let knn = |recency| KnnConfig { k: 12, neighbours_of, recency, ..KnnConfig::default() };
        scores_are_plain_sums(knn, f64::from);
    }
}

#[test]
fn users_of_matrix_factorisation_are_those_that_are_folded_in() {
    let train = Csr::from_histories(ITEMS, entries());
    let training = NnTraining { batch_size: 64, learning_rate: 0.02, ..NnTraining::default() };
    let device = cpu();
    for (loss, recency) in [Loss::Bce, Loss::Mse].into_iter().flat_map(|loss| RECENCIES.map(|of| (loss, of)))
    {
        let plain = MfConfig { dim: 5, loss, reg: 0.01, ..MfConfig::default() };
        let config = MfConfig { recency, ..plain.clone() };
        let learner = || AgedMfLearner::new(&train, &config, &training, 7, &device).expect("a learner");
        let (mut aged, mut other) =
            (learner(), NnLearner::new(&train, &plain, &training, 7, &device).expect("one"));
        for _ in 0..2 {
            aged.epoch(&Silent).expect("an epoch");
            other.epoch(&Silent).expect("an epoch");
        }
        let (model, other) = (aged.model(), other.model());
        let items = |model: &dyn Model| model.item_vectors().expect("items").values.to_vec();
        assert_eq!(items(&*model), items(&*other), "items are trained as they are");
        let folded = model.as_fold_in().expect("folds in").fold_in(&train).expect("histories");
        assert_eq!(catalog(&*folded), catalog(&*model), "{loss:?} {recency:?}");
        let alike = other.as_fold_in().expect("folds in").fold_in(&train).expect("histories");
        assert!(catalog(&*alike) != catalog(&*folded), "{recency:?} changes scores");
        let dir = tempfile::tempdir().expect("a folder");
        aged.save_state(dir.path()).expect("saved");
        let mut resumed = learner();
        resumed.load_state(dir.path()).expect("loaded");
        assert_eq!(catalog(&*resumed.model()), catalog(&*model), "a resumed learner");
        let refused = AgedMfLearner::new(&unordered(&train), &config, &training, 7, &device).err();
        let refused = refused.expect("refused").to_string();
        assert!(refused.contains("found histories without an order"), "{refused}");
    }
}
