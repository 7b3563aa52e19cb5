//! What must hold of all that stands in the topics after a storm.

use std::collections::{BTreeMap, BTreeSet};

use burnrec::{DeviceChoice, Recommender};
use burnrec_data::{Csr, Id, ItemIx, UserIx};

use crate::common::kafka::Kafka;
use crate::common::storm::{RANK, Read, TOO_MANY};
use crate::{After, KEPT};

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
pub fn each_has_its_end(after: &After, exactly: bool) -> usize {
    let of = |topic: &'static str| after.outputs.iter().filter(move |read| read.topic == topic);
    let mut outcomes: BTreeMap<(i32, i64), BTreeSet<String>> = BTreeMap::new();
    for receipt in of("receipts") {
        let outcome = receipt.json()["outcome"].as_str().expect("an outcome").to_owned();
        outcomes.entry(receipt.source()).or_default().insert(outcome);
    }
    let (replies, rejects, receipts) =
        (sources(of("replies")), sources(of("rejects")), sources(of("receipts")));
    // A user who has seen most of the catalogue gets fewer items than asked for, in a reply that its topic takes.
    let lists_fewer =
        |reply: &&Read| reply.json()["items"].as_array().is_some_and(|items| (items.len() as u64) < TOO_MANY);
    let fewer: BTreeSet<(i32, i64)> = of("replies").filter(lists_fewer).map(Read::source).collect();
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
            () if text.contains(&format!(r#""k":{TOO_MANY}"#)) && !fewer.contains(&input.place) => {
                Some("rejected")
            }
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

/// Checks that the replies to a user's requests have their order, in each partition of the requests, but for urgent ones.
pub fn order_is_kept(after: &After) {
    let is_urgent = |read: &&Read| read.headers.contains_key(RANK);
    let urgent: BTreeSet<(i32, i64)> = after.inputs.iter().filter(is_urgent).map(|read| read.place).collect();
    let mut last: BTreeMap<(&[u8], i32), i64> = BTreeMap::new();
    let mut replies: Vec<&Read> = after.outputs.iter().filter(|read| read.topic == "replies").collect();
    replies.sort_by_key(|read| read.place);
    for reply in replies {
        let (partition, offset) = reply.source();
        if urgent.contains(&(partition, offset)) {
            continue;
        }
        if let Some(before) = last.insert((&reply.key, partition), offset) {
            let user = String::from_utf8_lossy(&reply.key);
            assert!(before < offset, "user {user}: {before} after {offset} of partition {partition}");
        }
    }
}

/// Checks the state: the scores of the probes must be those of users folded in from their whole histories.
pub fn state_is_whole(kafka: &Kafka, after: &After) {
    let served = kafka.folder.path("served");
    let run = Recommender::open_on(&served, DeviceChoice::Cpu).expect("the last model");
    let mut inputs: Vec<&Read> = after.inputs.iter().filter(|read| !read.old).collect();
    inputs.sort_by_key(|read| read.place);
    let mut histories: BTreeMap<u64, BTreeMap<u32, f32>> = BTreeMap::new();
    for input in inputs {
        let Ok(request) = serde_json::from_slice::<serde_json::Value>(&input.value) else { continue };
        if request["type"] == "event" {
            let item = run.items.row(Id::Int(request["item"].as_i64().expect("an id")));
            let value = request["value"].as_f64().unwrap_or(1.0) as f32;
            let user = request["user"].as_u64().expect("an id");
            histories.entry(user).or_default().insert(item.expect("known"), value);
        }
    }
    let kept = run.items.row(Id::Int(KEPT as i64)).expect("known");
    for user in &after.erased {
        histories.get_mut(user).expect("events").retain(|item, _| *item == kept);
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
pub fn others_agree(kafka: &Kafka, after: &After) {
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

/// Checks that the instance that stays holds no more memory in the last third of a long storm than in the third before.
pub fn memory_is_flat(after: &After) {
    eprintln!("MiB: {:?}", after.held);
    let third = after.held.len() / 3;
    // A service takes some rounds until it has met all that it will hold.
    if third >= 4 {
        let median = |held: &[u64]| {
            let mut held = held.to_vec();
            held.sort_unstable();
            held[held.len() / 2]
        };
        let (middle, last) = (median(&after.held[third..2 * third]), median(&after.held[2 * third..]));
        assert!(last <= middle + middle / 10, "the memory grows: {:?} MiB", after.held);
    }
}
