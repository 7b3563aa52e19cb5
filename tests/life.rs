//! Tests on a real Apache Kafka that the loop closes: events of a running service become training data, a model trained on them is
//! promoted under load or refused, and a rollback serves the one of before; services and drains are killed in between.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use burnrec_data::read::{ReadOptions, read};
use common::burnrec;
use common::kafka::{Kafka, Serving, until};
use common::storm::{Read, producer, read_all};
use rdkafka::producer::{BaseRecord, Producer};

const PARTITIONS: i32 = 3;
const TOPICS: [&str; 2] = ["replies", "rejects"];

/// Writes each row of ratings as an event of its user, in the order of their times, some seconds apart in the last days, and after each tenth a request for recommendations.
fn write(kafka: &Kafka, raw: &Path) -> usize {
    let dataset = read(raw, &ReadOptions::default()).expect("rows").dataset;
    let (producer, rows, mut n) = (producer(&kafka.client()), &dataset.interactions, 0);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| rows.times[at]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    for (rank, at) in order.into_iter().enumerate() {
        let time = now - 5_000 * (rows.len() - rank) as i64;
        let user = dataset.users.id(rows.users[at].0).to_string();
        let (item, value) = (dataset.items.id(rows.items[at].0).to_string(), rows.values[at]);
        let event = format!(r#"{{"type":"event","user":{user},"item":{item},"value":{value}}}"#);
        let ask = format!(r#"{{"type":"recommend","user":{user},"k":3}}"#);
        for text in [event].into_iter().chain((at % 10 == 0).then_some(ask)) {
            let record = BaseRecord::to("requests").key(&user).payload(&text).timestamp(time);
            producer.send(record).map_err(|(error, _)| error).expect("room");
            n += 1;
        }
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
    n
}

/// Writes requests of one user until a reply to them names this version of the model.
fn until_served(kafka: &Kafka, version: &str) -> usize {
    let (producer, mut n) = (producer(&kafka.client()), 0);
    until(&format!("version {version} serves"), Duration::from_secs(60), || {
        let record = BaseRecord::to("requests")
            .key("1")
            .payload(r#"{"type":"recommend","id":"probe","user":1,"k":1}"#);
        producer.send(record).map_err(|(error, _)| error).expect("room");
        producer.flush(Duration::from_secs(60)).expect("delivered");
        n += 1;
        let all = read_all(&kafka.client(), &["replies"]);
        let mut probes = all.iter().map(Read::json).filter(|reply| reply["id"] == "probe");
        probes.next_back().is_some_and(|reply| reply["version"] == version)
    });
    n
}

#[test]
fn events_become_a_model_that_serves() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("requests", PARTITIONS), ("replies", 1), ("rejects", 1), ("state", PARTITIONS)]);
    let folder = &kafka.folder;
    let path = |name: &str| folder.path(name);
    let (raw, releases) = (path("raw"), path("releases"));
    burnrec("synth --users 700 --items 80 --rows 20000 --out {} --seed 1", &[&raw]).ok();
    let service = folder.file(
        "serve.toml",
        format!(
            "models.main.run = {:?}\n[kafka]\nbootstrap = '{}'\ngroup = 'g'\nguarantee = 'exactly-once'\nrequests = ['requests']\n\
             replies = 'replies'\nrejects = 'rejects'\nstate = 'state'\nlibrdkafka = {{ 'session.timeout.ms' = 6000 }}\n\
             [limits]\nhistory = 1000\n[unknown]\nuser = 'popularity'",
            releases.join("promoted"),
            kafka.bootstrap
        ),
    );
    let retrain = |name: &str, ratings: &Path, from: &str, model: &str| -> PathBuf {
        let train = folder.file(&format!("{name}-train.toml"), model);
        let text = format!(
            "{from}\nratings = {ratings:?}\ntrain = {train:?}\nreleases = {releases:?}\nwork = {:?}\n[gate]\nnot_worse_by = 0.002\nusers = 20",
            path(&format!("work-{name}"))
        );
        folder.file(&format!("{name}.toml"), text)
    };
    let (popularity, ease) = ("model = 'popularity'\nepochs = 1", "model = 'ease'\nepochs = 1\nreg = 50");
    burnrec("retrain {}", &[&retrain("first", &raw, "", popularity)]).ok();

    let start = |name: &str| {
        let serving = Serving::start(folder, name, &service, &[&format!("kafka.instance={name}")]);
        serving.ready();
        serving
    };
    let (a, b) = (start("a"), start("b"));
    let mut n = write(&kafka, &raw);
    n += until_served(&kafka, "000001");

    // Events are drained, while a service is killed, into a model that is better and is promoted under load.
    let (events, from) = (path("events"), format!("service = {service:?}"));
    let better = retrain("ease", &events, &from, ease);
    a.kill();
    burnrec("retrain {} --by cron", &[&better]).ok();
    n += until_served(&kafka, "000002");
    let a = start("a");
    let worse = retrain("popularity", &events, &from, popularity);
    burnrec("retrain {}", &[&worse]).fails(&["release 3 is not promoted: ndcg@10"]);
    n += until_served(&kafka, "000002");
    burnrec("release rollback {}", &[&releases]).ok();
    n += until_served(&kafka, "000001");
    n += write(&kafka, &raw);
    burnrec("drain {} --out {}", &[&service, &events]).ok();

    let mut ends: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    until("all are answered", Duration::from_secs(120), || {
        ends.clear();
        read_all(&kafka.client(), &TOPICS)
            .iter()
            .for_each(|read| *ends.entry(read.source()).or_default() += 1);
        ends.len() >= n
    });
    assert_eq!((ends.len(), ends.values().max()), (n, Some(&1)), "each request has one end");
    assert_eq!((a.stop(), b.stop()), (Some(0), Some(0)));

    burnrec("drain {} --out {}", &[&service, &events]).ok();
    let drained = read(&events, &ReadOptions::default()).expect("events").dataset.interactions;
    let rows = read(&raw, &ReadOptions::default()).expect("rows").dataset.interactions.len();
    assert_eq!(drained.len(), 2 * rows, "each event is drained once");
    let log = burnrec("release list {} --log --json", &[&releases]).json();
    let acts: Vec<(&str, u64)> = log
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (entry["act"].as_str().expect("an act"), entry["release"].as_u64().expect("a number")))
        .collect();
    let expected =
        [("publish", 1), ("promote", 1), ("publish", 2), ("promote", 2), ("publish", 3), ("rollback", 1)];
    assert_eq!(acts, expected);
    let by: BTreeSet<&str> =
        log.as_array().expect("a list").iter().filter_map(|entry| entry["by"].as_str()).collect();
    assert!(by.contains("cron"), "{by:?}");
}
