//! Tests the guarantees of `serve` on a real Apache Kafka, modelled on Kafka's own test of transactions: services and
//! brokers are killed and stopped, instances join and leave, and models are replaced, while requests come in and a
//! reader of committed messages checks what it sees.

mod common;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::acts;
use common::after::{After, each_has_its_end, order_is_kept, others_agree, state_is_whole};
use common::kafka::{Kafka, Serving, until};
use common::storm::{Checker, FILTERED, Feed, ITEMS, Read, USERS, producer, read_all};
use common::{Folder, burnrec};
use rdkafka::producer::{BaseRecord, Producer};

const PARTITIONS: i32 = 6;
/// As many the topics have after half of the rounds.
const GROWN: i32 = 8;
/// In megabytes: a service that keeps to its bounds has half of it.
const MOST_MEMORY: f64 = 400.0;
/// How many rounds a storm has, if the environment does not say another number: 60 take about an hour.
const ROUNDS: usize = 5;
const TOPICS: &[&str] = &["replies", "rejects", "receipts"];
/// All forms of `from`. The topic is empty when the first instance starts, so that all begin at its beginning.
const FORMS: [&str; 6] = ["latest", "earliest", "last=1h", "ts=0", "offsets=0:0,3:0", "committed"];

/// Trains two ALS models of the same users and items, and returns their run directories.
fn models(folder: &Folder) -> [PathBuf; 2] {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    let line = format!("synth --users {USERS} --items {ITEMS} --rows 12000 --out {{}}");
    burnrec(&line, &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    let als = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/als.toml");
    [8, 12].map(|dim| {
        let run = folder.path(&format!("als-{dim}"));
        let line = format!("train {{}} --data {{}} --out {{}} --set dim={dim} --set epochs=3");
        burnrec(&line, &[&als, &data, &run]).ok();
        run
    })
}

/// Copies a model over the one that is served, its manifest last.
fn put_model(from: &Path, into: &Path) {
    std::fs::create_dir_all(into).expect("a folder");
    let files = std::fs::read_dir(from).expect("a run").map(|file| file.expect("a file").path());
    for file in files.filter(|file| file.is_file() && !file.ends_with("manifest.json")) {
        std::fs::copy(&file, into.join(file.file_name().expect("a name"))).expect("a copy");
    }
    std::fs::copy(from.join("manifest.json"), into.join("manifest.new")).expect("a copy");
    std::fs::rename(into.join("manifest.new"), into.join("manifest.json")).expect("a manifest");
}

fn config(kafka: &Kafka, guarantee: &str, order: &str) -> PathBuf {
    let thresholds =
        (1..=ITEMS).map(|item| format!("{item},{}\n", if item <= FILTERED { "1e9" } else { "" }));
    let table = "item,least\n".to_owned() + &thresholds.collect::<String>();
    let table = kafka.folder.file("offers.csv", table);
    let (run, bootstrap) = (kafka.folder.path("served"), &kafka.bootstrap);
    let text = format!(
        r#"
        [models.main]
        run = {run:?}
        [kafka]
        bootstrap = "{bootstrap}"
        guarantee = "{guarantee}"
        requests = ["requests"]
        replies = "replies"
        rejects = "rejects"
        state = "state"
        receipts = "receipts"
        commit_ms = 200
        drain_timeout_ms = 3000
        librdkafka = {{ "session.timeout.ms" = 4000, "heartbeat.interval.ms" = 500 }}
        [table]
        path = {table:?}
        threshold = "least"
        [flow]
        batch_events = 256
        order = "{order}"
        max_event_age_ms = 3600000
        [failures.score]
        then = "drop"
        "#
    );
    kafka.folder.file("serve.toml", text)
}

/// Two instances of the service, which start with each form of `from` in turn.
struct Pair<'a> {
    kafka: &'a Kafka,
    config: PathBuf,
    starts: Cell<usize>,
}

impl Pair<'_> {
    fn start(&self, name: &str) -> Serving {
        // Only the first start says where the group begins.
        let from = FORMS[self.starts.replace(self.starts.get() + 1) % FORMS.len()];
        let set = [&format!("kafka.instance={name}"), &format!("kafka.from={from}")];
        Serving::start(&self.kafka.folder, name, &self.config, &set.map(String::as_str))
    }
}

/// Waits until every request has a receipt.
fn all_are_answered(kafka: &Kafka, inputs: &BTreeMap<(i32, i64), Read>) {
    until("every input has a receipt", Duration::from_secs(300), || {
        let outputs = read_all(&kafka.client(), &["receipts"]);
        outputs.iter().map(Read::source).collect::<BTreeSet<_>>().len() == inputs.len()
    });
}

