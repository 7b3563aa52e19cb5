//! Tests on a real Apache Kafka what comes of topics that take small messages alone: nothing but what is itself too large
//! is rejected, and each event has one end.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::kafka::{Kafka, Serving, until};
use common::storm::{Read, producer, read_all};
use common::{burnrec, trained};
use rdkafka::producer::{BaseRecord, Producer};

const ITEMS: usize = 1000;
const SYNTH: &str = "--users 100 --items 1000 --rows 9000";

/// The topics and the service of one case, told apart by its name.
struct Case<'a> {
    kafka: &'a Kafka,
    name: String,
    guarantee: &'static str,
    config: PathBuf,
}

impl<'a> Case<'a> {
    fn new(kafka: &'a Kafka, run: &Path, guarantee: &'static str, name: &str) -> Self {
        let name = format!("{name}-{guarantee}");
        let topics = ["requests", "replies", "rejects", "state"].map(|topic| format!("{topic}-{name}"));
        kafka.topics(&topics.each_ref().map(|topic| (topic.as_str(), 1)));
        let [requests, replies, rejects, state] = topics;
        let bootstrap = &kafka.bootstrap;
        let text = format!(
            r#"
            models.main.run = {run:?}
            [kafka]
            bootstrap = "{bootstrap}"
            group = "{name}"
            instance = "a"
            guarantee = "{guarantee}"
            requests = ["{requests}"]
            replies = "{replies}"
            rejects = "{rejects}"
            state = "{state}"
            workers = 1
            "#
        );
        let config = kafka.folder.file(&format!("{name}.toml"), text);
        Self { kafka, name, guarantee, config }
    }

    fn topic(&self, of: &str) -> String {
        format!("{of}-{}", self.name)
    }

    fn write(&self, texts: impl Iterator<Item = String>) {
        let producer = producer(&self.kafka.client());
        for text in texts {
            let topic = self.topic("requests");
            let record = BaseRecord::<str, str>::to(&topic).key("7").payload(&text);
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
        producer.flush(Duration::from_secs(60)).expect("delivered");
    }

    fn read(&self, of: &str) -> Vec<Read> {
        read_all(&self.kafka.client(), &[&self.topic(of)])
    }

    fn start(&self) -> Serving {
        let serving = Serving::start(&self.kafka.folder, &self.name, &self.config, &[]);
        serving.ready();
        serving
    }

    /// Waits until each of `n` events has a reply or a reject; returns both. Exactly once, each has one of them.
    #[track_caller]
    fn ends(&self, n: usize) -> (Vec<Read>, Vec<Read>) {
        let (mut replies, mut rejects) = (Vec::new(), Vec::new());
        until(&format!("{}: {n} events have an end", self.name), Duration::from_secs(60), || {
            (replies, rejects) = (self.read("replies"), self.read("rejects"));
            let sources = replies.iter().chain(&rejects).map(Read::source);
            sources.collect::<std::collections::BTreeSet<_>>().len() >= n
        });
        if self.guarantee == "exactly-once" {
            assert_eq!(replies.len() + rejects.len(), n, "{}: an event has two ends", self.name);
        }
        (replies, rejects)
    }
}

fn recommend(k: usize) -> String {
    format!(r#"{{"type":"recommend","user":7,"k":{k},"include_seen":true}}"#)
}

#[test]
fn batches_keep_under_the_limits_of_topics() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    let run = trained(&kafka.folder, SYNTH, "popularity.toml", "");
    for guarantee in ["exactly-once", "at-least-once"] {
        for limit in [262_144, 20_000] {
            let case = Case::new(&kafka, &run, guarantee, &format!("batches-{limit}"));
            kafka.limit(&case.topic("replies"), limit);
            case.write((0..5000).map(|_| recommend(20)));
            let serving = case.start();
            let (replies, rejects) = case.ends(5000);
            assert_eq!((replies.len(), rejects.len()), (5000, 0), "{}", case.name);
            assert!(!serving.logged().contains("rolling back"), "{}", case.name);
            assert_eq!(serving.stop(), Some(0));
        }
    }
}

#[test]
fn only_what_is_itself_too_large_is_rejected() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    let run = trained(&kafka.folder, SYNTH, "popularity.toml", "");
    let large = |at: usize| if at % 100 == 50 { recommend(ITEMS - 1) } else { recommend(5) };
    for guarantee in ["exactly-once", "at-least-once"] {
        let case = Case::new(&kafka, &run, guarantee, "one");
        kafka.limit(&case.topic("replies"), 20_000);
        kafka.limit(&case.topic("rejects"), 5_000);
        case.write((0..300).map(large).chain([format!("nonsense {}", "x".repeat(50_000))]));
        let serving = case.start();
        let (replies, rejects) = case.ends(301);
        assert_eq!((replies.len(), rejects.len()), (297, 4), "{}", case.name);
        let reason = &rejects[0].headers["burnrec-reason"];
        assert!(reason.starts_with("not-taken: ") && reason.contains("expected at most 20000"), "{reason}");
        let cut = rejects.iter().find(|reject| reject.headers["burnrec-reason"].starts_with("not-json"));
        let cut = cut.expect("the nonsense");
        assert_eq!(cut.headers["burnrec-bytes"], "50009");
        assert!((4_000..5_000).contains(&cut.value.len()), "cut to {} bytes", cut.value.len());
        assert!(!serving.logged().contains("rolling back"), "{}", case.name);

        // The topic takes less from now on: brokers refuse whole batches, of which only some messages are too large.
        kafka.limit(&case.topic("replies"), 2_000);
        let middle = |at: usize| if at % 100 == 50 { recommend(100) } else { recommend(5) };
        let from = std::time::Instant::now();
        case.write((0..300).map(middle));
        let (replies, rejects) = case.ends(601);
        eprintln!("{}: 300 events after a lower limit took {:?}", case.name, from.elapsed());
        let late = |reads: &[Read]| {
            let sources = reads.iter().map(Read::source).filter(|(_, offset)| *offset > 300);
            sources.collect::<std::collections::BTreeSet<_>>()
        };
        let (replies, rejects) = (late(&replies), late(&rejects));
        assert_eq!((replies.len(), rejects.len()), (297, 3), "{}", case.name);
        assert!(rejects.is_disjoint(&replies), "{}: an event has two ends", case.name);
        assert_eq!(serving.stop(), Some(0));
    }
}

