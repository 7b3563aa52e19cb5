//! Tests the guarantees of `serve` on a real Apache Kafka, modelled on Kafka's own test of transactions: services and brokers
//! are killed and stopped, instances join and leave, models are replaced, users are erased, answered requests are deleted and
//! topics grow, while requests come in, some urgent and some with replies that the topic does not take. A reader from outside
//! checks what it sees. `BURNREC_STORM_MINUTES=60` lets a storm last an hour, in place of four rounds of a good minute each.

mod checker;
mod checks;
#[path = "../common/mod.rs"]
mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use checker::{Checker, OUTPUTS};
use checks::{each_has_its_end, memory_is_flat, order_is_kept, others_agree, state_is_whole};
use common::kafka::{Kafka, Serving, until};
use common::storm::{FILTERED, Feed, ITEMS, LARGEST_REPLY, RANK, Read, USERS, producer, read_all, reader};
use common::{Folder, burnrec};
use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const PARTITIONS: i32 = 6;
/// The rounds after which the topics get one more partition; later the instance that stays is one and the same.
const GROWS_AT: [usize; 2] = [0, 4];
/// How many requests are written in a second.
const PACE: usize = 500;
/// The item of all events of a user who is erased that come after it.
const KEPT: u64 = ITEMS;
/// All forms of `from`. The topic is empty when the first instance starts, so that all begin at its beginning.
const FORMS: [&str; 6] = ["latest", "earliest", "last=1h", "ts=0", "offsets=0:0,3:0", "committed"];

/// Trains two ALS models of the same users and items, and returns their run directories.
fn models(folder: &Folder) -> [PathBuf; 2] {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    let line = format!("synth --users {USERS} --items {ITEMS} --rows 60000 --out {{}}");
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

fn config(kafka: &Kafka, guarantee: &str, protocol: &str) -> PathBuf {
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
        workers = 1
        commit_ms = 200
        drain_timeout_ms = 3000
        librdkafka = {{ {protocol} }}
        [table]
        path = {table:?}
        threshold = "least"
        [flow]
        batch_events = 256
        queue_events = 300
        order = "header:{RANK}"
        max_event_age_ms = 3600000
        [failures.score]
        then = "drop"
        "#
    );
    kafka.folder.file("serve.toml", text)
}

/// The requests of a storm, and what stands in the topics of replies, rejects and receipts after it.
struct After {
    inputs: Vec<Read>,
    outputs: Vec<Read>,
    /// Users that were erased; all their events since are of the item [`KEPT`].
    erased: Vec<u64>,
    /// How many MiB the instance that stays held after each round since the topics last grew.
    held: Vec<u64>,
}

struct Storm<'a> {
    kafka: &'a Kafka,
    config: PathBuf,
    runs: [PathBuf; 2],
    served: PathBuf,
    /// Each start has a `from`, in turn of each form: only the first of them says where the group begins.
    from: RefCell<std::iter::Cycle<std::slice::Iter<'static, &'static str>>>,
    checker: Checker,
    partitions: Cell<i32>,
}

impl<'a> Storm<'a> {
    fn new(kafka: &'a Kafka, guarantee: &str, protocol: &str) -> Self {
        let topics = [
            ("requests", PARTITIONS),
            ("replies", 4),
            ("rejects", 2),
            ("receipts", 2),
            ("state", PARTITIONS),
        ];
        kafka.topics(&topics);
        kafka.limit("replies", LARGEST_REPLY);
        let (runs, served) = (models(&kafka.folder), kafka.folder.path("served"));
        put_model(&runs[0], &served);
        Self {
            kafka,
            config: config(kafka, guarantee, protocol),
            runs,
            served,
            from: RefCell::new(FORMS.iter().cycle()),
            checker: Checker::start(&kafka.client()),
            partitions: Cell::new(PARTITIONS),
        }
    }

    fn start(&self, name: &str) -> Serving {
        let from = self.from.borrow_mut().next().expect("a cycle");
        let set = [&format!("kafka.instance={name}"), &format!("kafka.from={from}")];
        Serving::start(&self.kafka.folder, name, &self.config, &set.map(String::as_str))
    }

    /// Starts the instances of each round and waits until they are ready.
    fn start_all(&self) -> [Option<Serving>; 3] {
        let all = ["a", "b", "stays"].map(|name| self.start(name));
        all.iter().for_each(Serving::ready);
        all.map(Some)
    }

    fn feed(&self, seed: u64) -> Feed {
        Feed::start(&self.kafka.client(), seed, PACE)
    }

