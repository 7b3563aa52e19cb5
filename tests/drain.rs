//! Tests on a real Apache Kafka that `drain` writes each event of the topics into its files once, wherever it is killed, and that
//! `prepare` reads them.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use burnrec::ReadOptions;
use burnrec_data::read::read;
use common::kafka::{Kafka, until};
use common::{Folder, burnrec, trained};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Between two events. Brokers take none from the future, and keep them for a week.
const APART_MS: i64 = 3000;

/// Returns a whole second six days ago.
fn six_days_ago() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (now.as_secs() as i64 - 6 * 86_400) * 1000
}

/// Makes a producer, of transactions where it has a name.
fn writer(kafka: &Kafka, name: Option<&str>) -> BaseProducer {
    let mut client = kafka.client();
    name.map(|name| client.set("transactional.id", name));
    let producer: BaseProducer = client.create().expect("a producer");
    if name.is_some() {
        producer.init_transactions(Duration::from_secs(30)).expect("transactions");
    }
    producer
}

/// Writes events of these numbers into a topic, with requests of other types and what is no request between them.
fn write(producer: &BaseProducer, topic: &str, begin: i64, events: std::ops::Range<i64>) {
    for at in events {
        let time = begin + at * APART_MS;
        let event =
            format!(r#"{{"type":"event","user":{},"item":"i{}","value":{}}}"#, at % 50, at % 30, at % 5 + 1);
        let others = [r#"{"type":"recommend","user":1,"k":1}"#, "no request"];
        for payload in [event.as_str()].into_iter().chain(others.into_iter().filter(|_| at % 10 == 0)) {
            let record =
                BaseRecord::<str, str>::to(topic).partition((at % 3) as i32).payload(payload).timestamp(time);
            producer.send(record).map_err(|(error, _)| error).expect("room");
        }
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

fn config(kafka: &Kafka, topics: &str, more: &str) -> std::path::PathBuf {
    let run = kafka.folder.path("run");
    let bootstrap = &kafka.bootstrap;
    let text = format!(
        "models.main.run = {run:?}\n[kafka]\nbootstrap = '{bootstrap}'\nrequests = [{topics}]\nreplies = 'replies'\n\
         rejects = 'rejects'\n{more}"
    );
    kafka.folder.file("serve.toml", text)
}

/// Returns how often each event is in the files of a directory, by user, item, value and seconds.
fn events(dir: &Path) -> BTreeMap<(String, String, u32, i64), usize> {
    let dataset = read(dir, &ReadOptions::default()).expect("files").dataset;
    let mut counts = BTreeMap::new();
    let rows = &dataset.interactions;
    for at in 0..rows.len() {
        let (user, item) = (dataset.users.id(rows.users[at].0), dataset.items.id(rows.items[at].0));
        let event = (user.to_string(), item.to_string(), rows.values[at] as u32, rows.times[at]);
        *counts.entry(event).or_default() += 1;
    }
    counts
}

fn expected(begin: i64, events: std::ops::Range<i64>) -> BTreeMap<(String, String, u32, i64), usize> {
    let time = |at: i64| (begin + at * APART_MS) / 1000;
    let event = |at: i64| ((at % 50).to_string(), format!("i{}", at % 30), (at % 5 + 1) as u32, time(at));
    events.map(|at| (event(at), 1)).collect()
}

#[test]
fn each_event_is_in_the_files_once() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("requests", 3), ("more", 3), ("replies", 1), ("rejects", 1)]);
    let run = trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    assert!(run.is_dir());
    let (config_file, out) = (config(&kafka, "'requests', 'more'", ""), kafka.folder.path("events"));
    let drain = || burnrec("drain {} --out {} --json", &[&config_file, &out]).json();
    let (plain, begin) = (writer(&kafka, None), six_days_ago());
    write(&plain, "requests", begin, 0..2000);
    let done = drain();
    assert_eq!(
        (done["events"].as_u64(), done["undecodable"].as_u64(), done["messages"].as_u64()),
        (Some(2000), Some(200), Some(2400))
    );
    assert_eq!(drain()["messages"], 0, "nothing is new");

    // Those of a transaction count once it is committed, and those of one that is aborted never.
    let in_transactions = writer(&kafka, Some("writer"));
    in_transactions.begin_transaction().expect("begun");
    write(&in_transactions, "more", begin, 2000..2500);
    assert_eq!(drain()["messages"], 0, "the transaction is open");
    in_transactions.commit_transaction(Duration::from_secs(30)).expect("committed");
    in_transactions.begin_transaction().expect("begun");
    write(&in_transactions, "more", begin, 2500..2600);
    in_transactions.abort_transaction(Duration::from_secs(30)).expect("aborted");
    let done = drain();
    assert_eq!((done["events"].as_u64(), done["in_all"].as_u64()), (Some(500), Some(2500)));

    // Killed again and again while more comes in.
    for round in 0..8 {
        write(&plain, "requests", begin, 2600 + round * 20_000..2600 + (round + 1) * 20_000);
        let mut killed = Command::new(env!("CARGO_BIN_EXE_burnrec"))
            .args(["drain".as_ref(), config_file.as_os_str(), "--out".as_ref(), out.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        // With the files of a batch there, or once it is done.
        until("a batch or the end", Duration::from_secs(60), || {
            let has_batch = |entry: std::io::Result<std::fs::DirEntry>| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("_batch-"))
            };
            std::fs::read_dir(&out).expect("a folder").any(has_batch)
                || killed.try_wait().expect("a child").is_some()
        });
        killed.kill().and_then(|()| killed.wait()).expect("killed");
    }
    drain();
    let wanted: BTreeMap<_, _> =
        expected(begin, 0..2500).into_iter().chain(expected(begin, 2600..162_600)).collect();
    let found = events(&out);
    assert_eq!((found.len(), found.values().max()), (wanted.len(), Some(&1)));
    assert!(found == wanted);
    let days = std::fs::read_dir(&out).expect("a folder");
    let days = days
        .filter(|day| day.as_ref().is_ok_and(|day| day.file_name().to_string_lossy().starts_with("day=")));
    assert!((5..=7).contains(&days.count()), "events are by day");

    let prepared = kafka.folder.path("prepared");
    burnrec("prepare {} --split temporal --out {}", &[&out, &prepared]).ok();
}

#[test]
fn what_is_gone_before_it_was_drained_is_said() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&[("requests", 3), ("replies", 1), ("rejects", 1)]);
    trained(&kafka.folder, "--users 20 --items 20 --rows 200", "popularity.toml", "");
    let out = kafka.folder.path("events");
    let stops = config(&kafka, "'requests'", "on_data_loss = 'stop'");
    let (writer, begin) = (writer(&kafka, None), six_days_ago());
    write(&writer, "requests", begin, 1..4);
    burnrec("drain {} --out {}", &[&stops, &out]).ok();
    write(&writer, "requests", begin, 4..34);
    kafka.delete_before("requests", 1, 6);
    burnrec("drain {} --out {}", &[&stops, &out])
        .fails(&["requests/1: 5 messages before offset 6", "on_data_loss"]);
    let goes_on = config(&kafka, "'requests'", "on_data_loss = 'go-on'");
    let done = burnrec("drain {} --out {} --json", &[&goes_on, &out]).json();
    assert_eq!((done["lost"].as_u64(), done["undecodable"].as_u64()), (Some(5), Some(2)), "{done}");
    let found = events(&out);
    // Partition 1 has the events 1, 4, 7, 10, 13 …, with two other messages after 10: of the five that are gone three are events.
    assert_eq!((found.len(), found.values().max()), (30, Some(&1)));
}

#[test]
fn a_config_without_events_is_refused() {
    let folder = Folder::new();
    let text = "models.main.run = 'run'\n[http]\nlisten = '127.0.0.1:0'";
    let (config, out) = (folder.file("http.toml", text), folder.path("events"));
    burnrec("drain {} --out {}", &[&config, &out]).fails(&["kafka: found none", "[kafka]"]);
    let text = "models.main.run = 'run'\ninput.format = 'csv'\n[kafka]\nbootstrap = 'b'\nrequests = ['q']\nreplies = 'r'\nrejects = 'x'";
    let config = folder.file("csv.toml", text);
    burnrec("drain {} --out {}", &[&config, &out]).fails(&["input.format: found csv", "json"]);
    assert!(!out.exists());
}
