//! Models that read the order of histories, served: events count in the order in which they came, after the rows that the
//! model was trained on, and where ages are in days by their own times.

mod common;

use std::sync::Arc;
use std::time::Instant;

use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, Entry, UserIx, Vocab};
use burnrec_models::als::{AlsConfig, AlsModel, Weighting, Weights};
use burnrec_models::blend::{Blend, BlendConfig, Part};
use burnrec_models::device;
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::{ItemItem, ItemItemModel, ItemMatrix};
use burnrec_models::knn::KnnConfig;
use burnrec_models::sasrec::SasrecConfig;
use burnrec_models::saved::Stage;
use burnrec_models::transition::{Transition, TransitionConfig};
use burnrec_models::{DeviceChoice, Family, Model, Recency, Recommender, Shape};
use burnrec_serve::Engine;
use burnrec_serve::engine::Reading;
use burnrec_serve::event::Incoming;
use common::{ITEMS, PART, USERS, answer, answer_events, config, item_id, mf_of, seen};
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

/// An item-item model of drawn weights.
fn item_item<F: ItemItem>(config: F) -> ItemItemModel<F> {
    let mut rng = stream(3, "weights", 0);
    let weights = (0..ITEMS * ITEMS).map(|_| rng.random_range(-1.0..1.0)).collect();
    let histories = config.weigh(&timed()).expect("rows with an order and times");
    ItemItemModel::new(config, Arc::new(histories), Arc::new(ItemMatrix::Dense { n_items: ITEMS, weights }))
}

fn ease(recency: Recency) -> ItemItemModel<EaseConfig> {
    item_item(EaseConfig { recency, ..EaseConfig::default() })
}

fn knn(recency: Recency) -> ItemItemModel<KnnConfig> {
    item_item(KnnConfig { recency, ..KnnConfig::default() })
}

/// The rows of [`histories`], a second apart.
fn timed() -> Csr {
    let at = |(second, entry): (i64, Entry)| Entry { time: Some(second), ..entry };
    Csr::from_histories(ITEMS, (0..USERS).map(|user| (0..).zip(histories().history(user)).map(at).collect()))
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
    let output = model.config().output();
    let expected = scores(model, history).into_iter().map(|logit| output.score(logit));
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
    let rows = seen();
    let trained = rows.row(16).0;
    let new = (0..ITEMS as u32).find(|row| !trained.contains(row)).expect("an item");
    push(&engine, 17, &[new as usize]);
    let last = [trained[trained.len() - 2], trained[trained.len() - 1], new].map(|row| row as usize);
    scores_as(&engine, &*sasrec(), 17, entries(&last));
}

#[test]
fn a_user_is_folded_in_by_the_order_and_the_times_of_the_events() {
    weighs_events_by_age(|recency| Box::new(als(recency)));
    weighs_events_by_age(|recency| Box::new(ease(recency)));
    weighs_events_by_age(|recency| Box::new(knn(recency)));
    weighs_events_by_age(|recency| Box::new(mf_of(1, recency)));
}

fn weighs_events_by_age(model: impl Fn(Recency) -> Box<dyn Model>) {
    const DAY: i64 = 86_400;
    let rows = [(4, 0), (20, 1), (7, 9), (11, 10)];
    let history = || {
        let entry =
            |&(row, day): &(u32, i64)| Entry { col: row, value: 3.0, time: Some(1_700_000_000 + day * DAY) };
        rows.iter().map(entry).collect::<Vec<Entry>>()
    };
    for recency in [Recency::None, Recency::Rows(1.5), Recency::Days(2.0)] {
        let (engine, _folder) = serve(model(recency));
        for entry in history() {
            let item = item_id(entry.col as usize);
            let text = format!(r#"{{"type":"event","user":999,"item":{item},"value":3}}"#);
            let mut event = Incoming::new(Instant::now(), PART, 0, None, Some(text.as_bytes()));
            event.timestamp_ms = entry.time.map(|time| 1000 * time);
            answer_events(&engine, &[event], Reading::default());
        }
        scores_as(&engine, &*model(recency), 999, history());
        let events_alone = |of: Recency| scores(&*model(of), history());
        assert_eq!(events_alone(recency) == events_alone(Recency::None), recency == Recency::None);
    }
}

#[test]
fn a_blend_is_served_from_the_runs_that_it_names() {
    let folder = TempDir::new().expect("a temporary folder");
    let part = |name: &str, model: Box<dyn Model>| {
        let (users, items) = ((1..=USERS as i64).collect(), (0..ITEMS).map(item_id).collect());
        let (users, items) = (Vocab::from_ints(users), Vocab::from_ints(items));
        let run = folder.path().join(name);
        Recommender::new(model, users, items, histories()).save(&run).expect("a run is saved");
        let cpu = device::open(DeviceChoice::Cpu).expect("the CPU");
        Part::open(&run, Stage::Final, &cpu).expect("a part")
    };
    let blend = || {
        let parts =
            vec![part("als", Box::new(als(Recency::Rows(2.0)))), part("transition", Box::new(transition()))];
        let config = BlendConfig { weights: vec![1.0, 0.5], reads_order: true, ..BlendConfig::default() };
        Blend::new(config, parts, &histories()).expect("a blend")
    };
    let (engine, _folder) = serve(Box::new(blend()));
    push(&engine, 999, &[4, 20, 7, 11]);
    let entries = [4, 20, 7, 11].map(|col| Entry { col, value: 3.0, time: None });
    scores_as(&engine, &blend(), 999, entries.to_vec());
}
