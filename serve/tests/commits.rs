//! Commits that nobody waits for: one that the brokers refuse is tried again, without new events and without a stop.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burnrec_serve::Engine;
use burnrec_serve::health::Health;
use burnrec_serve::kafka::{TopicLimits, Workers};
use burnrec_serve::metrics::Metrics;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const REQUESTS: usize = 200;
const LIMIT: Duration = Duration::from_secs(30);

/// How long the test waits between two looks at the committed offsets, and how many looks there are at most.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS: usize = 3000;

/// Returns the sum of the committed offsets of both partitions.
fn committed(reader: &BaseConsumer) -> i64 {
    let mut list = TopicPartitionList::new();
    list.add_partition_range("requests", 0, 1);
    let found = reader.committed_offsets(list, LIMIT).expect("offsets");
    let offset = |offset: Offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
    found.elements().iter().map(|part| offset(part.offset())).sum()
}

#[test]
fn a_commit_that_brokers_refuse_is_tried_again() {
    let cluster = MockCluster::new(1).expect("a broker");
    for topic in ["requests", "replies", "rejects"] {
        cluster.create_topic(topic, 2, 1).expect("a topic");
    }
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 5]);
    let bootstrap = cluster.bootstrap_servers();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &bootstrap).set("group.id", "burnrec");
    let producer: BaseProducer = client.create().expect("a producer");
    for user in 0..REQUESTS {
        let (key, text) = (user.to_string(), r#"{"type":"score","user":1,"items":[101]}"#);
        producer.send(BaseRecord::to("requests").key(&key).payload(text)).expect("a request is taken");
    }
    producer.flush(LIMIT).expect("requests are written");

    let settings = format!(
        "models.main.run = \"RUN\"\n[kafka]\nbootstrap = {bootstrap:?}\nrequests = [\"requests\"]\n\
         replies = \"replies\"\nrejects = \"rejects\"\ncommit_ms = 20"
    );
    let config = common::config(&settings);
    let engine = Arc::new(Engine::open(&config).expect("an engine"));
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let workers =
        Workers::start(&config, &TopicLimits::default(), &engine, &metrics, &health, &stop).expect("workers");
    let reader: BaseConsumer = client.create().expect("a consumer");
    // A client is not told of another's commits, so it asks again and again; `poll` waits between two questions.
    let is_there = (0..LOOKS).any(|_| {
        drop(reader.poll(LOOK));
        committed(&reader) >= REQUESTS as i64
    });
    assert!(is_there, "{} of {REQUESTS} are committed", committed(&reader));
    let replied: u64 = metrics.ends().values().sum();
    assert_eq!(replied, REQUESTS as u64, "none is answered twice");
    stop.store(true, Ordering::Relaxed);
    workers.join().expect("a stop in good order");
}
