//! The gate before a release: what it compares, and what it lets through.

mod common;

use burnrec_data::filter::Filters;
use burnrec_data::split::{SplitConfig, TimePoint};
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_data::{Dataset, Interactions, Prepared, Vocab};
use burnrec_models::{Recommender, Silent};
use burnrec_train::gate::Gate;
use burnrec_train::metrics::Metric;
use burnrec_train::run::{Trained, run};
use common::runs::{config, cpu};

const EASE: &str = "model = 'ease'\nepochs = 1\nreg = 20";
const POPULARITY: &str = "model = 'popularity'\nepochs = 1";
const GMF: &str = "model = 'gmf'\ndim = 4\nepochs = 2\nbatch_size = 512";

fn prepared(dataset: Dataset) -> Prepared {
    let split =
        SplitConfig::Temporal { valid_from: TimePoint::Quantile(0.8), test_from: TimePoint::Quantile(0.9) };
    Prepared::build(dataset, None, None, &Filters::default(), &split, 1).expect("a split")
}

fn dataset(seed: u64) -> Dataset {
    synth(&SynthConfig::new(900, 80, 27_000, seed)).expect("rows")
}

fn trained(text: &str, data: &Prepared) -> Trained {
    run(data, &config(text), &cpu(), None, &mut |_| Ok(()), &Silent).expect("a run")
}

/// The rows of all but every seventh item and every eleventh user, so that rows stand elsewhere than in the whole.
fn part(dataset: &Dataset) -> Dataset {
    let Interactions { users, items, values, times } = &dataset.interactions;
    let keep: Vec<usize> =
        (0..users.len()).filter(|&at| items[at].0 % 7 != 0 && users[at].0 % 11 != 0).collect();
    let id = |vocab: &Vocab, row: u32| vocab.id(row).to_string();
    let users: Vec<String> = keep.iter().map(|&at| id(&dataset.users, users[at].0)).collect();
    let items: Vec<String> = keep.iter().map(|&at| id(&dataset.items, items[at].0)).collect();
    let of = |all: &[i64]| keep.iter().map(|&at| all[at]).collect();
    let values = keep.iter().map(|&at| values[at]).collect();
    Dataset::from_columns(users, items, Some(values), Some(of(times))).expect("columns")
}

#[test]
fn a_model_beside_itself_is_promoted_and_a_worse_one_is_refused() {
    let data = prepared(dataset(3));
    let gate = Gate { metric: Metric::Ndcg(10), not_worse_by: 0.0, users: 20 };
    for text in [EASE, POPULARITY] {
        let model = trained(text, &data);
        let same = gate.judge(&model, Some(&model.recommender), &data, &Silent).expect("judged");
        let (theirs, difference) = same.serving.expect("a serving model");
        assert_eq!(
            (same.candidate, difference.value, same.refused.as_deref()),
            (theirs, 0.0, None),
            "{text}"
        );
        assert_eq!(
            same.candidate as f32,
            model.record.metrics.test.value(gate.metric).expect("a metric") as f32
        );
    }
    let (good, bad) = (trained(EASE, &data), trained(POPULARITY, &data));
    let gate = Gate { not_worse_by: 0.005, ..gate };
    let verdict = gate.judge(&bad, Some(&good.recommender), &data, &Silent).expect("judged");
    assert!(verdict.refused.expect("refused").starts_with("ndcg@10 is "));
    assert_eq!(gate.judge(&good, Some(&bad.recommender), &data, &Silent).expect("judged").refused, None);
    assert_eq!(gate.judge(&bad, None, &data, &Silent).expect("judged").refused, None, "the first to serve");
    let many = Gate { users: 100_000, ..gate };
    let refused = many.judge(&good, None, &data, &Silent).expect("judged").refused.expect("refused");
    assert!(refused.ends_with("users were judged, where gate.users asks for 100000"), "{refused}");
}

