//! Tests evaluation with scorers whose metrics are known: both protocols, ratings, folding in, and bad input.

mod common;

use burnrec_data::{Candidates, Csr, Holdout, ItemIx, Lists, UserIx};
use burnrec_models::{FoldIn, Progress, Scorer, Silent};
use burnrec_train::evaluate::{EvaluateOptions, Scores, evaluate};
use burnrec_train::metrics::Metric;

use common::{Table, drawn, matrix, seeded};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// A model without users of its own, which scores an item by how near it is to the last item of a history.
struct NextToLast {
    n_items: usize,
}

impl Scorer for NextToLast {
    fn n_users(&self) -> usize {
        0
    }

    fn n_items(&self) -> usize {
        self.n_items
    }

    fn score_pairs(&self, _: &[UserIx], _: &[ItemIx], _: &mut [f32]) {
        panic!("asked without folding in");
    }

    fn score_catalog(&self, _: &[UserIx], _: &mut [f32]) {
        panic!("asked without folding in");
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }
}

impl FoldIn for NextToLast {
    fn fold_in(&self, histories: &Csr) -> burnrec_models::Result<Box<dyn Scorer>> {
        let near = |user: usize, item: usize| {
            let last = histories.row(user).0.last().map_or(0, |&last| last as usize);
            -(item.abs_diff(last + 1) as f32)
        };
        Ok(Box::new(Table::of(histories.n_rows(), self.n_items, near)))
    }
}

fn options() -> EvaluateOptions {
    EvaluateOptions { ks: vec![1, 5, 10], resamples: 50, ..Default::default() }
}

fn value(scores: &Scores, name: &str) -> f64 {
    scores.value(name.parse().unwrap()).unwrap_or_else(|| panic!("{name} in {scores:?}"))
}

#[track_caller]
fn refused(scorer: &dyn Scorer, holdout: &Holdout, train: &Csr, options: &EvaluateOptions, words: &str) {
    let error = evaluate(scorer, holdout, train, options, &Silent).unwrap_err().to_string();
    assert!(error.contains(words), "found {error:?}, expected {words:?}");
}

/// Returns whether a metric says how well relevant items are found.
fn finds(metric: &Metric) -> bool {
    !matches!(metric, Metric::Auc | Metric::Coverage(_) | Metric::Novelty(_))
}

#[test]
fn a_constant_scorer_finds_nothing() {
    let (train, holdout) = seeded(1, 40, 100, 3);
    for holdout in [holdout.clone(), drawn(holdout, 0.5, 2)] {
        let scores =
            evaluate(&Table::of(40, 100, |_, _| 0.25), &holdout, &train, &options(), &Silent).unwrap();
        for (metric, score) in
            scores.metrics.iter().filter(|(metric, _)| finds(metric) && metric.k().is_some())
        {
            assert_eq!((score.value, score.low, score.high), (0.0, Some(0.0), Some(0.0)), "{metric}");
        }
        assert_eq!(value(&scores, "auc"), 0.5);
    }
}

#[test]
fn a_scorer_of_nan_finds_nothing_and_wins_no_pair() {
    let (train, holdout) = seeded(1, 40, 100, 3);
    let scores =
        evaluate(&Table::of(40, 100, |_, _| f32::NAN), &holdout, &train, &options(), &Silent).unwrap();
    for name in ["hr@10", "ndcg@10", "map@10", "mrr@10", "auc"] {
        assert_eq!(value(&scores, name), 0.0, "{name}");
    }
}

#[test]
fn a_perfect_scorer_has_one() {
    let (train, holdout) = seeded(3, 40, 100, 1);
    let perfect = Table::of(40, 100, |user, item| f32::from(holdout.relevant.contains(user, item as u32)));
    for holdout in [holdout.clone(), drawn(holdout.clone(), 0.5, 2)] {
        let scores = evaluate(&perfect, &holdout, &train, &options(), &Silent).unwrap();
        for name in ["hr@1", "ndcg@10", "recall@5", "precision@1", "map@10", "mrr", "mrr@5", "auc"] {
            assert_eq!(value(&scores, name), 1.0, "{name}");
        }
        assert!((value(&scores, "precision@5") - 0.2).abs() < 1e-12);
    }
}

