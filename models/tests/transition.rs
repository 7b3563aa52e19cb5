//! Transitions against a numpy program that writes out sources and targets and solves the normal equations as they stand
//! (`fixtures/transition.json`, which `benches/peers/make_transition_fixture.py` makes).

use burnrec_data::read::{ReadOptions, read};
use burnrec_data::testing::real_data;
use burnrec_data::{Csr, Entry, Id, ItemIx, UserIx};
use burnrec_models::testing::catalog;
use burnrec_models::transition::{Transition, TransitionConfig, TransitionLearner};
use burnrec_models::{Family, Learner, Model, Silent};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/transition.json")).expect("JSON")
}

fn settings(of: &Value) -> TransitionConfig {
    serde_json::from_value(of["settings"].clone()).expect("settings")
}

fn number(value: &Value) -> usize {
    value.as_u64().expect("a whole number") as usize
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn fitted(train: &Csr, config: TransitionConfig) -> Box<dyn Model> {
    let mut learner = TransitionLearner::new(train, config).expect("a learner");
    learner.epoch(&Silent).expect("an epoch");
    learner.model()
}

/// The histories of the fixture, the oldest row first.
fn histories(fixture: &Value) -> Vec<Vec<Entry>> {
    let entry = |item: &Value| Entry { col: number(item) as u32, value: 1.0, time: None };
    list(&fixture["histories"]).iter().map(|items| list(items).iter().map(entry).collect()).collect()
}

#[test]
fn scores_are_those_of_numpy() {
    let fixture = fixture();
    let train = Csr::from_histories(number(&fixture["n_items"]), histories(&fixture));
    for case in list(&fixture["cases"]) {
        let scores = catalog(&*fitted(&train, settings(case)));
        let expected: Vec<f64> = list(&case["scores"])
            .iter()
            .flat_map(list)
            .map(|score| score.as_f64().expect("a score"))
            .collect();
        assert_eq!(scores.len(), expected.len());
        for (score, expected) in scores.iter().zip(&expected) {
            let apart = (f64::from(*score) - expected).abs();
            assert!(
                apart <= 1e-4 * expected.abs().max(1e-3),
                "{score}, numpy has {expected}: {}",
                case["settings"]
            );
        }
    }
}

#[test]
fn scores_of_real_rows_are_those_of_numpy() {
    let Some(folder) = real_data("movietweetings-10k") else { return };
    let dataset = read(&folder, &ReadOptions::default()).expect("the files").dataset;
    let rows = &dataset.interactions;
    let mut histories = vec![Vec::new(); dataset.users.len()];
    for row in 0..rows.len() {
        let (col, time) = (rows.items[row].0, Some(rows.times[row]));
        histories[rows.users[row].at()].push(Entry { col, value: rows.values[row], time });
    }
    // The fixture has equal times in the order of the ids.
    histories.iter_mut().for_each(|history| history.sort_by_key(|entry| (entry.time, entry.col)));
    let train = Csr::from_histories(dataset.items.len(), histories);
    let of = &fixture()["movietweetings-10k"];
    let model = fitted(&train, settings(of));
    for check in list(&of["checks"]) {
        let user = dataset.users.row(Id::Int(check[0].as_i64().expect("an id"))).expect("a user");
        let item = dataset.items.find(check[1].as_str().expect("an id")).expect("an item");
        let mut score = [f32::NAN];
        model.score_pairs(&[UserIx(user)], &[ItemIx(item)], &mut score);
        let expected = check[2].as_f64().expect("a score");
        let apart = (f64::from(score[0]) - expected).abs();
        assert!(apart <= 1e-4 * expected.abs().max(1e-2), "{check}: {}", score[0]);
    }
}

#[test]
fn unknown_users_are_scored_as_known_ones_with_the_same_last_rows() {
    let fixture = fixture();
    let histories = histories(&fixture);
    let train = Csr::from_histories(number(&fixture["n_items"]), histories.clone());
    let config = TransitionConfig { window: 3, decay: 2.0, reg: 1.5 };
    let model = fitted(&train, config);
    // What is older than the window does not count.
    let last = histories.iter().map(|history| history[history.len().saturating_sub(3)..].to_vec());
    let others = Csr::from_histories(train.n_cols(), last);
    let folded = model.as_fold_in().expect("folds in").fold_in(&others).expect("histories in order");
    assert_eq!(catalog(&*folded), catalog(&*model));
    // The right answer is the numpy program's; here, that nothing of the saved users is read.
    let none = Transition::new(config, std::sync::Arc::new(vec![0.0; 144]), &train);
    assert!(catalog(&none).iter().all(|&score| score == 0.0));
}

#[test]
fn bad_settings_and_rows_without_an_order_are_refused() {
    let error = |config: TransitionConfig| config.validate().expect_err("refused").to_string();
    let ok = TransitionConfig::default();
    assert_eq!(error(TransitionConfig { window: 0, ..ok }), "window: found 0, expected from 1 to 1000");
    assert!(
        error(TransitionConfig { decay: 0.0, ..ok }).starts_with("decay: found 0, expected a finite number")
    );
    assert!(error(TransitionConfig { reg: f32::NAN, ..ok }).starts_with("reg: found NaN"));
    let unordered = Csr::new(3, vec![0, 2], vec![0, 2], vec![1.0; 2]);
    let refused = TransitionLearner::new(&unordered, ok).err().expect("refused").to_string();
    assert!(refused.contains("found histories without an order"), "{refused}");
}
