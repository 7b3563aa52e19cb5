//! Small models of known numbers, configs around them, and batches of events to answer.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use burnrec_data::rng::stream;
use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::{Csr, ItemIx, Titles, UserIx, Vocab};
use burnrec_models::als::{AlsConfig, AlsModel, Convention, Weighting, Weights};
use burnrec_models::ease::EaseConfig;
use burnrec_models::item_item::{ItemItem, ItemItemModel, ItemMatrix};
use burnrec_models::mf::{MfConfig, MfModel};
use burnrec_models::popularity::Popularity;
use burnrec_models::{DataFacts, Model, ModelConfig, Recency, Recommender, Scorer, Shape};
use burnrec_serve::engine::{Engine, Reading};
use burnrec_serve::event::{Incoming, TopicPartition};
use burnrec_serve::outbox::{EventOutcome, Outbox, To};
use burnrec_serve::{Kind, Reject, ServeConfig};
use rand::RngExt;
use tempfile::TempDir;

/// Users have the ids 1 to this.
pub const USERS: usize = 40;

/// The number of items; their ids count up from 101.
pub const ITEMS: usize = 30;

const DIM: usize = 6;

/// The id of an item's row.
pub fn item_id(row: usize) -> i64 {
    101 + row as i64
}

fn drawn(seed: u64, what: &str, len: usize) -> Vec<f32> {
    let mut rng = stream(seed, what, 0);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Every user has had about a fifth of the items, with ratings from 1 to 5.
pub fn seen() -> Csr {
    let mut rng = stream(1, "seen", 0);
    let (mut users, mut items, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for cell in 0..USERS * ITEMS {
        if rng.random_bool(0.2) {
            users.push(UserIx((cell / ITEMS) as u32));
            items.push(ItemIx((cell % ITEMS) as u32));
            values.push(rng.random_range(1..=5) as f32);
        }
    }
    Csr::from_rows(USERS, ITEMS, &users, &items, &values)
}

/// An ALS model of drawn factors.
pub fn als(seed: u64) -> AlsModel {
    let config = AlsConfig { dim: DIM, ..AlsConfig::implicit(Convention::Spark) };
    let (users, items) = (drawn(seed, "users", USERS * DIM), drawn(seed, "items", ITEMS * DIM));
    AlsModel::new(config, Arc::new(users), Arc::new(items), Weights::from_saved(Weighting::None, Vec::new()))
}

/// A matrix factorisation of drawn factors, whose scores are probabilities.
pub fn mf(seed: u64) -> MfModel {
    mf_of(seed, Recency::None)
}

/// The same model, with its users folded in by the age of their rows.
pub fn mf_of(seed: u64, recency: Recency) -> MfModel {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("weights");
    let matrix =
        |rows: usize, cols: usize, what: &str| Tensor::new(&[rows, cols], drawn(seed, what, rows * cols));
    let weights = [
        ("mean", matrix(1, 1, "mean")),
        ("user_embedding", matrix(USERS, DIM, "users")),
        ("user_bias", matrix(USERS, 1, "user biases")),
        ("item_embedding", matrix(ITEMS, DIM, "items")),
        ("item_bias", matrix(ITEMS, 1, "item biases")),
    ];
    tensors::write(&path, &weights).expect("weights are written");
    let config = MfConfig { dim: DIM, recency, ..MfConfig::default() };
    let shape = Shape { n_users: USERS, n_items: ITEMS };
    MfModel::load(&TensorFile::open(&path).expect("weights"), config, shape).expect("a model")
}

/// A function that is called with the users that are about to be scored.
type Hook = Box<dyn Fn(&[UserIx]) + Send + Sync>;

/// An ALS model that calls a hook before it scores.
pub struct Hooked {
    model: AlsModel,
    before: Hook,
}

impl Hooked {
    pub fn new(before: impl Fn(&[UserIx]) + Send + Sync + 'static) -> Self {
        Self { model: als(1), before: Box::new(before) }
    }
}

impl Scorer for Hooked {
    fn n_users(&self) -> usize {
        self.model.n_users()
    }

    fn n_items(&self) -> usize {
        self.model.n_items()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        (self.before)(users);
        self.model.score_pairs(users, items, out);
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        (self.before)(users);
        self.model.score_catalog(users, out);
    }
}

impl Model for Hooked {
    fn config(&self) -> ModelConfig {
        self.model.config()
    }

    fn weights(&self) -> Vec<(String, Tensor)> {
        self.model.weights()
    }
}

/// An item-item model of drawn weights, with the histories of [`seen`].
pub fn ease(seed: u64) -> ItemItemModel<EaseConfig> {
    let config = EaseConfig::default();
    let matrix = ItemMatrix::Dense { n_items: ITEMS, weights: drawn(seed, "weights", ITEMS * ITEMS) };
    let histories = config.weigh(&seen()).expect("no recency");
    ItemItemModel::new(config, Arc::new(histories), Arc::new(matrix))
}

/// The popularity model of [`seen`].
pub fn popularity() -> Popularity {
    Popularity::new(&seen())
}

/// Puts ids, titles and histories around a model.
pub fn recommender(model: Box<dyn Model>) -> Recommender {
    let users = Vocab::from_ints((1..=USERS as i64).collect());
    let items = Vocab::from_ints((0..ITEMS).map(item_id).collect());
    let titles = Titles((0..ITEMS).map(|row| format!("The \"{row}\"")).collect());
    let data = DataFacts { name: "drawn".into(), synthetic: true, hash: "0".into(), path: None };
    Recommender::new(model, users, items, seen())
        .with_titles(Some(titles))
        .with_record(data, serde_json::json!({}))
}

/// Saves a model as training does.
pub fn save(dir: &Path, model: Box<dyn Model>) {
    recommender(model).save(dir).expect("a run is saved");
}

/// A folder with a run of ALS; the same for all tests of a file.
pub fn als_run() -> PathBuf {
    static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        save(&folder.join("als"), Box::new(als(1)));
        save(&folder.join("other"), Box::new(als(2)));
        folder.join("als")
    });
    RUN.clone()
}

