//! The gate before a release: what it compares, and what it lets through.

mod common;

use burnrec_data::filter::Filters;
use burnrec_data::split::{SplitConfig, TimePoint};
use burnrec_data::synth::{SynthConfig, synth};
use burnrec_data::{Dataset, IdColumn, Interactions, Prepared};
use burnrec_models::Silent;
use burnrec_train::gate::Gate;
use burnrec_train::metrics::Metric;
use burnrec_train::run::{Trained, run};
use common::runs::{config, cpu};

const ALS: &str = "model = 'als'\ndim = 8\nepochs = 5";
const EASE: &str = "model = 'ease'\nepochs = 1\nreg = 20";
const NOBODY_FOLDS_IN: &str = "model = 'popularity'\nepochs = 1";

fn prepared(dataset: Dataset) -> Prepared {
    let split = SplitConfig::Temporal { valid_from: TimePoint::Quantile(0.8), test_from: TimePoint::Quantile(0.9) };
    Prepared::build(dataset, None, None, &Filters::default(), &split, 1).expect("a split")
}

fn dataset(seed: u64) -> Dataset {
    synth(&SynthConfig::new(300, 80, 9000, seed)).expect("rows")
}

fn trained(text: &str, data: &Prepared) -> Trained {
    run(data, &config(text), &cpu(), None, &mut |_| Ok(()), &Silent).expect("a run")
}

/// The same rows under other ids, in another order of rows, without some items.
fn renamed(dataset: &Dataset) -> Dataset {
    let Interactions { users, items, values, times } = &dataset.interactions;
    let ids = |row: u32| format!("x{:05}", 90_000 - row);
    let users = users.iter().map(|user| ids(user.0)).collect();
    let items = items.iter().map(|item| ids(item.0)).collect();
    Dataset::from_columns("renamed", IdColumn::Str(users), IdColumn::Str(items), Some(values.clone()), Some(times.clone())).expect("columns")
}

#[test]
fn a_model_beside_itself_is_promoted_and_a_worse_one_is_refused() {
    let data = prepared(dataset(3));
    let gate = Gate { metric: Metric::Ndcg(10), not_worse_by: 0.0, users: 50 };
    for text in [EASE, NOBODY_FOLDS_IN] {
        let model = trained(text, &data);
        let same = gate.judge(&model, Some(&model.recommender), &data, &Silent).expect("judged");
        let (theirs, difference) = same.serving.expect("a serving model");
        assert_eq!((same.candidate, difference.value, same.refused.as_deref()), (theirs, 0.0, None), "{text}");
        assert_eq!(same.candidate as f32, model.record.metrics.test.value(gate.metric).expect("a metric") as f32);
    }
    let (good, bad) = (trained(EASE, &data), trained(NOBODY_FOLDS_IN, &data));
    let gate = Gate { not_worse_by: 0.005, ..gate };
    let verdict = gate.judge(&bad, Some(&good.recommender), &data, &Silent).expect("judged");
    assert!(verdict.refused.expect("refused").starts_with("ndcg@10 is "));
    assert_eq!(gate.judge(&good, Some(&bad.recommender), &data, &Silent).expect("judged").refused, None);
    assert_eq!(gate.judge(&bad, None, &data, &Silent).expect("judged").refused, None, "the first to serve");
    let many = Gate { users: 100_000, ..gate };
    let refused = many.judge(&good, None, &data, &Silent).expect("judged").refused.expect("refused");
    assert!(refused.ends_with("users were judged, where gate.users asks for 100000"), "{refused}");
}

#[test]
fn the_serving_model_is_asked_in_outside_ids() {
    // The rows of the serving model have another order than those of the data.
    let (rows, other) = (dataset(4), renamed(&dataset(4)));
    let (data, theirs) = (prepared(rows), prepared(other.clone()));
    let gate = Gate { metric: Metric::Recall(20), not_worse_by: 0.0, users: 50 };
    for text in [EASE, ALS, NOBODY_FOLDS_IN] {
        let (ours, renamed) = (trained(text, &data), trained(text, &theirs));
        // Under its own ids it knows nobody and nothing, and under theirs it is the same model.
        let verdict = gate.judge(&ours, Some(&renamed.recommender), &data, &Silent).expect("judged");
        assert_eq!(verdict.serving.expect("a serving model").0, 0.0, "{text}");
        let itself = gate.judge(&renamed, Some(&renamed.recommender), &theirs, &Silent).expect("judged");
        let (value, _) = itself.serving.expect("a serving model");
        assert!((value - itself.candidate).abs() < 1e-3, "{text}: {value} beside {}", itself.candidate);
    }
}

#[test]
fn what_cannot_be_compared_is_said() {
    let data = prepared(dataset(5));
    let model = trained(EASE, &data);
    let gate = Gate { metric: Metric::Coverage(10), ..Gate::default() };
    let error = gate.judge(&model, None, &data, &Silent).expect_err("no mean over users").to_string();
    assert!(error.starts_with("gate.metric: found coverage@10, expected one of hr@5"), "{error}");
    for (gate, key) in [(Gate { not_worse_by: -1.0, ..Gate::default() }, "gate.not_worse_by"), (Gate { users: 0, ..Gate::default() }, "gate.users")] {
        let error = gate.validate().expect_err("out of range").to_string();
        assert!(error.starts_with(key), "{error}");
    }
}