#[test]
fn a_random_scorer_finds_k_of_n_plus_one() {
    let (n_users, n_items) = (4000, 100);
    let mut rng = Pcg64::seed_from_u64(5);
    let relevant: Vec<Vec<u32>> = (0..n_users).map(|_| vec![rng.random_range(0..n_items as u32)]).collect();
    let holdout = Holdout {
        users: (0..n_users as u32).map(UserIx).collect(),
        relevant: matrix(n_items, &relevant),
        history: Csr::empty(n_users, n_items),
        candidates: Candidates::Unseen,
        fold_in: false,
    };
    let random = Table::of(n_users, n_items, |_, _| rng.random());
    let scores = evaluate(&random, &holdout, &Csr::empty(n_users, n_items), &options(), &Silent).unwrap();
    for k in [1, 5, 10] {
        let expected = k as f64 / n_items as f64;
        let deviation = (expected * (1.0 - expected) / n_users as f64).sqrt();
        let found = value(&scores, &format!("hr@{k}"));
        assert!((found - expected).abs() < 3.5 * deviation, "hr@{k} {found}, expected {expected}");
    }
    assert!((value(&scores, "auc") - 0.5).abs() < 0.02);
    let auc = scores.metrics[&Metric::Auc];
    assert!(auc.low.unwrap() < 0.5 && 0.5 < auc.high.unwrap(), "{auc:?}");
}

#[test]
fn drawing_all_unseen_items_is_full_ranking() {
    let (train, full) = seeded(7, 60, 80, 6);
    let all = drawn(full.clone(), 1.0, 0);
    let mut rng = Pcg64::seed_from_u64(8);
    let coarse = Table::of(60, 80, |_, _| rng.random_range(0..12u32) as f32);
    let full = evaluate(&coarse, &full, &train, &options(), &Silent).unwrap();
    let all = evaluate(&coarse, &all, &train, &options(), &Silent).unwrap();
    assert_eq!(full.metrics, all.metrics);
    assert_eq!(full.protocol, "full ranking");
    assert!(all.protocol.ends_with("drawn candidates"), "{}", all.protocol);
}

#[test]
fn threads_do_not_change_the_result() {
    let (train, holdout) = seeded(9, 1500, 1000, 4);
    let mut rng = Pcg64::seed_from_u64(10);
    let model = Table::of(1500, 1000, |_, _| rng.random());
    let options = EvaluateOptions { rating: true, ..options() };
    for holdout in [holdout.clone(), drawn(holdout, 0.1, 3)] {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| evaluate(&model, &holdout, &train, &options, &Silent).unwrap())
        };
        assert_eq!(with(1), with(3));
    }
}

#[test]
fn the_protocol_says_how_many_were_drawn() {
    let lists = |lengths: &[u32]| {
        let mut lists = Lists::new();
        lengths.iter().for_each(|&n| lists.push(&(1..=n).map(ItemIx).collect::<Vec<_>>()));
        Candidates::Drawn(lists)
    };
    let mut holdout = Holdout {
        users: vec![UserIx(0), UserIx(1)],
        relevant: matrix(5, &[vec![0], vec![0]]),
        history: Csr::empty(2, 5),
        candidates: lists(&[3, 3]),
        fold_in: false,
    };
    let judge = |holdout: &Holdout| {
        evaluate(&Table::of(2, 5, |_, _| 0.0), holdout, &Csr::empty(2, 5), &options(), &Silent).unwrap()
    };
    assert_eq!(judge(&holdout).protocol, "3 drawn candidates");
    holdout.candidates = lists(&[2, 3]);
    assert_eq!(judge(&holdout).protocol, "2 to 3 drawn candidates");
}

#[test]
fn ratings_of_cold_pairs_are_left_out_and_counted() {
    // User 2 and item 3 have no training row. Warm pairs: (0, 2) rated 4, (1, 0) rated 1.
    let train = matrix(4, &[vec![0, 1], vec![1, 2], vec![]]);
    let (users, items) = ([0, 0, 1, 2].map(UserIx), [2, 3, 0, 1].map(ItemIx));
    let holdout = Holdout {
        users: [0, 1, 2].map(UserIx).to_vec(),
        relevant: Csr::from_rows(3, 4, &users, &items, &[4.0, 5.0, 1.0, 2.0]),
        history: train.clone(),
        candidates: Candidates::Unseen,
        fold_in: false,
    };
    let options = EvaluateOptions { rating: true, resamples: 200, ..options() };
    let scores = evaluate(&Table::of(3, 4, |_, _| 3.0), &holdout, &train, &options, &Silent).unwrap();
    assert_eq!((scores.users, scores.cold_pairs), (3, Some(2)));
    assert_eq!(value(&scores, "rmse"), (5f64 / 2.0).sqrt());
    assert_eq!(value(&scores, "mae"), 1.5);
    let rmse = scores.metrics[&Metric::Rmse];
    assert_eq!((rmse.low, rmse.high), (Some(1.0), Some(2.0)));

    let nan = Table::of(3, 4, |_, item| if item == 2 { f32::NAN } else { 3.0 });
    refused(&nan, &holdout, &train, &options, "a predicted rating that is not finite");
    let cold = evaluate(&nan, &holdout, &Csr::empty(3, 4), &options, &Silent).unwrap();
    assert_eq!((cold.users, cold.cold_pairs), (3, Some(4)));
    assert!(cold.value(Metric::Rmse).is_none() && cold.value(Metric::Mae).is_none());
    assert!(cold.value(Metric::Hr(10)).is_some(), "the other metrics are there");
}

