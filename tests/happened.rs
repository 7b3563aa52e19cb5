//! What happened to events on a real Apache Kafka: searched, looked at with their messages, and answered again, as an operator does.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::browser::{browser, look};
use common::kafka::{Kafka, until};
use common::member::Member;
use common::storm::{Read, producer, read_all};
use common::{burnrec, trained};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::{Value, json};

/// The longest time that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(60);

/// The requests that are written, of which the last two have no answer.
const N: usize = 302;

/// Starts the service, and waits until it is ready.
fn start(kafka: &Kafka, config: &Path) -> Member {
    let service = Member::start(kafka, "a", config);
    service.serving.ready();
    service
}

/// Returns the events that `burnrec ctl events` finds.
fn events(service: &Member, line: &str) -> Vec<Value> {
    let page = service.ctl(&format!("events {line}")).json();
    page["events"].as_array().expect("events").clone()
}

fn config(kafka: &Kafka) -> PathBuf {
    let run = trained(
        &kafka.folder,
        "--users 100 --items 80 --rows 3000",
        "als.toml",
        "--set dim=8 --set epochs=2",
    );
    let path = |name: &str| kafka.folder.path(name);
    let text = format!(
        r#"
        models.main.run = {run:?}
        [kafka]
        bootstrap = "{}"
        guarantee = "exactly-once"
        instance = "a"
        requests = ["requests"]
        replies = "replies"
        rejects = "rejects"
        state = "state"
        receipts = "receipts"
        [control]
        dir = {:?}
        http.tokens = {:?}
        [provenance]
        dir = {:?}
        "#,
        kafka.bootstrap,
        path("control"),
        path("tokens.toml"),
        path("index"),
    );
    kafka.folder.file("serve.toml", text)
}

