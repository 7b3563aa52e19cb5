//! Runs `serve` on a real Apache Kafka: users' histories are where their events come, also when the topics get more
//! partitions, and are gone when they are erased.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::kafka::{Kafka, Serving, get, post, until};
use common::storm::{Read, producer, read_all};
use common::{burnrec, trained};
use rdkafka::producer::{BaseRecord, Producer};

const USERS: usize = 60;

fn config(kafka: &Kafka, run: &Path, guarantee: &str, more: &str) -> PathBuf {
    let bootstrap = &kafka.bootstrap;
    let text = format!(
        r#"
        models.main.run = {run:?}
        [kafka]
        bootstrap = "{bootstrap}"
        instance = "one"
        group = "{guarantee}"
        guarantee = "{guarantee}"
        requests = ["{guarantee}-requests"]
        replies = "{guarantee}-replies"
        rejects = "rejects"
        state = "{guarantee}-state"
        commit_ms = 50
        librdkafka = {{ "session.timeout.ms" = 4000 }}
        {more}
        "#
    );
    kafka.folder.file(&format!("{guarantee}.toml"), text)
}

/// Writes an event of each user, with the user's id as the key.
fn events(kafka: &Kafka, topic: &str, item: usize, partitioner: &str) {
    let producer = producer(kafka.client().set("partitioner", partitioner));
    for user in 0..USERS {
        let text = format!(r#"{{"type":"event","id":{item},"user":{user},"item":{item}}}"#);
        let key = user.to_string();
        producer
            .send(BaseRecord::to(topic).key(&key).payload(&text))
            .map_err(|(error, _)| error)
            .expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

/// Waits for the replies to the events of an item; returns the lengths of the histories, by user.
fn histories(kafka: &Kafka, topic: &str, item: usize) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    until(&format!("replies to the events of item {item}"), Duration::from_secs(60), || {
        let replies = read_all(&kafka.client(), &[topic]);
        let of_item = replies.iter().map(|reply| reply.json()).filter(|reply| reply["id"] == item);
        let number = |value: &serde_json::Value| value.as_u64().expect("a number");
        found = of_item.map(|reply| (number(&reply["user"]), number(&reply["history"]))).collect();
        found.len() == USERS
    });
    found
}

fn all_are(length: u64) -> BTreeMap<u64, u64> {
    (0..USERS as u64).map(|user| (user, length)).collect()
}

#[test]
fn histories_follow_their_events_and_are_erased_at_once() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("rejects", 1), ("keeps", 4)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    for guarantee in ["exactly-once", "at-least-once"] {
        let topic = |what: &str| format!("{guarantee}-{what}");
        let (requests, replies, state) = (topic("requests"), topic("replies"), topic("state"));
        kafka.topics(&[(&requests, 4), (&replies, 1), (&state, 4)]);
        let config = config(&kafka, &run, guarantee, "");
        let start = |name: &str| Serving::start(&kafka.folder, &topic(name), &config, &[]);
        let refused = |name: &str, parts: &[&str]| {
            let serving = start(name);
            let log = serving.log.clone();
            assert_eq!(serving.end(), Some(1), "{name}");
            let said = std::fs::read_to_string(log).expect("a log");
            assert!(parts.iter().all(|part| said.contains(part)), "{name}: {said}");
        };
        let checked = burnrec("serve {} --set kafka.state=keeps --set http.listen=127.0.0.1:0", &[&config]);
        assert!(
            checked.code == Some(1)
                && checked.stderr.contains("cleanup.policy=delete of the state topic keeps"),
            "{}",
            checked.stderr
        );

        // Clients with another partitioner are noticed: some of their users' histories are elsewhere.
        let serving = start("first");
        events(&kafka, &requests, 1, "murmur2_random");
        assert_eq!(histories(&kafka, &replies, 1), all_are(1), "{guarantee}");
        let metric = |serving: &Serving, name: &str| -> f64 {
            let text = get(&serving.http, "/metrics").expect("metrics");
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
            line.rsplit_once(' ').expect("a value").1.parse().expect("a number")
        };
        let elsewhere = "burnrec_events_elsewhere_total";
        assert_eq!(metric(&serving, elsewhere), 0.0);
        let busy = burnrec("repartition {}", &[&config]);
        assert!(busy.code == Some(1) && busy.stderr.contains("stop all instances"), "{}", busy.stderr);
        events(&kafka, &requests, 2, "consistent_random");
        let lengths = histories(&kafka, &replies, 2);
        let apart = lengths.values().filter(|length| **length == 1).count();
        assert!((10..USERS).contains(&apart), "{guarantee}: {lengths:?}");
        // Where a broker stalls for a while, the service answers again, which counts again, and is not ready meanwhile.
        let counted = metric(&serving, elsewhere);
        let is_again = serving.logged().contains("rolling back");
        assert!(counted == apart as f64 || is_again && counted > apart as f64, "{guarantee}: {counted}");
        until("a warning of a service that is ready", Duration::from_secs(60), || {
            let ready = get(&serving.http, "/health/ready").expect("an answer");
            assert!(ready.contains("kafka.partitioner"), "{ready}");
            ready.starts_with("HTTP/1.1 200")
        });

        // A topic that grows while the service runs ends it, and what to do is said until it is done.
        kafka.grow(&requests, 6);
        let log = serving.log.clone();
        assert_eq!(serving.end(), Some(1), "{guarantee}");
        let said = std::fs::read_to_string(log).expect("a log");
        let expected = format!("6 partitions of {requests}");
        assert!(said.contains(&expected) && said.contains("burnrec repartition"), "{said}");
        refused("grown", &[&format!("4 partitions of {state} and 6 of {requests}")]);
        kafka.grow(&state, 6);
        refused("unmoved", &[&expected, "burnrec repartition"]);

        // The members of the group are gone only after their sessions.
        let mut moved = None;
        until("the histories move", Duration::from_secs(60), || {
            let ran = burnrec("repartition {} --json", &[&config]);
            moved = (ran.code == Some(0)).then(|| ran.json());
            moved.is_some()
        });
        let moved = moved.expect("what moved");
        assert!(moved["moved"].as_u64().is_some_and(|n| n > 10) && moved["waiting"] == 0, "{moved}");
        assert_eq!(moved["merged"], apart, "{guarantee}: {moved}");
        let again = burnrec("repartition {} --json", &[&config]).json();
        assert_eq!((&again["users"], &again["moved"]), (&USERS.into(), &0.into()), "{guarantee}: {again}");
        let serving = start("second");
        serving.ready();
        events(&kafka, &requests, 3, "murmur2_random");
        assert_eq!(histories(&kafka, &replies, 3), all_are(3), "{guarantee}");

        // A record without a value erases a user at once, and for good, in whichever partition it is.
        let eraser = producer(&kafka.client());
        let answered = read_all(&kafka.client(), &[&replies]);
        let home = |user: u64| {
            let is_last = |reply: &&Read| reply.json()["user"] == user && reply.json()["id"] == 3;
            answered.iter().find(is_last).expect("a reply").source().0
        };
        for (user, partition) in [(7, home(7)), (8, (home(8) + 1) % 6)] {
            let key = format!("[\"{requests}\",{user}]");
            let record = BaseRecord::<str, [u8]>::to(&state).partition(partition).key(&key);
            eraser.send(record).map_err(|(error, _)| error).expect("room");
        }
        eraser.flush(Duration::from_secs(60)).expect("delivered");
        serving.until("the users are erased", || {
            let all = get(&serving.http, "/metrics").expect("metrics");
            all.contains(&format!("burnrec_users_with_history {}\n", USERS - 2))
        });
        events(&kafka, &requests, 4, "murmur2_random");
        let mut expected = all_are(4);
        expected.extend([(7, 1), (8, 1)]);
        assert_eq!(histories(&kafka, &replies, 4), expected, "{guarantee}");
        assert_eq!(serving.stop(), Some(0));
        let serving = start("third");
        serving.ready();
        events(&kafka, &requests, 5, "murmur2_random");
        let mut expected = all_are(5);
        expected.extend([(7, 2), (8, 2)]);
        assert_eq!(histories(&kafka, &replies, 5), expected, "{guarantee}");
        let reply = post(&serving.http, "/v1/event", r#"{"user":7,"item":6}"#).expect("a reply");
        assert!(reply.starts_with("HTTP/1.1 202"), "{reply}");
        assert_eq!(metric(&serving, elsewhere), 0.0, "an event over HTTP has the same partitioner");
        assert_eq!(serving.stop(), Some(0));
    }
}
