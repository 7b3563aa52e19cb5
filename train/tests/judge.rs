//! Evaluation gives the same values as the evaluators of other libraries (peers): implicit's `ranking_metrics_at_k`,
//! scikit-learn's AUC, `ndcg_score`, average precision, RMSE and MAE, Spark's `RankingEvaluator` and
//! `RegressionEvaluator`, on the same scores.
//!
//! `benches/peers/make_judge_fixture.py` drew the scores, ran the peers and wrote the fixture; `benches/peers/judge.py`
//! says which of their figures mean the same as ours, and why the others do not.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use burnrec_data::{Candidates, Csr, Holdout, ItemIx, UserIx};
use burnrec_models::Silent;
use burnrec_train::evaluate::{EvaluateOptions, Scores, evaluate};
use burnrec_train::metrics::Metric;
use common::{Table, matrix};
use serde::Deserialize;

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Fixture {
    n_users: usize,
    n_items: usize,
    ks: Vec<usize>,
    scores: Vec<Vec<f32>>,
    history: Vec<Vec<u32>>,
    relevant: Vec<Vec<u32>>,
    ratings: Vec<Vec<f32>>,
    cold_pairs: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    figures: Vec<Figure>,
}

/// A metric as a peer computes it, under our name for it, with its value for each judged user where the peer gives one.
#[derive(Deserialize)]
struct Figure {
    peer: String,
    function: String,
    metric: String,
    value: f64,
    per_user: Option<Vec<f64>>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/judge.json")).expect("the fixture")
}

impl Fixture {
    fn case(&self, name: &str) -> &Case {
        self.cases.iter().find(|case| case.name == name).expect("the case")
    }

    /// Evaluates the fixture's model, with the histories left out of the ranking or not.
    fn judged(&self, seen_removed: bool) -> Scores {
        let users: Vec<UserIx> = (0..self.n_users as u32).map(UserIx).collect();
        let rows =
            self.relevant.iter().zip(&users).flat_map(|(items, &user)| items.iter().map(move |_| user));
        let relevant = Csr::from_rows(
            self.n_users,
            self.n_items,
            &rows.collect::<Vec<_>>(),
            &self.relevant.concat().into_iter().map(ItemIx).collect::<Vec<_>>(),
            &self.ratings.concat(),
        );
        let train = matrix(self.n_items, &self.history);
        let history = if seen_removed { train.clone() } else { Csr::empty(self.n_users, self.n_items) };
        let holdout = Holdout { users, relevant, history, candidates: Candidates::Unseen, fold_in: false };
        let model = Table { n_items: self.n_items, scores: self.scores.concat() };
        let options =
            EvaluateOptions { ks: self.ks.clone(), rating: true, resamples: 0, ..Default::default() };
        evaluate(&model, &holdout, &train, &options, &Silent).expect("scores")
    }

    /// Returns the number of relevant items of each user who has any.
    fn n_relevant(&self) -> impl Iterator<Item = usize> {
        self.relevant.iter().map(Vec::len).filter(|&n| n > 0)
    }

    /// Returns precision as implicit computes it: the hits of all users over the most hits that they could have.
    fn pooled_precision(&self, ours: &Scores, k: usize) -> f64 {
        let hits: f64 = ours.per_user[&Metric::Precision(k)].iter().map(|&p| f64::from(p) * k as f64).sum();
        hits / self.n_relevant().map(|n| n.min(k) as f64).sum::<f64>()
    }
}

/// Returns our value of a peer's figure.
fn ours(fixture: &Fixture, scores: &Scores, metric: &str) -> f64 {
    match metric.strip_prefix("pooled_precision@") {
        Some(k) => fixture.pooled_precision(scores, k.parse().expect("a cut")),
        None => scores.value(metric.parse().expect("a metric of ours")).expect("a value"),
    }
}

/// Returns our value for each judged user.
fn ours_per_user(scores: &Scores, metric: &str) -> Vec<f64> {
    match metric.parse().expect("a metric of ours") {
        Metric::Rmse => scores.errors.iter().map(|errors| errors.rmse()).collect(),
        Metric::Mae => scores.errors.iter().map(|errors| errors.mae()).collect(),
        metric => scores.per_user[&metric].iter().map(|&value| f64::from(value)).collect(),
    }
}

fn agrees(case: &str, seen_removed: bool) {
    let fixture = fixture();
    let scores = fixture.judged(seen_removed);
    for Figure { peer, function, metric, value, per_user } in &fixture.case(case).figures {
        let ours = ours(&fixture, &scores, metric);
        let what = format!("{case}, {peer} {function}: {metric}");
        assert!((ours - value).abs() <= TOLERANCE, "{what}: found {ours}, expected {value}");
        let Some(theirs) = per_user else { continue };
        let ours = ours_per_user(&scores, metric);
        assert_eq!(ours.len(), theirs.len(), "{what}: users");
        for (user, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let apart = (ours - theirs).abs();
            assert!(apart <= TOLERANCE, "{what}: found {ours} of judged user {user}, expected {theirs}");
        }
    }
}

#[test]
fn full_ranking_without_what_was_seen_is_that_of_the_peers() {
    agrees("seen_removed", true);
}

#[test]
fn ranking_the_whole_catalogue_is_that_of_the_peers() {
    agrees("whole_catalogue", false);
}

#[test]
fn the_judged_users_and_pairs_are_those_of_the_peers() {
    let fixture = fixture();
    let scores = fixture.judged(true);
    assert_eq!((scores.users, scores.cold_pairs), (fixture.n_relevant().count(), Some(fixture.cold_pairs)));
    assert!(scores.users < fixture.n_users && fixture.cold_pairs > 0, "the fixture has the hard cases");
}

/// A figure that the fixture lacks would not be tested at all.
#[test]
fn the_peers_give_every_figure() {
    let fixture = fixture();
    let expected: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("implicit", &["ndcg@10", "map@10", "pooled_precision@10"][..]),
        ("scikit-learn", &["auc", "rmse", "mae", "ndcg@10", "map@90"]),
        ("spark", &["rmse", "mae", "ndcg@10", "map@10", "precision@10", "recall@10"]),
    ]);
    for case in &fixture.cases {
        for (peer, metrics) in &expected {
            let mine = case.figures.iter().filter(|figure| figure.peer == *peer);
            let given: BTreeSet<&str> = mine.map(|figure| figure.metric.as_str()).collect();
            let missing: Vec<_> = metrics.iter().filter(|metric| !given.contains(*metric)).collect();
            assert!(missing.is_empty(), "{}, {peer}: {missing:?}", case.name);
        }
    }
    let whole = &fixture.case("whole_catalogue").figures;
    assert!(whole.iter().any(|figure| figure.peer == "implicit" && figure.metric == "auc"));
}
