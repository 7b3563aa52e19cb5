//! The whole life of a service on a real Apache Kafka: events become training data, a job trains on them and judges, a better model is
//! promoted under load and a worse one refused, a canary, rollbacks, the erasure of a user, a replay of an hour. Services, the job
//! server and a job are killed in between.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use burnrec_data::read::{ReadOptions, read};
use common::burnrec;
use common::jobs::Jobs;
use common::kafka::{Kafka, until};
use common::member::Member;
use common::storm::{Read, beginnings, producer, read_all, reader};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::{Value, json};

const TOPICS: [(&str, i32); 6] =
    [("requests", 3), ("replies", 1), ("rejects", 1), ("receipts", 1), ("state", 3), ("control", 1)];

/// The longest time that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(120);

/// The user who is erased.
const ERASED: &str = "17";

/// Returns how often each pair of a user and an item is in a dataset.
fn pairs(of: &Path) -> BTreeMap<(String, String), usize> {
    let dataset = read(of, &ReadOptions::default()).expect("rows").dataset;
    let rows = &dataset.interactions;
    let mut all = BTreeMap::new();
    for (user, item) in rows.users.iter().zip(&rows.items) {
        let pair = (dataset.users.id(user.0).to_string(), dataset.items.id(item.0).to_string());
        *all.entry(pair).or_default() += 1;
    }
    all
}

/// Writes each row of ratings as an event of its user, in the order of their times, some seconds apart in the last days; returns
/// how many.
fn write(kafka: &Kafka, raw: &Path) -> usize {
    let dataset = read(raw, &ReadOptions::default()).expect("rows").dataset;
    let (producer, rows) = (producer(&kafka.client()), &dataset.interactions);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| rows.times[at]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    for (rank, at) in order.into_iter().enumerate() {
        let time = now - 5_000 * (rows.len() - rank) as i64;
        let user = dataset.users.id(rows.users[at].0).to_string();
        let (item, value) = (dataset.items.id(rows.items[at].0).to_string(), rows.values[at]);
        let event = format!(r#"{{"type":"event","user":{user},"item":{item},"value":{value}}}"#);
        let record = BaseRecord::to("requests").key(&user).payload(&event).timestamp(time);
        producer.send(record).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(LIMIT).expect("delivered");
    rows.len()
}

/// Asks for recommendations all the time, until it is ended.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Load {
    fn start(kafka: &Kafka) -> Self {
        let (producer, stop) = (producer(&kafka.client()), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !until.load(Ordering::Relaxed) {
                let user = (n % 700 + 1).to_string();
                let ask = format!(r#"{{"type":"recommend","id":{n},"user":{user},"k":3}}"#);
                let record = BaseRecord::to("requests").key(&user).payload(&ask);
                producer.send(record).map_err(|(error, _)| error).expect("room");
                n += 1;
                // Polling waits for the whole 10 ms.
                producer.poll(Duration::from_millis(10));
            }
            producer.flush(LIMIT).expect("delivered");
            n
        });
        Self { stop, thread }
    }

    /// Stops it; returns how many requests it wrote.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load ends well")
    }
}

/// Reads the replies as they come.
struct Replies(BaseConsumer);

impl Replies {
    fn new(kafka: &Kafka) -> Self {
        let reader = reader(&kafka.client(), "read_committed");
        reader.assign(&beginnings(&reader, &["replies"])).expect("assigned");
        Self(reader)
    }

    /// Waits until all replies to the last requests are of these versions of models, and each of them is there.
    #[track_caller]
    fn until_from(&self, versions: &[&str]) {
        let (mut last, end) = (VecDeque::new(), Instant::now() + LIMIT);
        loop {
            let of: BTreeSet<&str> = last.iter().map(String::as_str).collect();
            if last.len() == LAST && of.iter().copied().eq(versions.iter().copied()) {
                return;
            }
            assert!(Instant::now() < end, "{of:?} serve, expected {versions:?}");
            let Some(message) = self.0.poll(Duration::from_secs(5)) else { continue };
            // What goes on by itself, such as a broker that is busy, is an error too.
            let Ok(message) = message else { continue };
            let reply = Read::of(&message).json();
            last.push_back(reply["version"].as_str().unwrap_or_default().to_owned());
            last.drain(..last.len().saturating_sub(LAST));
        }
    }
}

/// How many replies show what serves.
const LAST: usize = 150;

/// Returns the replies that are committed.
fn replies(kafka: &Kafka) -> Vec<Value> {
    read_all(&kafka.client(), &["replies"]).iter().map(Read::json).collect()
}

/// The configs of a service and of what trains for it, in the folder of the brokers.
struct Configs<'a> {
    kafka: &'a Kafka,
    releases: PathBuf,
    service: PathBuf,
}

