//! An evaluation whose ranks are found on a graphics adapter, software included, equals one that ranks the same scores on the
//! host.

use std::sync::Arc;

use burnrec_data::split::{Candidates, Holdout, Lists};
use burnrec_data::testing::skipped;
use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::ncf::{GmfConfig, NcfSpec};
use burnrec_models::nn::{InitialWeights, NnLearner, NnTraining};
use burnrec_models::trained::{Answering, TrainedRows};
use burnrec_models::{DeviceChoice, Learner, Model, Scorer, Shape, Silent};
use burnrec_train::evaluate::{EvaluateOptions, evaluate};

/// GMF of dim 1 with all weights 1 but the items' vectors.
fn model(shape: Shape, item: impl Fn(usize) -> f32, device: &OpenDevice) -> Box<dyn Model> {
    let weights: InitialWeights = [
        ("user_gmf", (0..shape.n_users).map(|user| 1.0 + (user % 3) as f32).collect()),
        ("item_gmf", (0..shape.n_items).map(item).collect()),
        ("output_weight", vec![1.0]),
        ("output_bias", vec![0.0]),
    ]
    .map(|(name, values): (_, Vec<f32>)| (name.to_owned(), values))
    .into();
    let architecture = NcfSpec::from(&GmfConfig { dim: 1, ..GmfConfig::default() });
    let training = NnTraining { batch_size: 64, ..NnTraining::default() };
    let train = matrix(shape, |user| vec![user as u32 % shape.n_items as u32]);
    NnLearner::with_weights(&train, &architecture, &training, 4, weights, device).expect("a learner").model()
}

/// Passes scores on, so that the ranks are those of the host.
struct ScoresAlone<'a>(&'a dyn Model);

impl Scorer for ScoresAlone<'_> {
    fn n_users(&self) -> usize {
        self.0.n_users()
    }

    fn n_items(&self) -> usize {
        self.0.n_items()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        self.0.score_pairs(users, items, out);
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        self.0.score_catalog(users, out);
    }
}

/// A matrix of ones with these items in the row of each user, ascending.
fn matrix(shape: Shape, row: impl Fn(usize) -> Vec<u32>) -> Csr {
    let (mut offsets, mut items) = (vec![0], Vec::new());
    for user in 0..shape.n_users {
        items.extend(row(user));
        offsets.push(items.len());
    }
    let values = vec![1.0; items.len()];
    Csr::new(shape.n_items, offsets, items, values)
}

/// The items of a user with `(item * 7 + user) % of` below `below`.
fn some(shape: Shape, user: usize, of: usize, below: usize) -> Vec<u32> {
    (0..shape.n_items as u32).filter(|&item| (item as usize * 7 + user) % of < below).collect()
}

/// Users without relevant items among users with one or many; histories that overlap with these.
fn holdout(shape: Shape, drawn: bool) -> Holdout {
    let relevant = matrix(shape, |user| match user % 4 {
        0 => Vec::new(),
        1 => vec![(user % shape.n_items) as u32],
        _ => some(shape, user, 11, 2),
    });
    let history = matrix(shape, |user| some(shape, user + 1, 6, 1));
    let candidates = if drawn {
        let mut lists = Lists::new();
        for user in 0..shape.n_users {
            let rivals =
                some(shape, user + 5, 3, 1).into_iter().filter(|&item| !relevant.contains(user, item));
            lists.push(&rivals.map(ItemIx).take(user % 90).collect::<Vec<_>>());
        }
        Candidates::Drawn(lists)
    } else {
        Candidates::Unseen
    };
    let users = (0..shape.n_users as u32).map(UserIx).collect();
    Holdout { users, relevant, history, candidates, fold_in: false }
}

#[test]
fn ranks_of_the_card_are_those_of_the_host() {
    let gpu = match device::open(DeviceChoice::Gpu(None)) {
        Ok(gpu) => gpu,
        Err(error) => return skipped("gpu", &format!("ranks_of_the_card_are_those_of_the_host: {error}")),
    };
    let shape = Shape { n_users: 203, n_items: 149 };
    let odd = [0.0, -0.0, f32::NEG_INFINITY, f32::INFINITY, f32::NAN, 1.5, -2.0];
    type Item<'a> = &'a dyn Fn(usize) -> f32;
    let kinds: [Item<'_>; 4] = [
        &|item| ((item * 37 % 101) as f32 - 50.0) / 50.0,
        &|item| (item * 5 % 4) as f32 - 1.0,
        &|_| 0.0,
        &|item| odd[item * 5 % odd.len()],
    ];
    for (kind, item) in kinds.into_iter().enumerate() {
        let model = model(shape, item, &gpu);
        let train = matrix(shape, |user| some(shape, user + 1, 6, 1));
        // Users from 190 on and each tenth item have no training row.
        let cold = matrix(shape, |user| match user {
            190.. => Vec::new(),
            _ => some(shape, user + 1, 6, 1).into_iter().filter(|item| item % 10 != 0).collect(),
        });
        let [train, cold] = [train, cold].map(|train| (Arc::new(TrainedRows::of(&train)), train));
        for drawn in [false, true] {
            let holdout = holdout(shape, drawn);
            let rows: Vec<usize> = (0..3).collect();
            let on_card = model.rank_on_device(&holdout.users[..3], &holdout, &rows, 5, &[]);
            assert_eq!(on_card.map(|ranked| ranked.len()), Some(3), "the card ranks");
            // A cut beyond the candidates of most users, and no list at all.
            for ks in [vec![5, 10], vec![120], Vec::new()] {
                let options = EvaluateOptions { ks, resamples: 20, ..EvaluateOptions::default() };
                for (trained, train) in [&train, &cold] {
                    let judge = |scorer: &dyn Scorer| {
                        let answering = Answering::new(scorer, trained);
                        evaluate(&answering, &holdout, train, &options, &Silent).expect("scores")
                    };
                    let (ours, theirs) = (judge(&*model), judge(&ScoresAlone(&*model)));
                    // Novelty of no item at all is no number, which equals nothing.
                    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"), "kind {kind}, drawn {drawn}");
                }
            }
        }
    }
}