#[test]
fn lists_worked_by_hand() {
    // Three of four users have item 0, one has item 1; nobody has 2 or 3. The model prefers 3, 2, 1, 0.
    let train = matrix(4, &[vec![0], vec![0], vec![0], vec![1]]);
    let holdout = Holdout {
        users: [0, 3].map(UserIx).to_vec(),
        relevant: matrix(4, &[vec![1], vec![0]]),
        history: train.select_rows([0, 3].into_iter()),
        candidates: Candidates::Unseen,
        fold_in: false,
    };
    let options = EvaluateOptions { ks: vec![1, 3], ..options() };
    let scores =
        evaluate(&Table::of(4, 4, |_, item| item as f32), &holdout, &train, &options, &Silent).unwrap();
    // Lists: 3 2 1 and 3 2 0.
    assert_eq!(value(&scores, "coverage@1"), 0.25);
    assert_eq!(value(&scores, "coverage@3"), 1.0);
    assert_eq!(scores.metrics[&Metric::Coverage(3)].low, None);
    assert_eq!(value(&scores, "novelty@1"), 2.0);
    let expected = (6.0 / 3.0 + (4.0 + (4f64 / 3.0).log2()) / 3.0) / 2.0;
    assert!((value(&scores, "novelty@3") - expected).abs() < 1e-12);
    assert_eq!(scores.per_user[&Metric::Mrr(None)], [1f32 / 3.0, 1f32 / 3.0]);
    assert_eq!(scores.judged_users, [UserIx(0), UserIx(3)]);
    assert_eq!((scores.per_item.shown, scores.per_item.hits), (vec![1, 1, 2, 2], vec![1, 1, 0, 0]));
}

#[test]
fn users_without_rows_are_folded_in() {
    let holdout = Holdout {
        users: [90, 91].map(UserIx).to_vec(),
        relevant: matrix(9, &[vec![3], vec![8]]),
        history: matrix(9, &[vec![0, 2], vec![5]]),
        candidates: Candidates::Unseen,
        fold_in: true,
    };
    let train = Csr::empty(0, 9);
    let scores = evaluate(&NextToLast { n_items: 9 }, &holdout, &train, &options(), &Silent).unwrap();
    // 3 is next to 2, hence first; of 8's rivals 6, 7 and 4 are nearer to 6, with 4 tied and so ahead.
    assert_eq!(scores.per_user[&Metric::Mrr(None)], [1.0, 0.25]);
    refused(&Table::of(99, 9, |_, _| 0.0), &holdout, &train, &options(), "a model that cannot fold users in");

    // For ratings a folded-in user is as warm as its history: user 90 is, with items 3 and 8 warm, and 91 is not.
    let holdout = Holdout { history: matrix(9, &[vec![0, 2], vec![]]), ..holdout };
    let rating = EvaluateOptions { rating: true, ..options() };
    let train = matrix(9, &[vec![3, 8]]);
    let scores = evaluate(&NextToLast { n_items: 9 }, &holdout, &train, &rating, &Silent).unwrap();
    assert_eq!((value(&scores, "rmse"), scores.cold_pairs), (1.0, Some(1)));
}