/// Writes requests of users 1 to 50, an event of user 7, and a request that is none; returns the requests.
fn write(kafka: &Kafka) -> Vec<String> {
    let writer = producer(&kafka.client());
    let score = |id: usize| {
        let (user, item) = (id % 50 + 1, id % 80 + 1);
        (user, format!(r#"{{"type":"score","id":"r{id}","user":{user},"items":[{item}]}}"#))
    };
    let mut all: Vec<(usize, String)> = (0..N - 2).map(score).collect();
    all.push((7, r#"{"type":"event","id":"e","user":7,"item":3}"#.to_owned()));
    all.push((7, "no request".to_owned()));
    for (user, text) in &all {
        let key = user.to_string();
        let record = BaseRecord::<str, str>::to("requests").key(&key).payload(text);
        writer.send(record).map_err(|(error, _)| error).expect("room");
    }
    writer.flush(LIMIT).expect("delivered");
    all.into_iter().map(|(_, text)| text).collect()
}

fn texts<'a>(events: &'a [Value], key: &str) -> Vec<&'a str> {
    events.iter().map(|of| of[key].as_str().unwrap_or_default()).collect()
}

#[test]
fn events_are_found_shown_with_their_messages_and_answered_again() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("requests", 4), ("replies", 4), ("rejects", 1), ("receipts", 1), ("state", 4)]);
    let config = config(&kafka);
    let service = start(&kafka, &config);
    let requests = write(&kafka);
    until("all has ended", LIMIT, || events(&service, "--limit 1000").len() == N);

    // Each receipt is in the index, and says the same.
    let receipts: Vec<Value> = read_all(&kafka.client(), &["receipts"]).iter().map(Read::json).collect();
    let said = |of: &Value| (of["source"].as_str().expect("a source").to_owned(), of["outcome"].clone());
    let of_receipts: BTreeMap<String, Value> = receipts.iter().map(said).collect();
    let of_index: BTreeMap<String, Value> = events(&service, "--limit 1000").iter().map(said).collect();
    assert_eq!((of_index.len(), receipts.len()), (N, N));
    assert_eq!(of_index, of_receipts);

    // By user, with the messages as they stand in the topic.
    let of_user = events(&service, "--user 7 --input --limit 100");
    assert_eq!(of_user.len(), 7);
    for event in of_user.iter().filter(|event| event["type"] == "score") {
        let value = &event["input"]["value"];
        assert!(
            requests
                .iter()
                .any(|request| serde_json::from_str::<Value>(request).is_ok_and(|of| of == *value))
        );
        assert_eq!((&event["input"]["key"], &event["config"]), (&json!(7), &json!(1)));
    }
    let one = events(&service, "--id r42");
    assert_eq!((one.len(), &one[0]["outcome"]), (1, &json!("replied")));
    let receipt = receipts.iter().find(|of| of["source"] == one[0]["source"]).expect("its receipt");
    for key in ["version", "hash", "data"] {
        assert_eq!(
            (&one[0]["model"][key], receipt[key].is_string()),
            (&receipt[key], true),
            "{key}: {receipt}"
        );
    }
    let source = one[0]["source"].as_str().expect("a source").to_owned();
    let rejected = events(&service, "--outcome rejected --input");
    assert_eq!((rejected.len(), &rejected[0]["reason"]), (1, &json!("not-json")));
    assert_eq!(rejected[0]["input"]["value"], "no request");
    let shown = service.ctl(&format!("event {source}")).json();
    assert_eq!(shown["events"][0]["input"]["value"]["id"], "r42", "{shown}");

    // Once more: its record says that it is a replay, and of what.
    let replies = || read_all(&kafka.client(), &["replies"]).len();
    let before = replies();
    let replay = service.ctl(&format!("replay {source} --note look")).json();
    let ended = json!([{ "outcome": "replied", "of": "score", "count": 1 }]);
    assert_eq!((&replay["state"], &replay["ends"], &replay["by"]), (&json!("done"), &ended, &json!("ops")));
    let both = events(&service, &format!("--source {source}"));
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!((&both[0]["replay"], &both[0]["replay_of"]), (&replay["replay"], &json!(source)));
    assert_eq!((both[0]["replay"].is_u64(), &both[1]["replay"]), (true, &Value::Null));
    assert_eq!(replies(), before + 1);
    let again = read_all(&kafka.client(), &["receipts"]).into_iter().map(|read| read.json());
    let again: Vec<Value> = again.filter(|of| !of["replay"].is_null()).collect();
    assert_eq!((again.len(), &again[0]["replay"]), (1, &replay["replay"]));

    // A range of offsets; then all by time, of which the event is passed over.
    let range = service.ctl("replay requests/1/0-9").json();
    let count = |replay: &Value| {
        let ends = replay["ends"].as_array().expect("ends").iter();
        ends.map(|end| end["count"].as_u64().expect("a number")).sum::<u64>()
    };
    assert_eq!((&range["state"], count(&range)), (&json!("done"), 10), "{range}");
    let found = events(&service, &format!("--replay {} --limit 100", range["replay"]));
    let mut sources = texts(&found, "source");
    sources.sort_unstable();
    let mut expected: Vec<String> = (0..10).map(|offset| format!("requests/1/{offset}")).collect();
    expected.sort_unstable();
    assert_eq!(sources, expected);
    let all = service.ctl("replay --from 0 --topic requests").json();
    assert_eq!((&all["state"], count(&all)), (&json!("done"), N as u64), "{all}");
    let event = events(&service, &format!("--replay {} --type event", all["replay"]));
    assert_eq!((event.len(), &event[0]["outcome"]), (1, &json!("filtered")), "{event:?}");
    service.ctl("replay requests/1/5-3").fails(&["topic/partition/first-last"]);
    service.ctl("replay rejects/0/0").fails(&["expected one of requests"]);
    let listed = service.ctl("replays").json();
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    let audit = service.ctl("audit --last 1000").json().to_string();
    assert!(audit.contains("POST /v1/replay?source=") && audit.contains("look"), "{audit}");
    assert!(!audit.contains("user=7") && audit.contains("user=…"), "{audit}");

    // What was found before is found after kill -9.
    let n = events(&service, "--limit 1000").len();
    assert_eq!(n, 2 * N + 11);
    service.serving.kill();
    let service = start(&kafka, &config);
    assert_eq!(events(&service, "--limit 1000").len(), n);

    // A message that retention has deleted is said to be gone, and what the index knows of it is there.
    let place: Vec<&str> = source.split('/').collect();
    let (partition, offset): (i32, i64) =
        (place[1].parse().expect("a number"), place[2].parse().expect("a number"));
    kafka.delete_before("requests", partition, offset + 1);
    let shown = service.ctl(&format!("event {source}")).json();
    let event = &shown["events"][0];
    assert!(event["input"].is_null() && event["outcome"] == "replied", "{event}");
    assert!(event["input_missing"].as_str().expect("why").contains("retention of requests"), "{event}");
    let gone = service.ctl(&format!("replay {source}"));
    gone.fails(&["deleted"]);

    // A person is erased from the index of a service that runs.
    let report = burnrec("erase --user 7 --service {} --json", &[&config]).json();
    assert_eq!(
        (&report["places"][1]["place"], &report["places"][1]["outcome"]),
        (&json!("index"), &json!("erased"))
    );
    assert_eq!(events(&service, "--user 7").len(), 0);
    assert!(events(&service, "--user 8").len() >= 6);
    assert_eq!(service.serving.stop(), Some(0));
}

