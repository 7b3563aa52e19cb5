//! Services of one group on a real Apache Kafka that are changed while they run, as an operator does.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::kafka::{Kafka, get, until};
use common::member::Member;
use common::storm::{Read, producer, read_all};
use common::{Folder, trained};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::Value;

const TOPICS: [(&str, i32); 6] =
    [("requests", 4), ("replies", 4), ("rejects", 1), ("receipts", 1), ("state", 4), ("control", 1)];

/// The longest time that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(60);

fn config(kafka: &Kafka, run: &Path) -> PathBuf {
    let text = format!(
        r#"
        models.main.run = {run:?}
        models.next.run = {run:?}
        models.next.version = "canary"
        [[routes]]
        models = {{ main = 1, next = 0 }}
        [kafka]
        bootstrap = "{}"
        guarantee = "exactly-once"
        requests = ["requests"]
        replies = "replies"
        rejects = "rejects"
        state = "state"
        receipts = "receipts"
        [control]
        topic = "control"
        "#,
        kafka.bootstrap
    );
    kafka.folder.file("serve.toml", text)
}

fn model(folder: &Folder) -> PathBuf {
    trained(folder, "--users 100 --items 80 --rows 3000", "als.toml", "--set dim=8 --set epochs=2")
}

/// Starts two instances at the same time; returns the run that they serve, and their config.
fn two(kafka: &Kafka) -> (PathBuf, PathBuf, [Member; 2]) {
    kafka.topics(&TOPICS);
    let run = model(&kafka.folder);
    let config = config(kafka, &run);
    let both = ["a", "b"].map(|name| Member::start(kafka, name, &config));
    both.iter().for_each(|member| member.serving.ready());
    (run, config, both)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a run").map(|file| file.expect("a file")) {
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

#[test]
fn instances_have_the_same_versions_or_say_that_they_lag() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    let (run, config, [a, b]) = two(&kafka);
    // They were started at the same time from one file.
    a.answers(1);
    b.answers(1);
    let first = a.ctl("versions").json();
    assert_eq!(first, b.ctl("versions").json());
    assert_eq!(first.as_array().unwrap().len(), 1, "{first}");

    let changed = a.ctl("set routes.0.models.next=1 --note half").json();
    assert_eq!(changed["version"], 2, "{changed}");
    b.answers(2);
    let seen = b.status();
    assert_eq!(seen["routes"][0]["models"]["next"], 0.5);
    until("each tells the other what answers", LIMIT, || {
        let all = a.status()["instances"].clone();
        all["a"]["version"] == 2 && all["b"]["version"] == 2
    });

    // Of two changes at the same time one counts, and both instances agree which.
    let (mut made, mut late) = (0, 0);
    for round in 0..8 {
        let results = std::thread::scope(|scope| {
            [(&a, 100 + round), (&b, 200 + round)]
                .map(|(member, events)| {
                    scope.spawn(move || member.ctl(&format!("set flow.batch_events={events}")))
                })
                .map(|thread| thread.join().expect("no panic"))
        });
        for ran in results {
            match ran.code {
                Some(0) => {
                    made += usize::from(ran.json()["changes"].as_array().is_some_and(|all| !all.is_empty()))
                }
                _ => {
                    late += 1;
                    assert!(
                        ran.stderr.contains("at the same time") || ran.stderr.contains("is the newest"),
                        "{}",
                        ran.stderr
                    );
                }
            }
        }
    }
    assert!(made >= 8 && made + late == 16, "{made} made, {late} too late");
    let newest = a.status()["newest"].as_u64().unwrap();
    assert_eq!(newest, 2 + made as u64, "{made} made, {late} too late");
    a.answers(newest);
    b.answers(newest);
    let (of_a, of_b) = (a.ctl("versions").json(), b.ctl("versions").json());
    assert_eq!(of_a, of_b);

    // An instance that cannot take a version up goes on with the one before, and says so.
    let third = kafka.folder.path("third");
    copy(&run, &third);
    b.serving.signal("STOP");
    let ran = a.ctl(&format!("set models.third.run={} routes.0.models.third=1", third.display())).json();
    assert_eq!(ran["version"], newest + 1, "{ran}");
    std::fs::rename(&third, kafka.folder.path("away")).expect("renamed");
    b.serving.signal("CONT");
    until("b lags", LIMIT, || {
        let status = b.status();
        status["version"] == newest && status["newest"] == newest + 1 && status["trouble"].is_string()
    });
    assert!(b.status()["trouble"].as_str().unwrap().contains("third"));
    until("it says so", LIMIT, || a.status()["instances"]["b"]["trouble"].is_string());
    let ready = get(&b.serving.http, "/health/ready").expect("an answer");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("is not taken up"), "{ready}");
    assert_eq!(b.serving.metric("burnrec_config_version "), Some(newest as f64));
    assert_eq!(b.serving.metric("burnrec_config_newest_version "), Some((newest + 1) as f64));
    // So it does after a restart.
    b.serving.kill();
    let b = Member::start(&kafka, "b", &config);
    b.serving.ready();
    let status = b.status();
    assert_eq!((&status["version"], &status["newest"]), (&newest.into(), &(newest + 1).into()), "{status}");
    assert!(status["trouble"].as_str().unwrap().contains("third"), "{status}");
    std::fs::rename(kafka.folder.path("away"), &third).expect("renamed back");
    b.answers(newest + 1);
    assert!(b.status()["trouble"].is_null());

    // What is in the topic holds over a kill and a restart; who leaves is seen to be gone.
    a.ctl("rollback").ok();
    b.answers(newest + 2);
    b.serving.kill();
    let b = Member::start(&kafka, "b", &config);
    b.serving.ready();
    b.answers(newest + 2);
    assert_eq!(a.ctl("versions").json(), b.ctl("versions").json());
    assert_eq!(b.serving.stop(), Some(0));
    until("b is gone", LIMIT, || a.status()["instances"]["b"].is_null());
    assert_eq!(a.serving.stop(), Some(0));
}

