//! Tests the broker that the tests of the guarantees use: on a broker without working transactions those tests would
//! prove nothing.

mod common;

use std::time::Duration;

use common::kafka::{Kafka, until};
use common::storm::reader;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// The broker must hide messages that are aborted or not yet committed, and apply a transaction's offsets only when it
/// commits.
#[test]
fn the_broker_keeps_transactions() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("in", 1), ("out", 1)]);
    let mut client = kafka.client();
    client.set("transactional.id", "t");
    let producer: BaseProducer = client.create().expect("a producer");
    let wait = Duration::from_secs(30);
    producer.init_transactions(wait).expect("a name");
    let mut group = kafka.client();
    group.set("group.id", "g").set("isolation.level", "read_committed").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = group.create().expect("a consumer");
    consumer.subscribe(&["in"]).expect("subscribed");
    until("the consumer is in its group", wait, || {
        let _ = consumer.poll(Duration::from_millis(100));
        consumer.assignment().is_ok_and(|parts| parts.count() == 1)
    });
    let seen = |isolation: &str| {
        let reader = reader(kafka.client().set("enable.partition.eof", "true"), isolation);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("out", 0, Offset::Beginning).expect("an offset");
        reader.assign(&list).expect("assigned");
        let mut all = Vec::new();
        while let Some(Ok(message)) = reader.poll(wait) {
            all.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
        }
        all
    };
    let committed = || {
        let list = consumer.committed_offsets(
            {
                let mut list = TopicPartitionList::new();
                list.add_partition("in", 0);
                list
            },
            wait,
        );
        list.expect("offsets").elements()[0].offset()
    };
    let send = |text: &str, offset: i64| {
        producer.begin_transaction().expect("begun");
        producer
            .send(BaseRecord::<(), str>::to("out").payload(text))
            .map_err(|(error, _)| error)
            .expect("room");
        producer.flush(wait).expect("delivered");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("in", 0, Offset::Offset(offset)).expect("an offset");
        let group = consumer.group_metadata().expect("a group");
        producer.send_offsets_to_transaction(&list, &group, wait).expect("sent");
    };
    send("first", 5);
    assert_eq!(seen("read_committed"), Vec::<String>::new(), "not committed yet");
    assert_eq!(seen("read_uncommitted"), ["first"], "and yet there");
    producer.commit_transaction(wait).expect("committed");
    assert_eq!((seen("read_committed"), committed()), (vec!["first".to_owned()], Offset::Offset(5)));
    send("second", 9);
    producer.abort_transaction(wait).expect("aborted");
    assert_eq!((seen("read_committed"), committed()), (vec!["first".to_owned()], Offset::Offset(5)));
    assert_eq!(seen("read_uncommitted"), ["first", "second"]);
    send("third", 7);
    producer.commit_transaction(wait).expect("committed");
    assert_eq!(seen("read_committed"), ["first", "third"]);
    assert_eq!(committed(), Offset::Offset(7));
}