    /// Kills and stops instances and brokers, and exchanges the model.
    fn shake(&self, round: usize, a: &mut Option<Serving>, b: &mut Option<Serving>) {
        let Self { kafka, checker, .. } = self;
        tell(round, "a is killed");
        a.take().expect("running").kill();
        *a = Some(self.start("a"));
        checker.progress(1000);
        tell(round, "b is stopped");
        assert_eq!(b.take().expect("running").stop(), Some(0), "a clean end");
        *b = Some(self.start("b"));
        checker.progress(1000);
        let broker = (1 + round % kafka.brokers).to_string();
        tell(round, &format!("broker {broker} is killed"));
        kafka.script("kill", &[&broker]);
        kafka.script("up", &[&broker]);
        checker.progress(1000);
        let broker = (1 + (round + 1) % kafka.brokers).to_string();
        tell(round, &format!("broker {broker} is stopped"));
        kafka.script("halt", &[&broker]);
        kafka.script("up", &[&broker]);
        checker.progress(1000);
        tell(round, "c joins, the model is exchanged, c leaves");
        let c = self.start("c");
        c.ready();
        put_model(&self.runs[(round + 1) % 2], &self.served);
        checker.progress(1000);
        match round % 2 {
            0 => assert_eq!(c.stop(), Some(0), "a clean end"),
            _ => c.kill(),
        }
        checker.progress(1000);
    }