/// Returns the recall@20 on test of a model that is asked item by item in outside ids: `scores` gives those of a user's unseen items, for
/// the user's row and the items seen.
fn recall(data: &Prepared, scores: impl Fn(u32, &[u32], &[String]) -> Vec<Option<f32>>) -> f64 {
    let train = data.matrix(&data.split.train, true);
    let seen = train.union(&data.matrix(&data.split.valid_rows, true), 0..train.n_rows());
    let (test, mut recalls) = (&data.split.test, Vec::new());
    for (row, user) in test.users.iter().enumerate() {
        let (relevant, seen) = (test.relevant.row(row).0, seen.row(user.at()).0);
        if relevant.is_empty() {
            continue;
        }
        let unseen: Vec<u32> = (0..data.items.len() as u32).filter(|row| !seen.contains(row)).collect();
        let ids: Vec<String> = unseen.iter().map(|&row| data.items.id(row).to_string()).collect();
        let scores = scores(user.0, seen, &ids);
        let known = unseen.iter().zip(scores).filter_map(|(&row, score)| Some((row, score?)));
        let mut ranked: Vec<(u32, f32)> = known.collect();
        // Ties count against the model.
        ranked
            .sort_by(|a, b| b.1.total_cmp(&a.1).then(relevant.contains(&a.0).cmp(&relevant.contains(&b.0))));
        let hits = ranked.iter().take(20).filter(|(row, _)| relevant.contains(row)).count();
        recalls.push(hits as f64 / relevant.len() as f64);
    }
    recalls.iter().sum::<f64>() / recalls.len() as f64
}

/// Returns how popular items are in the training rows of a model, of those that it knows.
fn by_popularity(model: &Recommender, ids: &[String]) -> Vec<Option<f32>> {
    let count = |id: &String| Some(model.trained().popularity().count(model.item(id).ok()?));
    ids.iter().map(count).collect()
}

#[test]
fn the_serving_model_is_asked_as_the_service_asks_it() {
    let rows = dataset(4);
    let (data, theirs) = (prepared(rows.clone()), prepared(part(&rows)));
    let gate = Gate { metric: Metric::Recall(20), not_worse_by: 0.0, users: 20 };
    let ours = trained(EASE, &data);
    let judged = |serving: &Recommender| {
        gate.judge(&ours, Some(serving), &data, &Silent).expect("judged").serving.expect("a serving model").0
    };
    // Who can be folded in is, from all rows before test.
    let serving = trained(EASE, &theirs).recommender;
    let expected = recall(&data, |_, seen, ids| {
        let ids_seen = seen.iter().map(|&row| data.items.id(row).to_string());
        let history: Vec<(String, f32)> =
            ids_seen.filter(|id| serving.item(id).is_ok()).map(|id| (id, 1.0)).collect();
        if history.is_empty() {
            return by_popularity(&serving, ids);
        }
        serving.fold_in(&history).expect("a history").score(ids)
    });
    let found = judged(&serving);
    assert!((found - expected).abs() < 1e-6, "{found} beside {expected}");

    // Who cannot has the row of training, and those that the model does not know the popularity of its items.
    let serving = trained(GMF, &theirs).recommender;
    assert!(serving.model.as_fold_in().is_none());
    let expected = recall(&data, |user, _, ids| {
        let user = data.users.id(user).to_string();
        match serving.user(&user) {
            Ok(_) => serving.score(&ids.iter().map(|id| (&user, id)).collect::<Vec<_>>()),
            Err(_) => by_popularity(&serving, ids),
        }
    });
    let found = judged(&serving);
    assert!((found - expected).abs() < 1e-6, "{found} beside {expected}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let data = prepared(dataset(5));
    let model = trained(EASE, &data);
    let gate = Gate { metric: Metric::Coverage(10), ..Gate::default() };
    let error = gate.judge(&model, None, &data, &Silent).expect_err("no mean over users").to_string();
    assert!(error.starts_with("gate.metric: found coverage@10, expected one of hr@5"), "{error}");
    for (gate, key) in [
        (Gate { not_worse_by: -1.0, ..Gate::default() }, "gate.not_worse_by"),
        (Gate { users: 0, ..Gate::default() }, "gate.users"),
    ] {
        let error = gate.validate().expect_err("out of range").to_string();
        assert!(error.starts_with(key), "{error}");
    }
}