impl<'a> Configs<'a> {
    fn new(kafka: &'a Kafka) -> Self {
        let releases = kafka.folder.path("releases");
        let text = format!(
            r#"
            models.main.run = {:?}
            [[routes]]
            models = {{ main = 1 }}
            [kafka]
            bootstrap = "{}"
            group = "g"
            guarantee = "exactly-once"
            requests = ["requests"]
            replies = "replies"
            rejects = "rejects"
            receipts = "receipts"
            state = "state"
            librdkafka = {{ "session.timeout.ms" = 6000 }}
            [control]
            topic = "control"
            http.tokens = {:?}
            [limits]
            history = 1000
            [unknown]
            user = "popularity"
            "#,
            releases.join("promoted"),
            kafka.bootstrap,
            kafka.folder.path("tokens.toml")
        );
        Self { kafka, releases, service: kafka.folder.file("serve.toml", text) }
    }

    /// Writes the config of a retraining; returns its name within the folder.
    fn retrain(&self, name: &str, ratings: &Path, drains: bool, model: &str) -> String {
        let folder = &self.kafka.folder;
        let train = folder.file(&format!("{name}-train.toml"), model);
        let service = if drains { format!("service = {:?}", self.service) } else { String::new() };
        let text = format!(
            "{service}\nratings = {ratings:?}\ntrain = {train:?}\nreleases = {:?}\nwork = {:?}\n[gate]\nnot_worse_by = 0.002\nusers = 20",
            self.releases,
            folder.path(&format!("work-{name}"))
        );
        folder.file(&format!("{name}.toml"), text);
        format!("{name}.toml")
    }
}

fn job(file: &str, args: &[&str]) -> Value {
    json!({ "file": file, "args": args })
}

const ENDS: [&str; 4] = ["success", "dead", "killed", "error"];