#[test]
fn users_without_held_out_items_are_left_out() {
    let mut holdout = seeded(1, 3, 10, 1).1;
    let train = holdout.history.clone();
    holdout.relevant = matrix(10, &[vec![], vec![holdout.relevant.row(1).0[0]], vec![]]);
    let model = Table::of(3, 10, |_, _| 0.0);
    let scores = evaluate(&model, &holdout, &train, &options(), &Silent).unwrap();
    assert_eq!((scores.users, scores.judged_users.as_slice()), (1, &[UserIx(1)][..]));
    holdout.relevant = Csr::empty(3, 10);
    refused(&model, &holdout, &train, &options(), "a holdout without held-out items");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (train, holdout) = seeded(1, 3, 10, 1);
    let model = Table::of(3, 10, |_, _| 0.0);
    let zero = EvaluateOptions { ks: vec![10, 0], ..options() };
    refused(&model, &holdout, &train, &zero, "a cut of 0");
    refused(&Table::of(3, 9, |_, _| 0.0), &holdout, &train, &options(), "10 items in the holdout");
    refused(&Table::of(2, 10, |_, _| 0.0), &holdout, &train, &options(), "user row 2 in the holdout");
    refused(&model, &holdout, &Csr::empty(3, 9), &options(), "9 items in the training matrix");
    let short = Holdout { history: Csr::empty(2, 10), ..holdout.clone() };
    refused(&model, &short, &train, &options(), "2 rows of histories");
    let with = |item: u32| {
        let mut lists = Lists::new();
        (0..3).for_each(|_| lists.push(&[ItemIx(item)]));
        Holdout { candidates: Candidates::Drawn(lists), ..holdout.clone() }
    };
    refused(&model, &with(10), &train, &options(), "candidate item row 10");
    refused(&model, &with(holdout.relevant.row(0).0[0]), &train, &options(), "both held out and a candidate");
}

#[test]
fn scores_are_one_json_object_and_come_back() {
    let (train, holdout) = seeded(1, 30, 50, 1);
    let options = EvaluateOptions { ks: vec![10], ..options() };
    let scores =
        evaluate(&Table::of(30, 50, |_, item| item as f32), &holdout, &train, &options, &Silent).unwrap();
    let json = serde_json::to_value(&scores).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let expected = [
        "protocol",
        "users",
        "hr@10",
        "ndcg@10",
        "recall@10",
        "capped-recall@10",
        "precision@10",
        "map@10",
        "mrr",
        "mrr@10",
        "auc",
        "coverage@10",
        "novelty@10",
    ];
    assert_eq!(keys, expected);
    assert!(json["hr@10"]["low"].as_f64() <= json["hr@10"]["value"].as_f64());
    let back: Scores = serde_json::from_value(json).unwrap();
    assert_eq!((back.metrics, back.users, back.protocol), (scores.metrics, 30, scores.protocol));

    let none = EvaluateOptions { resamples: 0, ..options };
    let scores = evaluate(&Table::of(30, 50, |_, _| 0.0), &holdout, &train, &none, &Silent).unwrap();
    assert_eq!(serde_json::to_value(&scores).unwrap()["hr@10"], serde_json::json!({ "value": 0.0 }));
}

#[test]
fn ratings_are_clipped_to_the_values_of_training_where_that_is_asked_for() {
    let train = Csr::new(3, vec![0, 2, 4], vec![0, 1, 1, 2], vec![1.0, 5.0, 2.0, 4.0]);
    let holdout = Holdout {
        users: [0, 1].map(UserIx).to_vec(),
        relevant: Csr::from_rows(2, 3, &[0, 1].map(UserIx), &[2, 0].map(ItemIx), &[4.0, 3.0]),
        history: train.clone(),
        candidates: Candidates::Unseen,
        fold_in: false,
    };
    // The errors are 3 and -5; clipped to 1 and 5, they are 1 and -2.
    let scores = Table::of(2, 3, |user, _| if user == 0 { 7.0 } else { -2.0 });
    let rmse = |clip| {
        let options = EvaluateOptions { rating: true, clip, ..options() };
        value(&evaluate(&scores, &holdout, &train, &options, &Silent).unwrap(), "rmse")
    };
    assert_eq!((rmse(false), rmse(true)), (17f64.sqrt(), 2.5f64.sqrt()));
}

#[test]
fn progress_counts_every_user() {
    #[derive(Default)]
    struct Count(std::sync::atomic::AtomicU64, std::sync::Mutex<Vec<u64>>);
    impl Progress for Count {
        fn begin(&self, _: &str, total: u64) {
            self.1.lock().unwrap().push(total);
        }
        fn advance(&self, steps: u64) {
            self.0.fetch_add(steps, std::sync::atomic::Ordering::Relaxed);
        }
        fn note(&self, _: &str) {}
        fn end(&self) {}
    }
    let (train, holdout) = seeded(2, 1500, 1000, 1);
    let count = Count::default();
    evaluate(&Table::of(1500, 1000, |_, _| 0.0), &holdout, &train, &options(), &count).unwrap();
    assert_eq!((count.0.into_inner(), count.1.into_inner().unwrap()), (1500, vec![1500]));
}
