//! Runs `serve` on a real Apache Kafka with much waiting: what is urgent is answered first.

mod common;

use std::time::Duration;

use common::kafka::{Kafka, Serving, until};
use common::storm::{producer, read_all};
use common::trained;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};

const WAITING: usize = 20_000;
const URGENT: usize = 10;

/// Writes requests that carry their number and their rank; the urgent ones come last.
fn fill(kafka: &Kafka, topic: &str) {
    let producer = producer(kafka.client().set("queue.buffering.max.messages", "100000"));
    for at in 0..WAITING {
        let rank = if at + URGENT < WAITING { "1" } else { "5" };
        let text = format!(r#"{{"type":"score","id":{at},"user":{},"items":[1,2]}}"#, at % 20);
        let (key, header) = ((at % 20).to_string(), Header { key: "rank", value: Some(rank) });
        let record = BaseRecord::to(topic).key(&key).payload(&text);
        let record = record.headers(OwnedHeaders::new().insert(header));
        producer.send(record).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

#[test]
fn the_urgent_are_answered_first_though_they_come_last() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("rejects", 1)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    for guarantee in ["exactly-once", "at-least-once"] {
        for partitions in [1, 4] {
            let name = format!("{guarantee}-{partitions}");
            let topics = [format!("{name}-requests"), format!("{name}-replies")];
            kafka.topics(&[(topics[0].as_str(), partitions), (topics[1].as_str(), 1)]);
            fill(&kafka, &topics[0]);
            let text = format!(
                r#"
                models.main.run = {run:?}
                unknown.item = "null"
                [flow]
                order = "header:rank"
                queue_events = 32768
                [kafka]
                bootstrap = "{}"
                instance = "one"
                workers = 1
                group = "{name}"
                guarantee = "{guarantee}"
                requests = ["{}"]
                replies = "{}"
                rejects = "rejects"
                "#,
                kafka.bootstrap, topics[0], topics[1]
            );
            let config = kafka.folder.file(&format!("{name}.toml"), text);
            let serving = Serving::start(&kafka.folder, &name, &config, &[]);
            let mut replies = Vec::new();
            until("all are answered", Duration::from_secs(60), || {
                replies = read_all(&kafka.client(), &[&topics[1]]);
                replies.len() >= WAITING
            });
            assert_eq!(serving.stop(), Some(0));
            replies.sort_by_key(|reply| reply.place);
            let is_urgent = |at: &usize| {
                let id = replies[*at].json()["id"].as_u64().expect("a number");
                id as usize + URGENT >= WAITING
            };
            let urgent: Vec<usize> = (0..replies.len()).filter(is_urgent).collect();
            // Two batches of `flow.batch_events`.
            assert!(urgent.len() == URGENT && urgent[URGENT - 1] < 2 * 512, "{name}: at {urgent:?}");
            assert_eq!(replies.len(), WAITING, "{name}");
        }
    }
}