/// Runs the storm, and returns the contents of the topics after it.
fn storm(kafka: &Kafka, guarantee: &str, order: &str, rounds: usize) -> After {
    let rounds = match std::env::var("BURNREC_STORM_ROUNDS") {
        Ok(text) => text.parse().expect("BURNREC_STORM_ROUNDS is a number"),
        Err(_) => rounds,
    };
    // In a long storm fewer a second, so that all of them can be held in memory.
    let per_second = if rounds > ROUNDS { 300 } else { 1000 };
    let topics =
        [("requests", PARTITIONS), ("replies", 4), ("rejects", 2), ("receipts", 2), ("state", PARTITIONS)];
    kafka.topics(&topics);
    kafka.limit("replies", 2048);
    let (runs, served) = (models(&kafka.folder), kafka.folder.path("served"));
    put_model(&runs[0], &served);
    let pair = Pair { kafka, config: config(kafka, guarantee, order), starts: Cell::default() };
    let (mut a, mut b) = (pair.start("a"), pair.start("b"));
    a.ready();
    b.ready();
    let mut inputs = BTreeMap::new();
    let checker = Checker::start(&kafka.client(), TOPICS);
    let mut feed = Feed::start(&kafka.client(), 7, per_second, 0);
    checker.progress(1000);
    for round in 0..rounds {
        eprintln!("round {round}: a is killed");
        a.kill();
        a = pair.start("a");
        checker.progress(1500);
        eprintln!("round {round}: b is stopped");
        assert_eq!(b.stop(), Some(0), "a clean end");
        b = pair.start("b");
        checker.progress(1500);
        let broker = (1 + round % kafka.brokers).to_string();
        eprintln!("round {round}: broker {broker} is killed");
        kafka.script("kill", &[&broker]);
        kafka.script("up", &[&broker]);
        checker.progress(1500);
        let broker = (1 + (round + 1) % kafka.brokers).to_string();
        eprintln!("round {round}: broker {broker} is stopped");
        kafka.script("halt", &[&broker]);
        kafka.script("up", &[&broker]);
        checker.progress(1500);
        eprintln!("round {round}: c joins, the model is exchanged, c leaves");
        let c = pair.start("c");
        c.ready();
        put_model(&runs[(round + 1) % 2], &served);
        checker.progress(1500);
        match round % 2 {
            0 => assert_eq!(c.stop(), Some(0), "a clean end"),
            _ => c.kill(),
        }
        checker.progress(1500);
        eprintln!("round {round}: a user is erased, old requests are deleted");
        acts::erase(kafka, 100_000 + round as u64);
        acts::cut(kafka, &mut inputs);
        checker.progress(1500);
        if round == rounds / 2 {
            eprintln!("round {round}: the topics grow");
            feed.end();
            keep_inputs(kafka, &mut inputs);
            all_are_answered(kafka, &inputs);
            assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)), "clean ends");
            ["requests", "state"].iter().for_each(|topic| kafka.grow(topic, GROWN as usize));
            let moved = burnrec("repartition {} --set kafka.instance=a --json", &[&pair.config]).json();
            assert!(moved["moved"].as_u64().is_some_and(|n| n > 30) && moved["waiting"] == 0, "{moved}");
            (a, b) = (pair.start("a"), pair.start("b"));
            feed = Feed::start(&kafka.client(), 8, per_second, 1_000_000_000);
            checker.progress(1500);
        }
        let memory = [&a, &b].map(|of| acts::metric(of, "process_resident_memory_bytes") / 1e6);
        eprintln!("round {round}: memory {memory:.0?} MB");
        assert!(memory.iter().all(|of| *of < MOST_MEMORY), "memory grows: {memory:.0?} MB");
    }
    feed.end();
    probe(kafka);
    keep_inputs(kafka, &mut inputs);
    eprintln!("{} inputs", inputs.len());
    all_are_answered(kafka, &inputs);
    until("the lag is nothing", Duration::from_secs(30), || {
        acts::metric(&a, "kafka_consumer_lag") + acts::metric(&b, "kafka_consumer_lag") == 0.0
    });
    assert_eq!(acts::metric(&a, "burnrec_events_elsewhere_total"), 0.0);
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));
    let outputs = read_all(&kafka.client(), TOPICS);
    let mut seen: Vec<_> = checker.end().into_iter().map(|read| (read.topic, read.place)).collect();
    let mut stand: Vec<_> = outputs.iter().map(|read| (read.topic.clone(), read.place)).collect();
    seen.sort();
    stand.sort();
    stand.truncate(stand.len().max(seen.len()));
    let vanished = seen.iter().filter(|place| stand.binary_search(place).is_err()).count();
    assert_eq!(vanished, 0, "what was read as committed stays");
    After { inputs: inputs.into_values().collect(), outputs }
}

/// Adds the requests that are in their topic now.
fn keep_inputs(kafka: &Kafka, inputs: &mut BTreeMap<(i32, i64), Read>) {
    inputs.extend(read_all(&kafka.client(), &["requests"]).into_iter().map(|read| (read.place, read)));
}

/// Asks for scores of every user after the storm, and ends each partition with a message that cannot be decoded.
fn probe(kafka: &Kafka) {
    let producer = producer(&kafka.client());
    for user in 1..=USERS {
        let text = format!(r#"{{"type":"score","id":"probe","user":{user},"items":[30,60,90]}}"#);
        let key = user.to_string();
        producer
            .send(BaseRecord::to("requests").key(&key).payload(&text))
            .map_err(|(error, _)| error)
            .expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
    for partition in 0..GROWN {
        let poison: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to("requests").partition(partition).payload(b"\xff\xfe");
        producer.send(poison).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

#[test]
fn exactly_once_under_kills() {
    let Some(kafka) = Kafka::start(3, false) else { return };
    let after = storm(&kafka, "exactly-once", "first-in", ROUNDS);
    assert_eq!(each_has_its_end(&after, true), 0, "records are there twice");
    order_is_kept(&after);
    state_is_whole(&kafka, &after);
    others_agree(&kafka, &after);
}

#[test]
fn exactly_once_by_priority() {
    let Some(kafka) = Kafka::start(3, false) else { return };
    let after = storm(&kafka, "exactly-once", "header:rank", 2);
    assert_eq!(each_has_its_end(&after, true), 0, "records are there twice");
}

#[test]
fn at_least_once_under_kills() {
    let Some(kafka) = Kafka::start(3, false) else { return };
    let after = storm(&kafka, "at-least-once", "first-in", ROUNDS);
    let twice = each_has_its_end(&after, false);
    eprintln!("at least once: {twice} records twice, none missing");
}
