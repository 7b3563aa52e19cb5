//! Tests on a real Apache Kafka that the lag is what is not answered, and that events which are gone before they were
//! read are noticed, counted and said.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::kafka::{Kafka, Serving, get, until};
use common::storm::{Read, producer, read_all};
use common::trained;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const REQUEST: &str = r#"{"type":"recommend","user":1,"k":1}"#;
const GUARANTEES: [&str; 2] = ["exactly-once", "at-least-once"];

fn config(kafka: &Kafka, run: &Path, name: &str, guarantee: &str) -> PathBuf {
    let bootstrap = &kafka.bootstrap;
    let text = format!(
        r#"
        models.main.run = {run:?}
        [kafka]
        bootstrap = "{bootstrap}"
        group = "{name}"
        instance = "a"
        guarantee = "{guarantee}"
        requests = ["requests-{name}"]
        replies = "replies-{name}"
        rejects = "rejects"
        workers = 1
        "#
    );
    kafka.topics(&[(&format!("requests-{name}"), 1), (&format!("replies-{name}"), 1)]);
    kafka.folder.file(&format!("{name}.toml"), text)
}

fn write(kafka: &Kafka, name: &str, n: usize) {
    let producer = producer(&kafka.client());
    for _ in 0..n {
        let topic = format!("requests-{name}");
        let record = BaseRecord::<str, str>::to(&topic).payload(REQUEST);
        producer.send(record).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

/// Waits until there are `n` replies.
#[track_caller]
fn answered(kafka: &Kafka, name: &str, n: usize) {
    let mut found = 0;
    until(&format!("{name}: {n} replies"), Duration::from_secs(60), || {
        found = read_all(&kafka.client(), &[&format!("replies-{name}")]).len();
        found >= n
    });
    assert_eq!(found, n, "{name}");
}

/// Waits until the group has committed this offset.
#[track_caller]
fn committed(kafka: &Kafka, name: &str, offset: i64) {
    let mut client = kafka.client();
    let group: BaseConsumer = client.set("group.id", name).create().expect("a consumer");
    until(&format!("{name}: {offset} is committed"), Duration::from_secs(30), || {
        let mut list = TopicPartitionList::new();
        list.add_partition(&format!("requests-{name}"), 0);
        let client = group.committed_offsets(list, Duration::from_secs(10));
        client.is_ok_and(|found| found.elements()[0].offset() == Offset::Offset(offset))
    });
}

/// Waits until the one partition's lag is there and has this value.
#[track_caller]
fn lag_is(kafka: &Kafka, serving: &Serving, name: &str, lag: f64) {
    until(&format!("{name}: the lag is {lag}"), Duration::from_secs(20), || {
        // Reading the replies waits for the brokers.
        read_all(&kafka.client(), &[&format!("replies-{name}")]);
        series(serving, "kafka_consumer_lag") == [lag]
    });
}

/// Returns the values of a metric's series.
fn series(serving: &Serving, name: &str) -> Vec<f64> {
    let text = get(&serving.http, "/metrics").expect("metrics");
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.map(|line| line.rsplit(' ').next().expect("a value").parse().expect("a number")).collect()
}

#[test]
fn the_lag_is_there_at_once_and_ends_at_nothing() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("rejects", 1)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    for guarantee in GUARANTEES {
        let name = format!("lag-{guarantee}");
        let config = config(&kafka, &run, &name, guarantee);
        // The requests come in transactions, whose markers are offsets that nobody reads.
        let mut client = kafka.client();
        let feed: BaseProducer = client.set("transactional.id", &name).create().expect("a producer");
        let limit = Duration::from_secs(30);
        feed.init_transactions(limit).expect("an id");
        let transaction = || {
            feed.begin_transaction().expect("begun");
            for _ in 0..50 {
                let topic = format!("requests-{name}");
                let record = BaseRecord::<str, str>::to(&topic).payload(REQUEST);
                feed.send(record).map_err(|(error, _)| error).expect("room");
            }
            feed.commit_transaction(limit).expect("committed");
        };
        (0..3).for_each(|_| transaction());
        let serving = Serving::start(&kafka.folder, &name, &config, &["kafka.from=latest"]);
        serving.ready();
        lag_is(&kafka, &serving, &name, 0.0);
        (0..3).for_each(|_| transaction());
        answered(&kafka, &name, 150);
        lag_is(&kafka, &serving, &name, 0.0);
        assert_eq!(serving.stop(), Some(0));
        // A request that waits for its next try is not done, and neither is what comes behind it.
        let set =
            ["failures.score.retries=9", "failures.score.backoff_ms=600000", "failures.score.pace=yield"];
        let serving = Serving::start(&kafka.folder, &name, &config, &set);
        serving.ready();
        let producer = producer(&kafka.client());
        let topic = format!("requests-{name}");
        let unknown = r#"{"type":"score","user":1,"items":["none"]}"#;
        for text in [unknown, REQUEST, REQUEST] {
            let record = BaseRecord::<str, str>::to(&topic).payload(text);
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
        producer.flush(limit).expect("delivered");
        lag_is(&kafka, &serving, &name, 3.0);
        serving.kill();
    }
}

#[test]
fn what_retention_deleted_is_said() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("rejects", 1)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    for guarantee in GUARANTEES {
        let name = format!("retention-{guarantee}");
        let config = config(&kafka, &run, &name, guarantee);
        write(&kafka, &name, 100);
        let serving = Serving::start(&kafka.folder, &name, &config, &[]);
        serving.ready();
        answered(&kafka, &name, 100);
        committed(&kafka, &name, 100);
        assert_eq!(serving.stop(), Some(0));
        write(&kafka, &name, 100);
        kafka.delete_before(&format!("requests-{name}"), 0, 150);
        // It stops where it is told to, which is the default exactly once.
        let set: &[&str] = if guarantee == "exactly-once" { &[] } else { &["kafka.on_data_loss=stop"] };
        let serving = Serving::start(&kafka.folder, &name, &config, set);
        let log = serving.log.clone();
        assert_eq!(serving.end(), Some(1), "{name}");
        let said = std::fs::read_to_string(log).expect("its log");
        let expected =
            format!("requests-{name}/0: 50 events before offset 150 were deleted before they were read");
        assert!(said.contains(&expected) && said.contains("kafka.on_data_loss"), "{said}");
        let set: &[&str] = if guarantee == "exactly-once" { &["kafka.on_data_loss=go-on"] } else { &[] };
        let serving = Serving::start(&kafka.folder, &name, &config, set);
        serving.ready();
        answered(&kafka, &name, 150);
        assert_eq!(series(&serving, "burnrec_lost_events_total"), [50.0], "{name}");
        let ready = get(&serving.http, "/health/ready").expect("an answer");
        assert!(
            ready.starts_with("HTTP/1.1 200") && ready.contains("50 events before offset 150"),
            "{ready}"
        );
        assert!(get(&serving.http, "/flow").expect("the flow").contains("50 events before offset 150"));
        // And while it runs: it sleeps while its next events are written and deleted.
        serving.signal("STOP");
        write(&kafka, &name, 100);
        kafka.delete_before(&format!("requests-{name}"), 0, 280);
        serving.signal("CONT");
        committed(&kafka, &name, 300);
        // What a fetch that was under way had brought before it was deleted is answered.
        let replies = read_all(&kafka.client(), &[&format!("replies-{name}")]).len();
        let lost = series(&serving, "burnrec_lost_events_total");
        assert!(
            replies >= 170 && lost == [300.0 - replies as f64],
            "{name}: {replies} replies, lost {lost:?}"
        );
        assert_eq!(serving.stop(), Some(0));
    }
}

#[test]
fn a_topic_that_is_made_anew_is_noticed() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("rejects", 1)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    for guarantee in GUARANTEES {
        let name = format!("anew-{guarantee}");
        let config = config(&kafka, &run, &name, guarantee);
        let serving = Serving::start(&kafka.folder, &name, &config, &["kafka.on_data_loss=go-on"]);
        serving.ready();
        write(&kafka, &name, 100);
        answered(&kafka, &name, 100);
        committed(&kafka, &name, 100);
        kafka.remake(&format!("requests-{name}"));
        write(&kafka, &name, 60);
        answered(&kafka, &name, 160);
        committed(&kafka, &name, 60);
        let sources: Vec<(i32, i64)> =
            read_all(&kafka.client(), &[&format!("replies-{name}")]).iter().map(Read::source).collect();
        assert_eq!(sources.iter().filter(|(_, offset)| *offset < 60).count(), 120, "{name}");
        assert_eq!(serving.stop(), Some(0));
    }
}
