//! Models that read the order of histories, served: events count in the order in which they came, after the rows that the
//! model was trained on, and where ages are in days by their own times.

mod common;

use std::sync::Arc;
use std::time::Instant;

use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Entry, UserIx, Vocab};
use burnrec_models::als::{AlsConfig, AlsModel, Recency, Weighting, Weights};
use burnrec_models::sasrec::SasrecConfig;
use burnrec_models::transition::{Transition, TransitionConfig};
use burnrec_models::{DeviceChoice, Family, Model, Recommender, Shape, device};
use burnrec_serve::Engine;
use burnrec_serve::engine::Reading;
use burnrec_serve::event::Incoming;
use common::{ITEMS, PART, USERS, answer, answer_events, config, item_id, seen};
use rand::RngExt;
use tempfile::TempDir;

/// The rows of `seen`, each user's in the order of the items.
fn histories() -> Csr {
    let entries = |user: usize| {
        let (items, values) = (seen().row(user).0.to_vec(), seen().row(user).1.to_vec());
        items.into_iter().zip(values).map(|(col, value)| Entry { col, value, time: None }).collect()
    };
    Csr::from_histories(ITEMS, (0..USERS).map(entries))
}

fn transition() -> Transition {
    let mut rng = stream(1, "transitions", 0);
    let drawn = (0..ITEMS * ITEMS).map(|_| rng.random_range(-1.0..1.0)).collect();
    let config = TransitionConfig { window: 3, decay: 1.5, ..TransitionConfig::default() };
    Transition::new(config, Arc::new(drawn), &histories())
}

/// An ALS model of drawn factors, whose users are folded in by the age of their rows.
fn als(recency: Recency) -> AlsModel {
    let config = AlsConfig { dim: 4, recency, ..AlsConfig::default() };
    let mut rng = stream(2, "factors", 0);
    let mut drawn =
        |rows: usize| Arc::new((0..rows * 4).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>());
    let (users, items) = (drawn(USERS), drawn(ITEMS));
    AlsModel::new(config, users, items, Weights::from_saved(Weighting::None, Vec::new()))
}

/// SASRec with drawn weights, which reads three rows.
fn sasrec() -> Box<dyn Model> {
    let config = SasrecConfig { dim: 4, layers: 1, heads: 2, length: 3, ..SasrecConfig::default() };
    let mut rng = stream(3, "weights", 0);
    let mut drawn = |(name, [rows, cols]): (&str, [usize; 2])| {
        let values: Vec<f32> = (0..rows * cols).map(|_| rng.random_range(-1.0..1.0)).collect();
        (name.to_owned(), Tensor::new(&[rows, cols], values))
    };
    let one =
        ["attention_scale", "attention_shift", "hidden_scale", "hidden_shift", "hidden_bias", "output_bias"];
    let one = one.into_iter().chain(["final_scale", "final_shift"]).map(|name| (name, [1, 4]));
    let tables = [("item_embedding", [ITEMS, 4]), ("position_embedding", [3, 4]), ("user_state", [USERS, 4])];
    let dense = [("attention_weight", [4, 12]), ("attention_bias", [1, 12])];
    let dense = dense.into_iter().chain([("hidden_weight", [4, 4]), ("output_weight", [4, 4])]);
    let weights: Vec<(String, Tensor)> = one.chain(tables).chain(dense).map(&mut drawn).collect();
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("weights");
    tensors::write(&path, &weights).expect("weights are written");
    let shape = Shape { n_users: USERS, n_items: ITEMS };
    let cpu = device::open(DeviceChoice::Cpu).expect("the CPU");
    config.load(&TensorFile::open(&path).expect("weights"), shape, &cpu).expect("a model")
}

fn serving() -> (Engine, TempDir) {
    serve(Box::new(transition()))
}

fn serve(model: Box<dyn Model>) -> (Engine, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let (users, items) = ((1..=USERS as i64).collect(), (0..ITEMS).map(item_id).collect());
    let (users, items) = (Vocab::from_ints(users), Vocab::from_ints(items));
    let run = Recommender::new(model, users, items, histories());
    run.save(folder.path().join("run")).expect("a run is saved");
    let text = format!("unknown.user = \"fold-in\"\nmodels.main.run = {:?}", folder.path().join("run"));
    (Engine::open(&config(&text)).expect("an engine"), folder)
}

