//! Rows that never learned count as unknown wherever a model answers, and no score leaves its range.

use std::sync::Arc;

use burnrec_data::{Candidates, Csr, Holdout, ItemIx, UserIx, Vocab};
use burnrec_models::als::{AlsConfig, AlsLearner, AlsModel, Weighting, Weights};
use burnrec_models::trained::{Answering, TrainedRows};
use burnrec_models::{Learner, Query, Recommender, Scorer, Silent};

const USERS: usize = 12;
const ITEMS: usize = 9;

/// Users 0 to 10 have items 0 to 7, with values from 2 to 4; user 11 and item 8 have no row.
fn train() -> Csr {
    let (mut users, mut items, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for user in 0..USERS as u32 - 1 {
        for item in (0..ITEMS as u32 - 1).filter(|item| (user + item * item) % 3 != 0) {
            users.push(UserIx(user));
            items.push(ItemIx(item));
            values.push((2 + (user * item) % 3) as f32);
        }
    }
    Csr::from_rows(USERS, ITEMS, &users, &items, &values)
}

fn recommender(config: AlsConfig) -> Recommender {
    let train = train();
    let mut learner = AlsLearner::new(&train, AlsConfig { dim: 3, ..config }, 5).expect("sound settings");
    (0..5).for_each(|_| drop(learner.epoch(&Silent).expect("an epoch")));
    let ids = |n: usize| Vocab::from_ints((0..n as i64).collect());
    Recommender::new(learner.model(), ids(USERS), ids(ITEMS), train)
}

#[test]
fn a_row_that_never_learned_is_unknown() {
    for config in [AlsConfig::explicit(), AlsConfig::default()] {
        let run = recommender(config);
        for error in [run.recommend(11, 3).unwrap_err(), run.recommend_many(&[1, 11], 3).unwrap_err()] {
            let expected = "user \"11\" has no training row; expected one of the 11 users that have";
            assert_eq!(error.to_string(), expected);
        }
        assert!(run.item(8).is_err() && run.similar(8, 3).is_err() && run.fold_in(&[(8, 3.0)]).is_err());
        assert!(run.recommend(12, 3).unwrap_err().to_string().contains("is not in the run"));
        let scores = run.score(&[(0, 0), (0, 8), (11, 0), (11, 8), (0, 99)]);
        assert_eq!(
            scores.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
        let all = run.recommend_all(Query::top(99).include_seen()).expect("lists");
        assert_eq!(all.len(), USERS - 1);
        assert!(all.iter().all(|(user, list)| user != "11" && list.len() == ITEMS - 1));
        assert!(all.iter().flat_map(|(_, list)| list).all(|item| item.id != "8"));
        assert!(run.similar(0, 99).expect("similar items").iter().all(|item| item.id != "8"));
        let guest = run.fold_in(&[(0, 3.0), (3, 2.0)]).expect("folded in");
        assert!(guest.recommend(99).expect("a list").iter().all(|item| item.id != "8"));
        assert_eq!(guest.score(&[8, 77]), [None, None]);
    }
}

#[test]
fn a_history_has_values_of_training_and_at_least_one() {
    let run = recommender(AlsConfig::explicit());
    for value in [99.0, 1.0, -2.0, 4.1, f32::NAN, f32::INFINITY] {
        let error = run.fold_in(&[(0, 3.0), (3, value)]).err().expect("refused").to_string();
        assert_eq!(
            error,
            format!("fold-in: found the value {value}, expected a value from 2 to 4, as in training")
        );
    }
    let error = run.fold_in::<i32>(&[]).err().expect("refused").to_string();
    assert_eq!(error, "fold-in: found an empty history, expected at least one item");
    let ones = TrainedRows::of(&train().map_values(|_, _, _| 1.0));
    let error = ones.check_value(4.0).unwrap_err().to_string();
    assert_eq!(error, "fold-in: found the value 4, expected 1, as all values of training are");
    assert!(TrainedRows::of(&Csr::empty(2, 3)).check_value(7.0).is_ok());
    assert!(TrainedRows::of(&Csr::empty(2, 3)).check_value(f32::NAN).is_err());
}

#[test]
fn a_score_that_is_not_finite_is_none() {
    let train = train();
    let mut users = vec![1.0; USERS * 3];
    users[..3].fill(f32::MAX);
    let mut items = vec![1.0; ITEMS * 3];
    items[6..9].fill(f32::MAX);
    let config = AlsConfig { dim: 3, ..AlsConfig::default() };
    let weights = Weights::from_saved(Weighting::None, Vec::new());
    let model = AlsModel::new(config, Arc::new(users), Arc::new(items), weights);
    let ids = |n: usize| Vocab::from_ints((0..n as i64).collect());
    let run = Recommender::new(Box::new(model), ids(USERS), ids(ITEMS), train);
    let scores = run.score(&[(0, 2), (1, 0)]);
    assert_eq!(scores, [None, Some(3.0)]);
    let list = run.recommend(0, Query::top(99).include_seen()).expect("a list");
    assert!(list.iter().all(|item| item.score.is_finite()), "{list:?}");
}

#[test]
fn answered_ratings_are_clipped_and_ranked_by_what_is_before_that() {
    // Item i is scored i - 1, where training has values from 2 to 4.
    for (clip, expected) in [(true, [2.0, 2.0, 3.0, 4.0, 4.0]), (false, [-1.0, 0.0, 3.0, 5.0, 6.0])] {
        let (users, items) = (vec![1.0; USERS], (0..ITEMS).map(|item| item as f32 - 1.0).collect());
        let config = AlsConfig { dim: 1, clip, ..AlsConfig::explicit() };
        let weights = Weights::from_saved(Weighting::None, Vec::new());
        let model = AlsModel::new(config, Arc::new(users), Arc::<Vec<f32>>::new(items), weights);
        let ids = |n: usize| Vocab::from_ints((0..n as i64).collect());
        let run = Recommender::new(Box::new(model), ids(USERS), ids(ITEMS), train());
        let asked = [0, 1, 4, 6, 7].map(|item| (3, item));
        assert_eq!(run.score(&asked), expected.map(Some));
        let list = run.recommend(3, Query::top(3).include_seen()).expect("a list");
        let ids: Vec<&str> = list.iter().map(|item| &item.id[..]).collect();
        assert_eq!(ids, ["7", "6", "5"]);
        assert_eq!(list[0].score, expected[4]);
    }
}

#[test]
fn what_is_judged_is_what_is_answered() {
    let run = recommender(AlsConfig::default());
    let answering = Answering::new(&*run.model, run.trained());
    let mut raw = vec![0.0; ITEMS];
    let popularity: Vec<f32> =
        (0..ITEMS as u32).map(|item| run.trained().popularity().count(ItemIx(item))).collect();
    for user in 0..USERS as u32 {
        let mut scores = vec![0.0; ITEMS];
        answering.score_catalog(&[UserIx(user)], &mut scores);
        run.model.score_catalog(&[UserIx(user)], &mut raw);
        let expected = if user == 11 { &popularity } else { &raw };
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
        assert!(scores[..ITEMS - 1].iter().zip(expected).all(near), "{scores:?}, expected {expected:?}");
        assert_eq!(scores[ITEMS - 1], f32::NEG_INFINITY);
        let mut pairs = vec![0.0; ITEMS];
        let items: Vec<ItemIx> = (0..ITEMS as u32).map(ItemIx).collect();
        answering.score_pairs(&[UserIx(user); ITEMS], &items, &mut pairs);
        assert_eq!(pairs[ITEMS - 1], f32::NEG_INFINITY);
        assert!(pairs[..ITEMS - 1].iter().zip(expected).all(near), "{pairs:?}, expected {expected:?}");
    }
    // A folded-in user whose history has no item that learned is answered by popularity too.
    let histories = Csr::from_rows(3, ITEMS, &[0, 1].map(UserIx), &[3, 8].map(ItemIx), &[3.0, 3.0]);
    let folded = answering.as_fold_in().expect("ALS folds in").fold_in(&histories).expect("folded in");
    let mut scores = vec![0.0; 3 * ITEMS];
    folded.score_catalog(&[0, 1, 2].map(UserIx), &mut scores);
    assert_ne!(scores[..ITEMS - 1], popularity[..ITEMS - 1]);
    for user in [1, 2] {
        assert_eq!(scores[user * ITEMS..(user + 1) * ITEMS - 1], popularity[..ITEMS - 1]);
    }
    let holdout = Holdout {
        users: vec![UserIx(0)],
        relevant: Csr::empty(1, ITEMS),
        history: Csr::empty(1, ITEMS),
        candidates: Candidates::Unseen,
        fold_in: false,
    };
    assert!(answering.rank_on_device(&[UserIx(0)], &holdout, &[0], 3, &[]).is_none(), "ALS is on the host");
}