#[test]
fn from_events_to_a_model_that_serves_and_back() {
    let Some(kafka) = Kafka::start(1, false) else { return };
    kafka.topics(&TOPICS);
    let folder = &kafka.folder;
    let (raw, events, configs) = (folder.path("raw"), folder.path("events"), Configs::new(&kafka));
    burnrec("synth --users 700 --items 80 --rows 20000 --out {} --seed 1", &[&raw]).ok();
    let (popularity, ease) = ("model = 'popularity'\nepochs = 1", "model = 'ease'\nepochs = 1\nreg = 50");
    let first = configs.retrain("first", &raw, false, popularity);
    burnrec("retrain {}", &[&folder.path(&first)]).ok();

    let start = |name: &str| {
        let member = Member::start(&kafka, name, &configs.service);
        member.serving.ready();
        member
    };
    let (a, b) = (start("a"), start("b"));
    let (load, served) = (Load::start(&kafka), Replies::new(&kafka));
    let mut n = write(&kafka, &raw);
    served.until_from(&["000001"]);

    // A job drains and trains while its server and a service are killed; the model is better, and is promoted under load.
    let jobs = Jobs::start(folder, "");
    let endless = configs.retrain("endless", &events, true, "model = 'mf'\nepochs = 100000\nbatch_size = 64");
    let lost = jobs.submit(&job("retrain", &[&endless]));
    jobs.until(lost, &["running"]);
    until("its events are drained", LIMIT, || {
        assert_eq!(jobs.state(lost), "running", "{:?}", jobs.log(lost));
        folder.path("work-endless").is_dir()
    });
    jobs.kill_supervisor(lost);
    assert_eq!(jobs.until(lost, &ENDS), "dead");
    let better = configs.retrain("better", &events, true, ease);
    let promoted = jobs.submit(&job("retrain", &[&better, "--by", "cron"]));
    jobs.kill();
    b.serving.kill();
    let jobs = Jobs::start(folder, "");
    assert_eq!(jobs.until(promoted, &ENDS), "success", "{:?}", jobs.log(promoted));
    let b = start("b");
    served.until_from(&["000002"]);

    // A worse one is refused, and kept for a look.
    let worse = configs.retrain("worse", &events, true, popularity);
    let refused = jobs.submit(&job("retrain", &[&worse]));
    assert_eq!(jobs.until(refused, &ENDS), "dead");
    let log = jobs.log(refused).join("\n");
    assert!(log.contains("release 3 is not promoted: ndcg@10"), "{log}");
    served.until_from(&["000002"]);

    // A canary answers a part of the users until it is taken back; it holds over a kill.
    let canary = configs.releases.join("000003");
    let set = format!("set models.next.run={} routes.0.models.next=0.3 --note canary", canary.display());
    assert_eq!(a.ctl(&set).json()["version"], 2);
    b.answers(2);
    served.until_from(&["000002", "000003"]);
    a.serving.kill();
    let a = start("a");
    a.answers(2);
    served.until_from(&["000002", "000003"]);
    b.ctl("rollback --note enough").ok();
    [&a, &b].iter().for_each(|member| member.answers(3));
    served.until_from(&["000002"]);
    burnrec("release rollback {}", &[&configs.releases]).ok();
    served.until_from(&["000001"]);
    burnrec("release promote {} 2 --note better", &[&configs.releases]).ok();
    served.until_from(&["000002"]);

    // Each request has one end.
    n += write(&kafka, &raw) + load.end();
    let ends = || {
        let mut ends: BTreeMap<(i32, i64), usize> = BTreeMap::new();
        let all = read_all(&kafka.client(), &["replies", "rejects"]);
        all.iter().for_each(|read| *ends.entry(read.source()).or_default() += 1);
        ends
    };
    until("all are answered", LIMIT, || ends().len() >= n);
    assert_eq!((ends().len(), ends().values().max()), (n, Some(&1)), "each request has one end");
    assert!(read_all(&kafka.client(), &["rejects"]).is_empty());

    // A user is erased from all that holds something, and nobody else is.
    let drained = jobs.submit(&job("drain", &["serve.toml", "--out", "events"]));
    assert_eq!(jobs.until(drained, &ENDS), "success", "{:?}", jobs.log(drained));
    let all = [configs.service.as_path(), &events, &configs.releases];
    let places = "--service {} --events {} --releases {}";
    let held = burnrec(&format!("export-user --user {ERASED} {places}"), &all).json();
    let found = |report: &Value| {
        let places = report["places"].as_array().expect("places");
        places.iter().filter(|place| place["found"] == true).count()
    };
    assert_eq!(found(&held), 5, "the state, the events and three releases: {held}");
    let report = burnrec(&format!("erase --user {ERASED} {places} --wait-s 60 --json"), &all).json();
    assert_eq!(report["left"], 0, "{report}");
    let held = burnrec(&format!("export-user --user {ERASED} {places}"), &all).json();
    assert_eq!(found(&held), 0, "{held}");
    let mut expected = pairs(&raw);
    expected.values_mut().for_each(|n| *n *= 2);
    expected.retain(|(user, _), _| user != ERASED);
    assert_eq!(pairs(&events), expected, "each event of the others is in the files once");

    // An hour is answered again, beside the service: what was asked in it, each once, and no event anew.
    let mut before = replies(&kafka);
    let ended =
        burnrec("replay {} --from last=1h --set kafka.instance=replay --json", &[&configs.service]).json();
    let replied: u64 = ended
        .as_array()
        .expect("ends")
        .iter()
        .filter(|end| end["outcome"] == "replied")
        .map(|end| end["count"].as_u64().expect("a number"))
        .sum();
    let again = replies(&kafka).split_off(before.len());
    before.retain(|reply| reply["type"] == "recommend");
    assert_eq!((replied as usize, again.len()), (before.len(), before.len()), "{ended}");

    // What was done is written down.
    let versions = a.ctl("versions").json();
    let of = |field: &str| {
        versions
            .as_array()
            .expect("versions")
            .iter()
            .map(|version| version[field].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (of("version"), of("by")),
        (vec![json!(1), json!(2), json!(3)], vec![json!("config file"), json!("ops"), json!("ops")]),
        "{versions}"
    );
    let mut audited: Vec<Value> = Vec::new();
    for member in [&a, &b] {
        audited.extend(member.ctl("audit").json().as_array().expect("lines").iter().cloned());
    }
    let calls: Vec<(&Value, &Value)> = audited.iter().map(|line| (&line["by"], &line["status"])).collect();
    assert_eq!(calls.len(), 4, "two changes, each before and after: {audited:?}");
    assert!(
        calls.iter().all(|(by, status)| **by == "ops" && (status.is_null() || **status == 200)),
        "{audited:?}"
    );
    let log = burnrec("release list {} --log --json", &[&configs.releases]).json();
    let acts: Vec<(&str, u64)> = log
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (entry["act"].as_str().expect("an act"), entry["release"].as_u64().expect("a number")))
        .collect();
    let mut expected = vec![("publish", 1), ("promote", 1), ("publish", 2), ("promote", 2), ("publish", 3)];
    expected.extend([("rollback", 1), ("promote", 2), ("erase", 1), ("erase", 2), ("erase", 3)]);
    assert_eq!(acts, expected);
    assert_eq!(log[3]["by"], "cron", "{log}");
    assert_eq!((a.serving.stop(), b.serving.stop()), (Some(0), Some(0)));
}