fn push(engine: &Engine, user: i64, rows: &[usize]) {
    for &row in rows {
        let item = item_id(row);
        answer(engine, format!(r#"{{"type":"event","user":{user},"item":{item},"value":3}}"#)).json();
    }
}

/// Checks that the engine scores a user as one with these items as the newest rows, the oldest first.
fn scores_from(engine: &Engine, user: i64, newest: &[usize]) {
    let entries = newest.iter().map(|&row| Entry { col: row as u32, value: 3.0, time: None });
    scores_as(engine, &transition(), user, entries.collect());
}

/// Returns a model's scores of a history.
fn scores(model: &dyn Model, history: Vec<Entry>) -> Vec<f32> {
    let fold_in = model.as_fold_in().expect("folds in");
    let folded = fold_in.fold_in(&Csr::from_histories(ITEMS, [history])).expect("a history");
    let mut out = vec![f32::NAN; ITEMS];
    folded.score_catalog(&[UserIx(0)], &mut out);
    out
}

/// Checks that the engine scores a user as the model scores this history.
fn scores_as(engine: &Engine, model: &dyn Model, user: i64, history: Vec<Entry>) {
    let expected = scores(model, history);
    let items: Vec<String> = (0..ITEMS).map(|row| item_id(row).to_string()).collect();
    let request = format!(r#"{{"type":"score","user":{user},"items":[{}]}}"#, items.join(","));
    let scores = answer(engine, request).scores();
    for ((item, score), expected) in scores.into_iter().zip(expected) {
        let score = score.expect("a score");
        assert!(
            (score - f64::from(expected)).abs() < 1e-5,
            "user {user}, item {item}: {score} is {expected}"
        );
    }
}

#[test]
fn an_unknown_user_is_scored_from_the_last_events_at_once() {
    let (engine, _folder) = serving();
    push(&engine, 999, &[4, 20, 7, 11]);
    scores_from(&engine, 999, &[20, 7, 11]);
    // An item that comes again is the newest.
    push(&engine, 999, &[20]);
    scores_from(&engine, 999, &[7, 11, 20]);
    push(&engine, 998, &[11]);
    scores_from(&engine, 998, &[11]);
}

#[test]
fn events_of_a_known_user_come_after_the_rows_of_training() {
    let (engine, _folder) = serving();
    let trained: Vec<usize> = seen().row(16).0.iter().map(|&item| item as usize).collect();
    assert!(trained.len() > 3, "{trained:?}");
    scores_from(&engine, 17, &trained);
    let new = (0..ITEMS).find(|row| !trained.contains(row)).expect("an item");
    // An oldest row that comes again is the newest but one.
    push(&engine, 17, &[trained[0], new]);
    scores_from(&engine, 17, &[*trained.last().expect("rows"), trained[0], new]);
}

#[test]
fn sasrec_answers_unknown_users_and_new_events_from_the_newest_rows() {
    let (engine, _folder) = serve(sasrec());
    let entries = |rows: &[usize]| {
        rows.iter().map(|&row| Entry { col: row as u32, value: 3.0, time: None }).collect::<Vec<Entry>>()
    };
    push(&engine, 999, &[4, 20, 7, 11]);
    scores_as(&engine, &*sasrec(), 999, entries(&[4, 20, 7, 11]));
    scores_as(&engine, &*sasrec(), 999, entries(&[20, 7, 11]));
    assert_ne!(scores(&*sasrec(), entries(&[20, 7, 11])), scores(&*sasrec(), entries(&[7, 20, 11])));
    let trained = seen().row(16).0.to_vec();
    let new = (0..ITEMS as u32).find(|row| !trained.contains(row)).expect("an item");
    push(&engine, 17, &[new as usize]);
    let last = [trained[trained.len() - 2], trained[trained.len() - 1], new].map(|row| row as usize);
    scores_as(&engine, &*sasrec(), 17, entries(&last));
}

#[test]
fn a_user_of_als_with_recency_is_folded_in_by_the_order_and_the_times_of_the_events() {
    const DAY: i64 = 86_400;
    let rows = [(4, 0), (20, 1), (7, 9), (11, 10)];
    let history = || {
        let entry =
            |&(row, day): &(u32, i64)| Entry { col: row, value: 3.0, time: Some(1_700_000_000 + day * DAY) };
        rows.iter().map(entry).collect::<Vec<Entry>>()
    };
    for recency in [Recency::None, Recency::Rows(1.5), Recency::Days(2.0)] {
        let (engine, _folder) = serve(Box::new(als(recency)));
        for entry in history() {
            let item = item_id(entry.col as usize);
            let text = format!(r#"{{"type":"event","user":999,"item":{item},"value":3}}"#);
            let mut event = Incoming::new(Instant::now(), PART, 0, None, Some(text.as_bytes()));
            event.timestamp_ms = entry.time.map(|time| 1000 * time);
            answer_events(&engine, &[event], Reading::default());
        }
        scores_as(&engine, &als(recency), 999, history());
        let events_alone = |of: Recency| scores(&als(of), history());
        assert_eq!(events_alone(recency) == events_alone(Recency::None), recency == Recency::None);
    }
}