#[test]
fn a_partition_given_up_while_it_is_not_read_is_read_when_it_comes_back() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&TOPICS);
    let config = config(&kafka, &model(&kafka.folder));
    let text = std::fs::read_to_string(config).expect("a config");
    // The partition comes back to the same consumer.
    let config = kafka.folder.file("serve.toml", text.replace("[control]", "workers = 1\n[control]"));
    let reads = |member: &Member, n: f64| {
        until("it serves", LIMIT, || get(&member.serving.http, "/metrics").is_some());
        until(&format!("it reads {n} partitions"), LIMIT, || {
            member.serving.metric("burnrec_partitions ") == Some(n)
        });
    };
    let a = Member::start(&kafka, "a", &config);
    reads(&a, 4.0);
    let version = a.ctl("pause").json()["version"].as_u64().unwrap();
    a.answers(version);
    let b = Member::start(&kafka, "b", &config);
    [&a, &b].iter().for_each(|member| reads(member, 2.0));
    a.ctl("resume").ok();
    b.answers(version + 1);
    assert_eq!(b.serving.stop(), Some(0));
    reads(&a, 4.0);
    let writer = producer(&kafka.client());
    for partition in 0..4 {
        let text = format!(r#"{{"type":"score","id":{partition},"user":1,"items":[1,2]}}"#);
        let record = BaseRecord::<str, str>::to("requests").partition(partition).payload(&text);
        writer.send(record).map_err(|(error, _)| error).expect("room");
    }
    writer.flush(LIMIT).expect("delivered");
    until("each partition is read", LIMIT, || read_all(&kafka.client(), &["replies"]).len() == 4);
    assert_eq!(a.serving.stop(), Some(0));
}

#[test]
fn no_event_is_lost_or_answered_twice_while_versions_come() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    let (_, config, [a, b]) = two(&kafka);
    let writer = producer(&kafka.client());
    let mut sent = 0;
    let mut send = |n: usize| {
        for _ in 0..n {
            let user = (sent % 97 + 1).to_string();
            let text = format!(r#"{{"type":"score","id":{sent},"user":{user},"items":[1,2]}}"#);
            let record = BaseRecord::<str, str>::to("requests").key(&user).payload(&text);
            writer.send(record).map_err(|(error, _)| error).expect("room");
            sent += 1;
        }
        writer.flush(LIMIT).expect("delivered");
    };
    let replies = || read_all(&kafka.client(), &["replies"]).len();
    for change in [
        "set routes.0.models.next=1",
        "set flow.batch_events=16 flow.queue_events=64",
        "set flow.order=newest",
        "set routes.0.salt=autumn routes.0.queue_events=32",
        "set flow.order=first-in flow.batch_events=512",
        "rollback",
    ] {
        send(500);
        a.ctl(change).ok();
        send(500);
    }
    until("all are answered", LIMIT, || replies() == 6000);
    let version = a.ctl("pause").json()["version"].as_u64().unwrap();
    b.answers(version);
    send(300);
    let ready = get(&b.serving.http, "/health/ready").expect("an answer");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("paused since version"), "{ready}");
    let since = Instant::now();
    until("a moment has passed", LIMIT, || {
        assert_eq!(replies(), 6000, "nothing is answered while the flow pauses");
        since.elapsed() > Duration::from_secs(2)
    });
    // Until the last one has heard of it, some more is read, and answered.
    a.ctl("resume").ok();
    send(300);
    a.ctl("drain --wait 60").ok();
    until("b has drained as well", LIMIT, || b.status()["drained"] == true);
    let drained = replies();
    send(300);
    let since = Instant::now();
    until("a moment has passed", LIMIT, || {
        assert_eq!(replies(), drained, "nothing is read while the flow drains");
        since.elapsed() > Duration::from_secs(2)
    });
    // Drained, it can be killed without an event answered again, and stays so over the restart.
    b.serving.kill();
    let b = Member::start(&kafka, "b", &config);
    until("b is there again", LIMIT, || b.ctl("status").code == Some(0));
    assert_eq!(b.status()["run"], "draining");
    a.ctl("resume").ok();
    until("all is answered", LIMIT, || replies() == sent);
    let all = read_all(&kafka.client(), &["replies"]);
    let mut ids: BTreeMap<u64, usize> = BTreeMap::new();
    all.iter().for_each(|read| *ids.entry(read.json()["id"].as_u64().expect("a number")).or_default() += 1);
    assert!(ids.len() == sent && ids.values().all(|n| *n == 1), "each once");
    // Receipts say under which version, and which model answered.
    let receipts: Vec<Value> = read_all(&kafka.client(), &["receipts"]).iter().map(Read::json).collect();
    assert_eq!(receipts.len(), sent);
    let mut of: BTreeMap<(u64, String), usize> = BTreeMap::new();
    for receipt in &receipts {
        let key = (
            receipt["config"].as_u64().expect("a number"),
            receipt["version"].as_str().expect("a text").into(),
        );
        *of.entry(key).or_default() += 1;
    }
    let by_canary: usize = of.iter().filter(|((_, model), _)| model == "canary").map(|(_, n)| n).sum();
    assert!(!of.contains_key(&(1, "canary".to_owned())) && by_canary > 1000, "{of:?}");
    let versions: std::collections::BTreeSet<u64> = of.keys().map(|(version, _)| *version).collect();
    assert!(versions.len() >= 5, "{of:?}");
    assert_eq!((a.serving.stop(), b.serving.stop()), (Some(0), Some(0)));
}