    /// Writes an event of a user and waits for its reply; returns how long the user's history is by then.
    fn event(&self, id: &str, user: u64, item: u64) -> (Read, u64) {
        let producer = producer(&self.kafka.client());
        let text = format!(r#"{{"type":"event","id":"watch-{id}","user":{user},"item":{item}}}"#);
        let key = user.to_string();
        let record = BaseRecord::to("requests").key(&key).payload(&text);
        producer.send(record).map_err(|(error, _)| error).expect("room");
        producer.flush(Duration::from_secs(60)).expect("delivered");
        let reply = self.checker.watched(&format!("watch-{id}"));
        let history = reply.json()["history"].as_u64().expect("the length of a history");
        (reply, history)
    }

    /// Gives a user a history and erases it by a record without a value in the state topic; waits until it is gone.
    fn erase(&self, round: usize, user: u64) {
        tell(round, "a user is erased");
        let (_, first) = self.event(&format!("{user}-first"), user, KEPT - 1);
        let (reply, second) = self.event(&format!("{user}-second"), user, KEPT);
        assert_eq!((first, second), (1, 2), "how long the history is");
        let eraser = producer(&self.kafka.client());
        let key = format!("[\"requests\",{user}]");
        let record = BaseRecord::<str, [u8]>::to("state").partition(reply.source().0).key(&key);
        eraser.send(record).map_err(|(error, _)| error).expect("room");
        eraser.flush(Duration::from_secs(60)).expect("delivered");
        let mut n = 0;
        until("the user is erased", Duration::from_secs(120), || {
            n += 1;
            self.event(&format!("{user}-again-{n}"), user, KEPT).1 == 1
        });
    }

    /// Deletes requests that are answered and read, as retention does.
    fn cut(&self, round: usize) {
        let mut client = self.kafka.client();
        let group = reader(client.set("group.id", "burnrec"), "read_committed");
        let mut list = TopicPartitionList::new();
        list.add_partition_range("requests", 0, self.partitions.get() - 1);
        let committed = group.committed_offsets(list, Duration::from_secs(60)).expect("positions");
        let read = self.checker.next();
        for place in committed.elements() {
            let Offset::Offset(done) = place.offset() else { continue };
            let before = done.min(read.get(&place.partition()).copied().unwrap_or(0));
            if before > 0 {
                self.kafka.delete_before("requests", place.partition(), before);
            }
        }
        tell(round, "answered requests are deleted");
    }

    /// Gives the requests and the state one more partition, and moves the histories; no instance runs.
    fn grow(&self, round: usize) {
        let partitions = self.partitions.get() + 1;
        tell(round, &format!("topics grow to {partitions} partitions"));
        ["requests", "state"].iter().for_each(|topic| self.kafka.grow(topic, partitions as usize));
        self.checker.follow(self.partitions.get()..partitions);
        self.partitions.set(partitions);
        // An instance that was killed stays a member of the group for the time of its session.
        until("the histories move", Duration::from_secs(60), || {
            burnrec("repartition {} --set kafka.instance=a --json", &[&self.config]).code == Some(0)
        });
    }
}

fn tell(round: usize, what: &str) {
    eprintln!("round {round}: {what}");
}

/// Runs the storm, and returns the contents of the topics after it.
fn storm(kafka: &Kafka, guarantee: &str, protocol: &str, span: Span) -> After {
    let storm = Storm::new(kafka, guarantee, protocol);
    let [mut a, mut b, mut stays] = storm.start_all();
    let mut feed = storm.feed(0);
    storm.checker.progress(1000);
    let (mut erased, mut held) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    for round in 0.. {
        if span.is_over(round, begin.elapsed()) {
            break;
        }
        storm.shake(round, &mut a, &mut b);
        let user = USERS + 1 + round as u64;
        storm.erase(round, user);
        erased.push(user);
        storm.cut(round);
        let mib = stays.as_ref().expect("running").mib();
        tell(round, &format!("the instance that stays holds {mib} MiB"));
        held.push(mib);
        if GROWS_AT.contains(&round) {
            feed.end();
            storm.checker.all_are_answered();
            for one in [&mut a, &mut b, &mut stays] {
                assert_eq!(one.take().expect("running").stop(), Some(0), "a clean end");
            }
            storm.grow(round);
            [a, b, stays] = storm.start_all();
            feed = storm.feed(1 + round as u64);
            held.clear();
        }
    }
    feed.end();
    probe(kafka, storm.partitions.get(), &erased);
    storm.checker.all_are_answered();
    let running = [a, b, stays].map(|one| one.expect("running"));
    until("no lag is left", Duration::from_secs(60), || {
        let lags = running.each_ref().map(|one| one.metric("kafka_consumer_lag{").unwrap_or(0.0));
        lags == [0.0; 3]
    });
    for one in running {
        assert_eq!(one.stop(), Some(0));
    }
    let (inputs, seen) = storm.checker.end();
    let outputs = read_all(&kafka.client(), &OUTPUTS);
    let stand: BTreeSet<_> =
        outputs.iter().map(|read| (read.topic.clone(), read.place.0, read.place.1)).collect();
    assert!(seen.is_subset(&stand), "what was read as committed stays");
    eprintln!("{} requests", inputs.len());
    After { inputs, outputs, erased, held }
}

/// Asks for scores of every user after the storm, and ends each partition with a message that cannot be decoded.
fn probe(kafka: &Kafka, partitions: i32, erased: &[u64]) {
    let producer = producer(&kafka.client());
    for user in (1..=USERS).chain(erased.iter().copied()) {
        let text = format!(r#"{{"type":"score","id":"probe","user":{user},"items":[30,60,90]}}"#);
        let key = user.to_string();
        producer
            .send(BaseRecord::to("requests").key(&key).payload(&text))
            .map_err(|(error, _)| error)
            .expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
    for partition in 0..partitions {
        let poison: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to("requests").partition(partition).payload(b"\xff\xfe");
        producer.send(poison).map_err(|(error, _)| error).expect("room");
    }
    producer.flush(Duration::from_secs(60)).expect("delivered");
}

/// The settings by which the members keep the group, and those by which brokers do (KIP-848).
const CLASSIC: &str = r#""session.timeout.ms" = 4000, "heartbeat.interval.ms" = 500"#;
const BROKERS: &str = r#""group.protocol" = "consumer""#;

/// How long a storm lasts.
#[derive(Clone, Copy)]
enum Span {
    Rounds(usize),
    Minutes(u64),
}

impl Span {
    fn asked_for() -> Self {
        match std::env::var("BURNREC_STORM_MINUTES") {
            Ok(minutes) => Self::Minutes(minutes.parse().expect("BURNREC_STORM_MINUTES is a number")),
            Err(_) => Self::Rounds(4),
        }
    }

    fn is_over(self, rounds: usize, spent: Duration) -> bool {
        match self {
            Self::Rounds(all) => rounds >= all,
            Self::Minutes(minutes) => spent >= Duration::from_secs(60 * minutes),
        }
    }
}

fn check_exactly_once(protocol: &str, span: Span) {
    let Some(kafka) = Kafka::start(3, false) else { return };
    let after = storm(&kafka, "exactly-once", protocol, span);
    // Each check runs, whatever the others found: a storm may have taken an hour.
    let checks: [(&str, &dyn Fn()); 5] = [
        ("ends", &|| assert_eq!(each_has_its_end(&after, true), 0, "records are there twice")),
        ("order", &|| order_is_kept(&after)),
        ("state", &|| state_is_whole(&kafka, &after)),
        ("others", &|| others_agree(&kafka, &after)),
        ("memory", &|| memory_is_flat(&after)),
    ];
    let failed = |(_, check): &(&str, &dyn Fn())| catch_unwind(AssertUnwindSafe(check)).is_err();
    let failed: Vec<&str> = checks.into_iter().filter(failed).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn exactly_once_under_kills() {
    check_exactly_once(CLASSIC, Span::asked_for());
}

#[test]
fn exactly_once_in_a_group_that_brokers_keep() {
    check_exactly_once(BROKERS, Span::Rounds(2));
}

#[test]
fn at_least_once_under_kills() {
    let Some(kafka) = Kafka::start(3, false) else { return };
    let after = storm(&kafka, "at-least-once", CLASSIC, Span::asked_for());
    let twice = each_has_its_end(&after, false);
    eprintln!("at least once: {twice} records twice, none missing");
    memory_is_flat(&after);
}
