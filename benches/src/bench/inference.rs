//! Measures how fast a model answers: scores of pairs, top-10 lists, and requests through the service's engine, all in
//! memory.

use std::path::Path;
use std::time::Instant;

use burnrec_data::rng::stream;
use burnrec_data::{Csr, ItemIx, UserIx};
use burnrec_models::topk::top_k;
use burnrec_models::{DeviceChoice, Scorer};
use burnrec_serve::engine::Reading;
use burnrec_serve::event::{Incoming, TopicPartition};
use burnrec_serve::message::WireId;
use burnrec_serve::outbox::{EventOutcome, Outbox};
use burnrec_serve::{Engine, Result, ServeConfig};
use rand::RngExt;
use rayon::prelude::*;

use crate::record::Inference;

/// Pairs scored in a round.
const PAIRS: usize = 1 << 20;
/// Pairs scored in one call.
const BLOCK: usize = 1 << 16;
/// The most users that get a top-10 list in a round.
const USERS: usize = 10_000;
/// Requests in a round.
const REQUESTS: usize = 100_000;
/// The number of rounds. The fastest counts, since other work on the machine can only slow a round down.
const ROUNDS: usize = 3;

/// Measures a model, and the service's engine with its run directory, on `device`; `seen`, `[n_users, n_items]`, has the items
/// that lists leave out.
///
/// # Errors
/// When the service cannot open the run.
pub fn measure(scorer: &dyn Scorer, seen: &Csr, run: &Path, device: DeviceChoice) -> Result<Inference> {
    Ok(Inference {
        pairs_per_second: Some(pairs_per_second(scorer)),
        top10_users_per_second: Some(top10_users_per_second(scorer, seen)),
        service_requests_per_second: Some(requests_per_second(run, device)?),
    })
}

/// Runs `round`, which does `n` units of work, several times, and returns the units a second of the fastest.
fn best(n: usize, mut round: impl FnMut()) -> f64 {
    let seconds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64()
    });
    n as f64 / seconds.fold(f64::INFINITY, f64::min).max(1e-9)
}

fn pairs_per_second(scorer: &dyn Scorer) -> f64 {
    let mut rng = stream(42, "inference", 0);
    let users: Vec<UserIx> =
        (0..PAIRS).map(|_| UserIx(rng.random_range(0..scorer.n_users() as u32))).collect();
    let items: Vec<ItemIx> =
        (0..PAIRS).map(|_| ItemIx(rng.random_range(0..scorer.n_items() as u32))).collect();
    let mut scores = vec![0.0; PAIRS];
    best(PAIRS, || {
        let blocks = scores.par_chunks_mut(BLOCK).zip(users.par_chunks(BLOCK)).zip(items.par_chunks(BLOCK));
        blocks.for_each(|((scores, users), items)| scorer.score_pairs(users, items, scores));
    })
}

fn top10_users_per_second(scorer: &dyn Scorer, seen: &Csr) -> f64 {
    let users: Vec<UserIx> = (0..scorer.n_users().min(USERS) as u32).map(UserIx).collect();
    best(users.len(), || {
        top_k(scorer, &users, 10, |at| seen.row(users[at].at()).0, None);
    })
}

/// Returns the requests a second of one thread, from the bytes of a request for one score to the bytes of its reply, in
/// batches of the service's default size.
fn requests_per_second(run: &Path, device: DeviceChoice) -> Result<f64> {
    let text = |text: &str| toml::Value::String(text.to_owned());
    let model = toml::Table::from_iter([("run".to_owned(), text(&run.to_string_lossy()))]);
    let models = toml::Table::from_iter([("main".to_owned(), toml::Value::Table(model))]);
    let config = toml::Table::from_iter([
        ("device".to_owned(), text(&device.to_string())),
        ("models".to_owned(), toml::Value::Table(models)),
        ("http".to_owned(), toml::Value::Table(toml::Table::new())),
    ]);
    let config = ServeConfig::from_table(config)?;
    let engine = Engine::open(&config)?;
    let events = requests(&engine);
    let (mut undo, mut out, mut replied) = (Vec::new(), Outbox::default(), 0);
    let pace = best(events.len(), || {
        replied = 0;
        for batch in events.chunks(config.flow.batch_events) {
            out.clear();
            engine.answer(batch, Reading { http: None }, &mut undo, &mut out);
            replied +=
                out.outcomes.iter().filter(|outcome| matches!(outcome, EventOutcome::Replied(_))).count();
        }
    });
    assert_eq!(replied, events.len(), "every request is of a known user and item");
    Ok(pace)
}

fn requests(engine: &Engine) -> Vec<Incoming> {
    let set = engine.models.set();
    let Some(served) = set.values().next() else { return Vec::new() };
    let recommender = &served.recommender;
    let (users, items) = (recommender.trained().users(), recommender.trained().items());
    let mut rng = stream(42, "inference", 1);
    let request = |k: usize| {
        let user = users[rng.random_range(0..users.len())];
        let item = items[rng.random_range(0..items.len())];
        let user = WireId::from(recommender.users.vocab().id(user.0));
        let item = WireId::from(recommender.items.vocab().id(item.0));
        let request = serde_json::json!({ "type": "score", "user": user, "items": [item], "id": k });
        Incoming::new(
            Instant::now(),
            TopicPartition { topic: 0, partition: 0 },
            k as i64,
            None,
            Some(request.to_string().as_bytes()),
        )
    };
    (0..REQUESTS).map(request).collect()
}