#[test]
fn a_history_that_does_not_fit_loses_its_oldest_events() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    let run = trained(&kafka.folder, SYNTH, "popularity.toml", "");
    for guarantee in ["exactly-once", "at-least-once"] {
        let case = Case::new(&kafka, &run, guarantee, "history");
        kafka.limit(&case.topic("state"), 9_500);
        let item = |at: usize| format!("{at}-{}", "\\u0001".repeat(200));
        case.write((0..30).map(|at| format!(r#"{{"type":"event","user":7,"item":"{}"}}"#, item(at))));
        let serving = case.start();
        let (replies, rejects) = case.ends(30);
        assert_eq!((replies.len(), rejects.len()), (30, 0), "{}", case.name);
        let last = replies.last().expect("a reply").json();
        assert!(last["forgotten"] == 1 && last["history"].as_u64().expect("a length") < 7, "{last}");
        assert_eq!(serving.stop(), Some(0));
        let state = case.read("state");
        let kept: serde_json::Value = state.last().expect("a record").json();
        let events = kept["events"].as_array().expect("events");
        assert_eq!(events.len() as u64, last["history"].as_u64().expect("a length"));
        assert!(
            events.last().expect("one")[0].as_str().expect("an id").starts_with("29-"),
            "the newest stays"
        );
        // What it has in memory after a restart is what the topic has.
        let serving = case.start();
        case.write([r#"{"type":"event","user":7,"item":1}"#.to_owned()].into_iter());
        let (replies, _) = case.ends(31);
        let again = replies.last().expect("a reply").json();
        assert_eq!(again["history"].as_u64(), Some(events.len() as u64 + 1), "{again}");
        assert_eq!(serving.stop(), Some(0));
        kafka.limit(&case.topic("state"), 1_000);
        burnrec("serve {}", &[&case.config]).fails(&["max.message.bytes 1000", "limits.id_bytes"]);
    }
}