#[test]
fn the_page_finds_an_event_and_has_it_answered_again() {
    if !browser() {
        return;
    }
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("requests", 4), ("replies", 4), ("rejects", 1), ("receipts", 1), ("state", 4)]);
    let service = start(&kafka, &config(&kafka));
    write(&kafka);
    until("all are in the index", LIMIT, || events(&service, "--user 7").len() == 7);
    let token = std::fs::read_to_string(&service.token).expect("a token");
    let before = read_all(&kafka.client(), &["replies"]).len();
    look(
        "events.mjs",
        &format!("{}/", service.at),
        &kafka.folder.path("pictures"),
        &[token.trim(), "7", "7"],
    );
    let replays = service.ctl("replays").json();
    assert!(replays[0]["state"] == "done" && replays[0]["by"] == "ops", "{replays}");
    assert_eq!(read_all(&kafka.client(), &["replies"]).len(), before + 1);
    assert_eq!(service.serving.stop(), Some(0));
}

#[test]
fn a_replay_goes_the_routes_of_its_topic_and_waits_for_no_quota() {
    const EVENTS: usize = 30;
    let Some(kafka) = Kafka::start(1, false) else { return };
    let topics = ["ours", "theirs", "replies", "rejects", "receipts", "state"].map(|name| (name, 1));
    kafka.topics(&topics);
    let config = config(&kafka);
    let text = std::fs::read_to_string(&config).expect("a config");
    let run = kafka.folder.path("run");
    let tenants = format!(
        r#"
        models.second.run = {run:?}
        [tenants.acme]
        [tenants.globex]
        events_per_s = 5
        [[routes]]
        tenant = "acme"
        topic = "ours"
        models = {{ main = 1 }}
        [[routes]]
        tenant = "globex"
        topic = "theirs"
        models = {{ second = 1 }}
        [kafka]"#
    );
    let text = text.replace("[kafka]", &tenants).replace(r#"["requests"]"#, r#"["ours", "theirs"]"#);
    let service = start(&kafka, &kafka.folder.file("serve.toml", text));
    let writer = producer(&kafka.client());
    for id in 0..EVENTS {
        let text = format!(r#"{{"type":"score","id":{id},"user":7,"items":[1,2]}}"#);
        let record = BaseRecord::<str, str>::to("theirs").key("7").payload(&text);
        writer.send(record).map_err(|(error, _)| error).expect("room");
    }
    writer.flush(LIMIT).expect("delivered");
    let replies = || read_all(&kafka.client(), &["replies"]);
    until("all are answered", LIMIT, || replies().len() == EVENTS);
    let replay = service.ctl("replay --from 0 --topic theirs").json();
    assert_eq!(replay["state"], "done", "{replay}");
    assert_eq!(replay["ends"], json!([{ "outcome": "replied", "of": "score", "count": EVENTS }]), "{replay}");
    let all = replies();
    assert_eq!(all.len(), 2 * EVENTS);
    assert!(all.iter().all(|reply| reply.json()["model"] == "second"), "the model of the tenant");
    assert!(read_all(&kafka.client(), &["rejects"]).is_empty());
    let counted = "burnrec_tenant_events_total{tenant=\"globex\"}";
    assert_eq!(service.serving.metric(counted), Some(EVENTS as f64), "a replay is not the tenant's load");
    assert_eq!(service.serving.stop(), Some(0));
}
