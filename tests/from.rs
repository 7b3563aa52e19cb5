//! Tests on a real Apache Kafka that `from` says where a group begins, and nothing more: under each form of it, instances
//! that all have it join, die and come again while requests come in.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::kafka::{Kafka, Serving, until};
use common::storm::{Read, producer, read_all};
use common::trained;
use rdkafka::producer::{BaseRecord, Producer};

const PARTITIONS: usize = 3;
/// Requests that are there before the group begins, and those that come later, in each partition.
const BEFORE: usize = 20;
const LATER: usize = 100;

/// Writes `n` requests into each partition of a topic.
fn write(kafka: &Kafka, topic: &str, n: usize) {
    let producer = producer(&kafka.client());
    for at in 0..n * PARTITIONS {
        let record = BaseRecord::<str, str>::to(topic).partition((at % PARTITIONS) as i32);
        let record = record.payload(r#"{"type":"recommend","user":1,"k":1}"#);
        producer.send(record).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

/// Returns how many replies each request has, by its partition and offset.
fn replies(kafka: &Kafka, topic: &str) -> BTreeMap<(i32, i64), usize> {
    let mut counts = BTreeMap::new();
    let all = read_all(&kafka.client(), &[topic]);
    all.iter().map(Read::source).for_each(|source| *counts.entry(source).or_default() += 1);
    counts
}

/// Runs a group whose instances all begin by `from`; `begins` are the offsets at which it must begin.
fn group_begins(kafka: &Kafka, run: &Path, guarantee: &str, from: &str, begins: [i64; PARTITIONS]) {
    let case = format!("{guarantee}-{}", from.replace(['=', ',', ':'], "-"));
    let (requests, answers) = (format!("requests-{case}"), format!("replies-{case}"));
    kafka.topics(&[(&requests, PARTITIONS as i32), (&answers, 1)]);
    let bootstrap = &kafka.bootstrap;
    let text = format!(
        r#"
        models.main.run = {run:?}
        [kafka]
        bootstrap = "{bootstrap}"
        group = "{case}"
        guarantee = "{guarantee}"
        requests = ["{requests}"]
        replies = "{answers}"
        rejects = "rejects"
        from = "{from}"
        commit_ms = 50
        librdkafka = {{ "session.timeout.ms" = 4000 }}
        "#
    );
    let config = kafka.folder.file(&format!("{case}.toml"), text);
    let start = |name: &str| {
        let serving = Serving::start(&kafka.folder, name, &config, &[&format!("kafka.instance={name}")]);
        serving.ready();
        serving
    };
    write(kafka, &requests, BEFORE);
    let a = start("a");
    write(kafka, &requests, LATER / 4);
    let b = start("b");
    write(kafka, &requests, LATER / 4);
    a.kill();
    write(kafka, &requests, LATER / 4);
    let a = start("a");
    write(kafka, &requests, LATER / 4);
    let ends = (BEFORE + LATER) as i64;
    let all = |from: i64, part: usize| (from..ends).map(move |offset| (part as i32, offset));
    let wanted: Vec<(i32, i64)> = (0..PARTITIONS).flat_map(|part| all(begins[part], part)).collect();
    let mut found = BTreeMap::new();
    until(&format!("{case}: all are answered"), Duration::from_secs(60), || {
        found = replies(kafka, &answers);
        wanted.iter().all(|place| found.contains_key(place))
    });
    assert_eq!(a.stop(), Some(0), "{case}");
    assert_eq!(b.stop(), Some(0), "{case}");
    let found = replies(kafka, &answers);
    assert!(found.keys().copied().eq(wanted), "{case}: answers to what came before the group began");
    let twice = found.values().map(|count| count - 1).sum::<usize>();
    assert!(twice == 0 || guarantee == "at-least-once", "{case}: {twice} replies are there twice");
    eprintln!("{case}: {} answered, {twice} replies twice", found.len());
}

#[test]
fn a_group_begins_once_and_loses_and_repeats_nothing() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("rejects", 1)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    let new = BEFORE as i64;
    for guarantee in ["exactly-once", "at-least-once"] {
        for (from, begins) in [
            ("latest", [new; 3]),
            ("earliest", [0; 3]),
            ("committed", [0; 3]),
            ("ts=0", [0; 3]),
            ("last=1h", [0; 3]),
            ("offsets=0:17,2:3", [17, 0, 3]),
        ] {
            group_begins(&kafka, &run, guarantee, from, begins);
        }
    }
}
