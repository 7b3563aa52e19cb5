//! A flow with a cluster of two topics, and a model that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use burnrec_data::rng::stream;
use burnrec_data::{Id, UserIx};
use burnrec_serve::clock::Clock;
use burnrec_serve::config::ServeConfig;
use burnrec_serve::event::TopicPartition;
use burnrec_serve::flow::{Flow, FlowOptions};
use burnrec_serve::message::WireId;
use burnrec_serve::metrics::{Metrics, ModelLabels};
use burnrec_serve::outbox::To;
use burnrec_serve::served::Served;
use burnrec_serve::state::HistoryEvent;
use burnrec_serve::{Engine, Result};

use crate::common;
use crate::twin::{Cluster, Record, Rules, Stored, Traced};

pub const FIRST: TopicPartition = TopicPartition { topic: 0, partition: 0 };
pub const SECOND: TopicPartition = TopicPartition { topic: 1, partition: 0 };

/// A cluster of two topics, and an engine.
pub struct Bench {
    pub cluster: Arc<Cluster>,
    pub metrics: Arc<Metrics>,
    engine: Arc<Engine>,
    config: ServeConfig,
}

impl Bench {
    pub fn new(guarantee: &str, settings: &str, rules: Rules) -> Self {
        let config = common::config(&format!(
            r#"
models = {{ main = {{ run = "RUN" }}, other = {{ run = "OTHER" }} }}
{settings}
[kafka]
bootstrap = "twin"
instance = "a"
guarantee = "{guarantee}"
requests = ["first", "second"]
replies = "replies"
rejects = "rejects"
state = "state"
receipts = "receipts"
shadow = "shadow"
"#
        ));
        let rules = Rules { exactly_once: guarantee == "exactly-once", ..rules };
        let cluster = Cluster::new(&[FIRST, SECOND], 1, stream(7, "bench", 0), rules);
        let engine = Engine::open(&config).expect("an engine").with_clock(Arc::clone(&cluster.clock) as _);
        Self { cluster, metrics: Arc::default(), engine: Arc::new(engine), config }
    }

    /// Returns the simulated time, in Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.cluster.clock.unix_ms()
    }

    pub fn put(&self, part: TopicPartition, user: i64, payload: &str, headers: &[(&str, &str)]) {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), Some(value.as_bytes().to_vec()));
        let stored = Stored {
            offset: 0,
            key: Some(user.to_string().into_bytes()),
            payload: Some(payload.as_bytes().to_vec()),
            headers: headers.iter().map(header).collect(),
            timestamp_ms: Some(self.now_ms()),
        };
        self.cluster.put(part, stored);
    }

    /// Returns how many erasures nobody has confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.cluster.unconfirmed()
    }

    /// Returns the items of a user's history in memory, as the last owner of the user's partition had it.
    pub fn history(&self, user: i64) -> Vec<i64> {
        let history = self.engine.state.get(None, &WireId::Int(user), 0);
        let item = |event: &HistoryEvent| match event.item.id() {
            Id::Int(item) => item,
            Id::Str(text) => panic!("{text}"),
        };
        history.map(|(history, _)| history.events.iter().map(item).collect()).unwrap_or_default()
    }

    /// Returns how many replies each version of a model gave.
    pub fn replies(&self) -> Vec<(ModelLabels, u64)> {
        self.engine.models.replies()
    }

    pub fn score(&self, part: TopicPartition, user: i64) {
        self.put(part, user, &score(user), &[]);
    }

    /// Serves a model that panics at a user in its first `calls` calls. Each try of an event calls it twice: with the
    /// batch, and alone.
    pub fn fail_at(&self, user: i64, calls: usize) {
        let (at, calls) = (UserIx(user as u32 - 1), AtomicUsize::new(calls));
        self.hook(move |users| {
            let less = |calls: usize| calls.checked_sub(1);
            if users.contains(&at) && calls.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                // Panics without a message on standard error.
                std::panic::resume_unwind(Box::new(format!("no answer for {at:?}")));
            }
        });
    }

    /// Serves a model that calls a function with the users that it scores for.
    pub fn hook(&self, hook: impl Fn(&[UserIx]) + Send + Sync + 'static) {
        let model = common::Hooked::new(hook);
        let run = common::recommender(Box::new(model));
        self.engine.models.take_up(Served::new("main", "flaky", "0".into(), run));
    }

    /// Runs a flow until all is committed, or it is stopped.
    pub fn run(&self) -> Result<()> {
        let kafka = self.config.kafka.as_ref().expect("a [kafka]");
        let options = FlowOptions::new(0, kafka);
        let options = FlowOptions { commit: Duration::ZERO, ..options };
        let twin = Traced::new(&self.cluster, 0);
        let stop = Arc::clone(&twin.stop);
        Flow::new(Arc::clone(&self.engine), Arc::clone(&self.metrics), options, twin).run(&stop)
    }

    pub fn records(&self, to: To) -> Vec<Record> {
        self.cluster.visible().into_iter().filter(|record| record.to == to).collect()
    }

    /// Returns the users of the replies, in the order of the replies.
    pub fn replied(&self) -> Vec<i64> {
        self.records(To::Replies).iter().map(|reply| reply.json()["user"].as_i64().expect("a user")).collect()
    }

    /// Returns the outcome and the number of attempts that each receipt names.
    pub fn receipts(&self) -> Vec<(String, u64)> {
        let receipts = self.records(To::Receipts);
        let facts = receipts.iter().map(Record::json);
        facts
            .map(|of| (of["outcome"].as_str().unwrap().to_owned(), of["attempts"].as_u64().unwrap()))
            .collect()
    }
}

pub fn score(user: i64) -> String {
    format!(r#"{{"type":"score","user":{user},"items":[101,102]}}"#)
}