/// A config of the text; `RUN` stands for the folder of a saved ALS model, `OTHER` for one with other factors.
pub fn config(text: &str) -> ServeConfig {
    try_config(text).expect("a config")
}

/// Does the same with a text that may be refused.
pub fn try_config(text: &str) -> burnrec_serve::Result<ServeConfig> {
    let (run, other) = (als_run(), als_run().with_file_name("other"));
    let text = text.replace("RUN", &run.display().to_string()).replace("OTHER", &other.display().to_string());
    let mut table: toml::Table = toml::from_str(&text).expect("TOML");
    table.entry("device").or_insert("cpu".into());
    ServeConfig::from_table(table)
}

/// The partition that single events come from.
pub const PART: TopicPartition = TopicPartition { topic: 0, partition: 0 };

/// How an event ended, and what was written for it.
#[derive(Debug)]
pub struct Answer {
    pub outcome: EventOutcome,
    pub messages: Vec<(To, String)>,
}

impl Answer {
    /// Returns the reply as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).expect("a JSON reply")
    }

    /// Returns the reply.
    pub fn text(&self) -> &str {
        let reply = self.messages.iter().find(|(to, _)| *to == To::Replies);
        &reply.unwrap_or_else(|| panic!("no reply: {:?}", self.outcome)).1
    }

    /// Returns why there is no reply.
    pub fn reject(&self) -> &Reject {
        match &self.outcome {
            EventOutcome::Failed(reject) | EventOutcome::Expired(reject) => reject,
            other => panic!("{other:?}: {:?}", self.messages),
        }
    }

    /// Returns the items and scores of the reply.
    pub fn scores(&self) -> Vec<(i64, Option<f64>)> {
        let reply = self.json();
        let items = reply["items"].as_array().expect("items").iter();
        items.map(|item| (item["item"].as_i64().expect("an id"), item["score"].as_f64())).collect()
    }
}

/// Answers payloads as one batch from a partition.
pub fn answer_all(engine: &Engine, payloads: &[Option<&[u8]>]) -> Vec<Answer> {
    let event = |(at, payload): (usize, &Option<&[u8]>)| {
        Incoming::new(Instant::now(), PART, at as i64, None, *payload)
    };
    answer_events(engine, &payloads.iter().enumerate().map(event).collect::<Vec<_>>(), Reading::default())
}

/// Answers events as one batch.
pub fn answer_events(engine: &Engine, events: &[Incoming], reading: Reading) -> Vec<Answer> {
    let mut outbox = Outbox::default();
    engine.answer(events, reading, &mut Vec::new(), &mut outbox);
    assert_eq!(outbox.outcomes.len(), events.len(), "each event ends once");
    let of_event = |at: usize| {
        let messages = outbox.messages.iter().filter(|message| message.event as usize == at);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        messages.map(|message| (message.to, text(outbox.value(message).unwrap_or_default()))).collect()
    };
    let outcomes = outbox.outcomes.iter().enumerate();
    outcomes.map(|(at, end)| Answer { outcome: end.clone(), messages: of_event(at) }).collect()
}

/// Answers one payload.
pub fn answer(engine: &Engine, payload: impl AsRef<[u8]>) -> Answer {
    answer_all(engine, &[Some(payload.as_ref())]).pop().expect("an answer")
}

/// Answers one JSON request as it came over HTTP.
pub fn answer_http(engine: &Engine, kind: Kind, payload: &str) -> Answer {
    let event = Incoming::new(Instant::now(), burnrec_serve::engine::HTTP, 0, None, Some(payload.as_bytes()));
    answer_events(engine, &[event], Reading { http: Some(kind) }).pop().expect("an answer")
}

/// Returns the file of a run directory that holds its weights.
pub fn weights(run: &std::path::Path) -> std::path::PathBuf {
    let manifest = burnrec_models::saved::manifest(run).expect("a manifest");
    burnrec_models::saved::path(run, &manifest, "weights")
}
