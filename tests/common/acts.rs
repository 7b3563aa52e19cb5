//! What happens to a running service in a storm, beside kills.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::kafka::{Kafka, Serving, get, until};
use super::storm::{Read, producer, read_all, reader};

/// Writes events of a user whom nobody else asks about, erases that user, and checks that the next event begins anew.
pub fn erase(kafka: &Kafka, user: u64) {
    let (producer, key) = (producer(&kafka.client()), user.to_string());
    let event = |item: u64| {
        let text = format!(r#"{{"type":"event","id":"erased","user":{user},"item":{item},"value":1}}"#);
        producer
            .send(BaseRecord::to("requests").key(&key).payload(&text))
            .map_err(|(error, _)| error)
            .expect("room");
        producer.flush(Duration::from_secs(120)).expect("delivered");
    };
    let mut found = Vec::new();
    let mut replies = |n: usize| {
        until(&format!("{n} replies to user {user}"), Duration::from_secs(180), || {
            let all = read_all(&kafka.client(), &["replies"]);
            found = all.into_iter().filter(|read| read.key == key.as_bytes()).collect::<Vec<Read>>();
            // At least once some come twice.
            found.iter().map(Read::source).collect::<BTreeSet<_>>().len() >= n
        });
        found.sort_by_key(|read| (read.source().1, read.place));
        found.clone()
    };
    (30..33).for_each(event);
    let last = replies(3).pop().expect("a reply");
    assert_eq!(last.json()["history"], 3, "user {user}");
    let state = format!("[\"requests\",{user}]");
    let record = BaseRecord::<str, [u8]>::to("state").partition(last.source().0).key(&state);
    producer.send(record).map_err(|(error, _)| error).expect("room");
    producer.flush(Duration::from_secs(120)).expect("delivered");
    until(&format!("the erasure of user {user} is confirmed"), Duration::from_secs(180), || {
        let all = read_all(&kafka.client(), &["state"]);
        all.iter().any(|read| read.key == state.as_bytes() && read.headers.contains_key("burnrec-erased"))
    });
    event(40);
    let last = replies(4).pop().expect("a reply");
    assert_eq!(last.json()["history"], 1, "user {user} was erased");
}

/// Deletes the requests before the committed offsets, as the topic's retention does; keeps them for the check.
pub fn cut(kafka: &Kafka, inputs: &mut BTreeMap<(i32, i64), Read>) {
    inputs.extend(read_all(&kafka.client(), &["requests"]).into_iter().map(|read| (read.place, read)));
    let group = reader(kafka.client().set("group.id", "burnrec"), "read_committed");
    let mut list = TopicPartitionList::new();
    let partitions: BTreeSet<i32> = inputs.keys().map(|(partition, _)| *partition).collect();
    for &partition in &partitions {
        list.add_partition("requests", partition);
    }
    let committed = group.committed_offsets(list, Duration::from_secs(30)).expect("offsets");
    for part in committed.elements() {
        if let Some(offset) = part.offset().to_raw().filter(|offset| *offset > 0) {
            // What was written since it was read stays.
            let read =
                inputs.keys().filter(|place| place.0 == part.partition()).map(|place| place.1 + 1).max();
            kafka.delete_before("requests", part.partition(), offset.min(read.unwrap_or(0)));
        }
    }
}

/// Returns the sum of a metric's series.
pub fn metric(serving: &Serving, name: &str) -> f64 {
    let text = get(&serving.http, "/metrics").expect("metrics");
    let lines = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').expect("a value").1.parse::<f64>().expect("a number")).sum()
}
