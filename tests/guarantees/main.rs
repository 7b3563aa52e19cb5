//! Tests the guarantees of `serve` on a real Apache Kafka, modelled on Kafka's own test of transactions: services and
//! brokers are killed and stopped, instances join and leave, and models are replaced, while requests come in and a
//! reader of committed messages checks what it sees.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use burnrec::{DeviceChoice, Recommender};
use burnrec_data::{Csr, Id, ItemIx, UserIx};
use common::kafka::{Kafka, Serving, until};
use common::storm::{Checker, FILTERED, Feed, ITEMS, Read, USERS, producer, read_all};
use common::{Folder, burnrec};
use rdkafka::producer::{BaseRecord, Producer};

const PARTITIONS: i32 = 6;
const ROUNDS: usize = 5;
const TOPICS: &[&str] = &["replies", "rejects", "receipts"];
/// All forms of `from`. The topic is empty when the first instance starts, so that all begin at its beginning.
const FORMS: [&str; 6] = ["latest", "earliest", "last=1h", "ts=0", "offsets=0:0,3:0", "committed"];

/// Trains two ALS models of the same users and items, and returns their run directories.
fn models(folder: &Folder) -> [PathBuf; 2] {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    let line = format!("synth --users {USERS} --items {ITEMS} --rows 12000 --out {{}}");
    burnrec(&line, &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    let als = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/als.toml");
    [8, 12].map(|dim| {
        let run = folder.path(&format!("als-{dim}"));
        let line = format!("train {{}} --data {{}} --out {{}} --set dim={dim} --set epochs=3");
        burnrec(&line, &[&als, &data, &run]).ok();
        run
    })
}

/// Copies a model over the one that is served, its manifest last.
fn put_model(from: &Path, into: &Path) {
    std::fs::create_dir_all(into).expect("a folder");
    let files = std::fs::read_dir(from).expect("a run").map(|file| file.expect("a file").path());
    for file in files.filter(|file| file.is_file() && !file.ends_with("manifest.json")) {
        std::fs::copy(&file, into.join(file.file_name().expect("a name"))).expect("a copy");
    }
    std::fs::copy(from.join("manifest.json"), into.join("manifest.new")).expect("a copy");
    std::fs::rename(into.join("manifest.new"), into.join("manifest.json")).expect("a manifest");
}

fn config(kafka: &Kafka, guarantee: &str) -> PathBuf {
    let thresholds =
        (1..=ITEMS).map(|item| format!("{item},{}\n", if item <= FILTERED { "1e9" } else { "" }));
    let table = "item,least\n".to_owned() + &thresholds.collect::<String>();
    let table = kafka.folder.file("offers.csv", table);
    let (run, bootstrap) = (kafka.folder.path("served"), &kafka.bootstrap);
    let text = format!(
        r#"
        [models.main]
        run = {run:?}
        [kafka]
        bootstrap = "{bootstrap}"
        guarantee = "{guarantee}"
        requests = ["requests"]
        replies = "replies"
        rejects = "rejects"
        state = "state"
        receipts = "receipts"
        commit_ms = 200
        drain_timeout_ms = 3000
        librdkafka = {{ "session.timeout.ms" = 4000, "heartbeat.interval.ms" = 500 }}
        [table]
        path = {table:?}
        threshold = "least"
        [flow]
        batch_events = 256
        max_event_age_ms = 3600000
        [failures.score]
        then = "drop"
        "#
    );
    kafka.folder.file("serve.toml", text)
}

/// The contents of the topics after the storm: requests, and the replies, rejects and receipts.
struct After {
    inputs: Vec<Read>,
    outputs: Vec<Read>,
}

/// Runs the storm, and returns the contents of the topics after it.
fn storm(kafka: &Kafka, guarantee: &str) -> After {
    let topics =
        [("requests", PARTITIONS), ("replies", 4), ("rejects", 2), ("receipts", 2), ("state", PARTITIONS)];
    kafka.topics(&topics);
    let (runs, served) = (models(&kafka.folder), kafka.folder.path("served"));
    put_model(&runs[0], &served);
    let config = config(kafka, guarantee);
    // Each start has a `from`, in turn of each form: only the first of them says where the group begins.
    let from = std::cell::RefCell::new(FORMS.iter().cycle());
    let start = |name: &str| {
        let from = from.borrow_mut().next().expect("a cycle");
        let set = [&format!("kafka.instance={name}"), &format!("kafka.from={from}")];
        Serving::start(&kafka.folder, name, &config, &set.map(String::as_str))
    };
    let (mut a, mut b) = (start("a"), start("b"));
    a.ready();
    b.ready();
    let checker = Checker::start(&kafka.client(), TOPICS);
    let feed = Feed::start(&kafka.client(), 7, 1000);
    checker.progress(1000);
    for round in 0..ROUNDS {
        eprintln!("round {round}: a is killed");
        a.kill();
        a = start("a");
        checker.progress(1500);
        eprintln!("round {round}: b is stopped");
        assert_eq!(b.stop(), Some(0), "a clean end");
        b = start("b");
        checker.progress(1500);
        let broker = (1 + round % kafka.brokers).to_string();
        eprintln!("round {round}: broker {broker} is killed");
        kafka.script("kill", &[&broker]);
        kafka.script("up", &[&broker]);
        checker.progress(1500);
        let broker = (1 + (round + 1) % kafka.brokers).to_string();
        eprintln!("round {round}: broker {broker} is stopped");
        kafka.script("halt", &[&broker]);
        kafka.script("up", &[&broker]);
        checker.progress(1500);
        eprintln!("round {round}: c joins, the model is exchanged, c leaves");
        let c = start("c");
        c.ready();
        put_model(&runs[(round + 1) % 2], &served);
        checker.progress(1500);
        match round % 2 {
            0 => assert_eq!(c.stop(), Some(0), "a clean end"),
            _ => c.kill(),
        }
        checker.progress(1500);
    }
    feed.end();
    probe(kafka);
    let inputs = read_all(&kafka.client(), &["requests"]);
    eprintln!("{} inputs", inputs.len());
    let all_answered = || {
        let outputs = read_all(&kafka.client(), &["receipts"]);
        let answered: BTreeSet<_> = outputs.iter().map(Read::source).collect();
        answered.len() == inputs.len()
    };
    until("every input has a receipt", Duration::from_secs(180), all_answered);
    assert_eq!(a.stop(), Some(0));
    assert_eq!(b.stop(), Some(0));
    let outputs = read_all(&kafka.client(), TOPICS);
    let mut seen: Vec<_> = checker.end().into_iter().map(|read| (read.topic, read.place)).collect();
    let mut stand: Vec<_> = outputs.iter().map(|read| (read.topic.clone(), read.place)).collect();
    seen.sort();
    stand.sort();
    stand.truncate(stand.len().max(seen.len()));
    let vanished = seen.iter().filter(|place| stand.binary_search(place).is_err()).count();
    assert_eq!(vanished, 0, "what was read as committed stays");
    After { inputs, outputs }
}

/// Asks for scores of every user after the storm, and ends each partition with a message that cannot be decoded.
fn probe(kafka: &Kafka) {
    let producer = producer(&kafka.client());
    for user in 1..=USERS {
        let text = format!(r#"{{"type":"score","id":"probe","user":{user},"items":[30,60,90]}}"#);
        let key = user.to_string();
        producer
            .send(BaseRecord::to("requests").key(&key).payload(&text))
            .map_err(|(error, _)| error)
            .expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
    for partition in 0..PARTITIONS {
        let poison: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to("requests").partition(partition).payload(b"\xff\xfe");
        producer.send(poison).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

type Sources = BTreeMap<(i32, i64), usize>;

fn sources<'a>(reads: impl Iterator<Item = &'a Read>) -> Sources {
    let mut sources = Sources::new();
    reads.for_each(|read| *sources.entry(read.source()).or_default() += 1);
    sources
}

/// Checks that each request has an outcome, with the records that this outcome leaves; returns how many records are
/// there twice. At least once, a request that was answered twice may have two different outcomes, or the records of a
/// first outcome without its receipt, since the model or the user's history may have changed in between. With
/// `exactly`, neither is allowed.
fn each_has_its_end(after: &After, exactly: bool) -> usize {
    let of = |topic: &'static str| after.outputs.iter().filter(move |read| read.topic == topic);
    let mut outcomes: BTreeMap<(i32, i64), BTreeSet<String>> = BTreeMap::new();
    for receipt in of("receipts") {
        let outcome = receipt.json()["outcome"].as_str().expect("an outcome").to_owned();
        outcomes.entry(receipt.source()).or_default().insert(outcome);
    }
    let (replies, rejects, receipts) =
        (sources(of("replies")), sources(of("rejects")), sources(of("receipts")));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for input in &after.inputs {
        let ends = outcomes.get(&input.place).unwrap_or_else(|| panic!("no receipt: {input:?}"));
        let end = ends.first().expect("one").as_str();
        let left = (replies.contains_key(&input.place), rejects.contains_key(&input.place));
        let leaves = |end: &String| match end.as_str() {
            "replied" => (true, false),
            "rejected" | "expired" => (false, true),
            "filtered" | "dropped" => (false, false),
            other => panic!("{other}: {input:?}"),
        };
        let all = ends.iter().map(leaves).fold((false, false), |all, one| (all.0 | one.0, all.1 | one.1));
        let is_there = left.0 >= all.0 && left.1 >= all.1;
        assert!(is_there && (!exactly || left == all && ends.len() == 1), "{left:?} {ends:?}: {input:?}");
        let text = String::from_utf8_lossy(&input.value);
        let must = match () {
            () if input.old => Some("expired"),
            () if text.starts_with("nonsense") || input.value == b"\xff\xfe" => Some("rejected"),
            () if text.contains("987654321") => Some("dropped"),
            () => None,
        };
        assert!(must.is_none_or(|must| ends.len() == 1 && end == must), "{ends:?}: {text}");
        *counts.entry(end).or_default() += 1;
    }
    eprintln!("{counts:?}");
    for outcome in ["replied", "rejected", "expired", "filtered", "dropped"] {
        assert!(counts.get(outcome).is_some_and(|&count| count > 20), "{outcome}: {counts:?}");
    }
    let twice = |sources: &Sources| sources.values().map(|count| count - 1).sum::<usize>();
    assert_eq!(outcomes.len(), after.inputs.len(), "an answer to nothing");
    twice(&replies) + twice(&rejects) + twice(&receipts)
}

fn order_is_kept(after: &After) {
    let mut last: BTreeMap<&[u8], (i32, i64)> = BTreeMap::new();
    let mut replies: Vec<&Read> = after.outputs.iter().filter(|read| read.topic == "replies").collect();
    replies.sort_by_key(|read| read.place);
    for reply in replies {
        let source = reply.source();
        if let Some(before) = last.insert(&reply.key, source) {
            assert!(
                before < source,
                "user {}: {before:?} after {source:?}",
                String::from_utf8_lossy(&reply.key)
            );
        }
    }
}

/// Checks the state: the scores of the probes must be those of users folded in from their whole histories.
fn state_is_whole(kafka: &Kafka, after: &After) {
    let served = kafka.folder.path("served");
    let run = Recommender::open_on(&served, DeviceChoice::Cpu).expect("the last model");
    let mut inputs: Vec<&Read> = after.inputs.iter().filter(|read| !read.old).collect();
    inputs.sort_by_key(|read| read.place);
    let mut histories: BTreeMap<u64, BTreeMap<u32, f32>> = BTreeMap::new();
    for input in inputs {
        let Ok(request) = serde_json::from_slice::<serde_json::Value>(&input.value) else { continue };
        if request["type"] == "event" {
            let item = run.items.row(Id::Int(request["item"].as_i64().expect("an id")));
            let value = request["value"].as_f64().expect("a value") as f32;
            let user = request["user"].as_u64().expect("an id");
            histories.entry(user).or_default().insert(item.expect("known"), value);
        }
    }
    let folded = histories.len();
    assert!(folded > 200, "{folded} users had events");
    let probes = after.outputs.iter().filter(|read| read.topic == "replies" && read.json()["id"] == "probe");
    let mut checked = 0;
    for probe in probes {
        let reply = probe.json();
        let user = reply["user"].as_u64().expect("an id");
        let Some(since) = histories.get(&user) else { continue };
        let mut all: BTreeMap<u32, f32> = BTreeMap::new();
        if let Some(row) = run.users.row(Id::Int(user as i64)) {
            let (items, values) = run.seen.row(row as usize);
            all.extend(items.iter().copied().zip(values.iter().copied()));
        }
        all.extend(since);
        let (items, values): (Vec<u32>, Vec<f32>) = all.into_iter().unzip();
        let history = Csr::new(run.items.vocab().len(), vec![0, items.len()], items, values);
        let scorer = run.model.as_fold_in().expect("ALS folds in").fold_in(&history).expect("folded in");
        for item in reply["items"].as_array().expect("items") {
            let row = run.items.row(Id::Int(item["item"].as_i64().expect("an id"))).expect("known");
            let mut expected = [0.0];
            scorer.score_pairs(&[UserIx(0)], &[ItemIx(row)], &mut expected);
            let score = item["score"].as_f64().expect("a score") as f32;
            assert!((score - expected[0]).abs() < 1e-5, "user {user}: {score} against {}", expected[0]);
        }
        checked += 1;
    }
    assert!(checked >= folded, "{checked} of {folded} users with events were asked about");
}

/// Checks that other Kafka clients read the same replies: kcat, and Confluent's client for Python.
fn others_agree(kafka: &Kafka, after: &After) {
    let mut ours: Vec<&[u8]> = after
        .outputs
        .iter()
        .filter(|read| read.topic == "replies")
        .map(|read| read.value.as_slice())
        .collect();
    ours.sort();
    let bootstrap = &kafka.bootstrap;
    let python = format!(
        r#"
from confluent_kafka import Consumer, TopicPartition, OFFSET_BEGINNING
c = Consumer({{"bootstrap.servers": "{bootstrap}", "group.id": "python", "isolation.level": "read_committed", "enable.partition.eof": True}})
c.assign([TopicPartition("replies", p, OFFSET_BEGINNING) for p in range(4)])
ends = 0
while ends < 4:
    m = c.poll(60)
    if m is None: raise SystemExit("nothing came")
    if m.error(): ends += 1
    else: print(m.value().decode())
c.close()
"#
    );
    let kcat =
        format!("kcat -b {bootstrap} -C -t replies -o beginning -e -q -X isolation.level=read_committed");
    let mut words = kcat.split(' ');
    let readers = [
        ("kcat", words.next().expect("a word"), words.map(str::to_owned).collect::<Vec<String>>()),
        ("python3-confluent-kafka", "/usr/bin/python3", vec!["-c".into(), python]),
    ];
    for (package, program, arguments) in readers {
        let ran = std::process::Command::new(program).args(&arguments).output();
        let Some(ran) =
            ran.ok().filter(|ran| !String::from_utf8_lossy(&ran.stderr).contains("ModuleNotFound"))
        else {
            burnrec_data::testing::skipped("kafka", &format!("{package} is not there to read as well"));
            continue;
        };
        assert!(ran.status.success(), "{package}: {}", String::from_utf8_lossy(&ran.stderr));
        let mut theirs: Vec<&[u8]> =
            ran.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
        theirs.sort();
        assert_eq!(theirs.len(), ours.len(), "{package}");
        assert!(theirs == ours, "{package} reads other replies");
    }
}

#[test]
fn exactly_once_under_kills() {
    let Some(kafka) = Kafka::start(3, false) else { return };
    let after = storm(&kafka, "exactly-once");
    assert_eq!(each_has_its_end(&after, true), 0, "records are there twice");
    order_is_kept(&after);
    state_is_whole(&kafka, &after);
    others_agree(&kafka, &after);
}

#[test]
fn at_least_once_under_kills() {
    let Some(kafka) = Kafka::start(3, false) else { return };
    let after = storm(&kafka, "at-least-once");
    let twice = each_has_its_end(&after, false);
    eprintln!("at least once: {twice} records twice, none missing");
}
