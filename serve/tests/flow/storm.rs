//! Nothing lost and nothing twice, whatever happens: many short runs, each from a seed, with failures at every call,
//! partitions that move, members that die.

mod changes;
mod check;
mod indexed;
mod steps;
mod tenants;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use burnrec_data::rng::stream;
use burnrec_serve::Engine;
use burnrec_serve::clock::Clock;
use burnrec_serve::config::{Guarantee, Order, ServeConfig};
use burnrec_serve::event::TopicPartition;
use burnrec_serve::flow::{Flow, FlowOptions};
use rand::RngExt;
use rand_pcg::Pcg64;

use crate::clock::SimClock;
use crate::common::{self, ITEMS, USERS, item_id};
use crate::twin::{Cluster, Faults, Rules, Stored, Traced};

use changes::{Changing, EXCHANGED};
use check::{Ran, check};
use indexed::{FOUND, Indexed};
use steps::Steps;
use tenants::TENANTS;

/// A run whose settings are all drawn from its seed.
#[derive(Clone, Debug)]
struct Storm {
    seed: u64,
    guarantee: Guarantee,
    order: Order,
    parts: Vec<TopicPartition>,
    n_events: usize,
    /// Flows side by side, and whether they are workers of one process.
    n_flows: usize,
    one_process: bool,
    filters: bool,
    retries: u32,
    pace: &'static str,
    then: &'static str,
    batch_events: usize,
    queue_events: usize,
    commit: Duration,
    /// Whether the group begins somewhere in the partitions; else at their first events.
    begins: bool,
    /// The most bytes of a record of the state topic: room for three events, or for more than a history holds.
    record_bytes: usize,
    /// Whether the settings are exchanged meanwhile.
    changes: bool,
    /// Whether users are of tenants with quotas, and then whether those of none are answered.
    tenants: Option<bool>,
    rules: Rules,
    steps: Steps,
}

impl Storm {
    fn new(seed: u64, guarantee: Guarantee) -> Self {
        let mut rng = stream(seed, "storm", 0);
        let (n_topics, n_partitions) = (rng.random_range(1..=2u16), rng.random_range(1..=3i32));
        let orders = [Order::FirstIn, Order::Newest, Order::Oldest, Order::Header("priority".into())];
        let order = if rng.random_bool(0.5) { 0 } else { rng.random_range(1..4) };
        let n_flows = rng.random_range(1..=2);
        let one_process = rng.random_bool(0.5);
        let mut rate = |most: f64| if rng.random_bool(0.7) { rng.random_range(0.0..most) } else { 0.0 };
        let faults = Faults {
            budget: 12,
            send: rate(0.05),
            commit: rate(0.2),
            arrived: rate(0.1),
            positions: rate(0.2),
            abort: rate(0.1),
            other: rate(0.05),
            rebuild: rate(1.0),
            moved: rate(0.1),
            lost: rate(1.0),
            // Workers of a process die together.
            crash: if one_process { 0.0 } else { rate(0.03) },
            stop: rate(0.02),
        };
        let rules = Rules {
            exactly_once: guarantee == Guarantee::ExactlyOnce,
            faults,
            delay: rng.random_range(0..4),
            slow: rng.random_bool(0.5),
            brokers_refuse: rng.random_bool(0.5),
            ..Rules::default()
        };
        let part =
            |at: i32| TopicPartition { topic: (at / n_partitions) as u16, partition: at % n_partitions };
        Self {
            seed,
            guarantee,
            order: orders[order].clone(),
            parts: (0..i32::from(n_topics) * n_partitions).map(part).collect(),
            n_events: rng.random_range(20..200),
            n_flows,
            one_process,
            filters: rng.random_bool(0.5),
            retries: rng.random_range(0..3),
            pace: ["penalise", "yield"][rng.random_range(0..2)],
            then: ["reject", "reject", "drop"][rng.random_range(0..3)],
            batch_events: rng.random_range(1..12),
            queue_events: rng.random_range(1..30),
            commit: Duration::from_micros([0, 0, 300, 3000][rng.random_range(0..4)]),
            begins: rng.random_bool(0.3),
            record_bytes: if rng.random_bool(0.3) { 46 + 3 * 22 } else { usize::MAX },
            changes: rng.random_bool(0.5),
            tenants: rng.random_bool(0.4).then(|| rng.random_bool(0.5)),
            rules,
            steps: if rng.random_bool(0.3) { Steps::Own } else { Steps::None },
        }
    }

    fn config(&self, steps: Steps) -> ServeConfig {
        let filter = format!("[table]\npath = {:?}\nthreshold = \"threshold\"\n", offers());
        let order = match &self.order {
            Order::FirstIn => "first-in",
            Order::Newest => "newest",
            Order::Oldest => "oldest",
            Order::Header(_) => "header:priority",
        };
        let guarantee =
            if self.guarantee == Guarantee::ExactlyOnce { "exactly-once" } else { "at-least-once" };
        let tenants = match self.tenants {
            None => String::new(),
            Some(is_open) => {
                format!("{TENANTS}{}", if is_open { "[[routes]]\nmodels = { main = 1 }" } else { "" })
            }
        };
        common::config(&format!(
            r#"
models.main.run = "RUN"
limits.history = 6
[kafka]
bootstrap = "twin"
instance = "a"
guarantee = "{guarantee}"
requests = ["first", "second"]
replies = "replies"
rejects = "rejects"
state = "state"
receipts = "receipts"
[flow]
order = "{order}"
batch_events = {}
batch_ms = 0
queue_events = {}
max_event_age_ms = 3600000
[failures.decode]
retries = {}
backoff_ms = 1
pace = "{}"
then = "{}"
{}{}
{tenants}"#,
            self.batch_events,
            self.queue_events,
            self.retries,
            self.pace,
            self.then,
            if self.filters { &filter } else { "" },
            steps.tables(self.retries, self.pace),
        ))
    }

    fn keeps_order(&self) -> bool {
        // Tenants pass each other.
        self.order == Order::FirstIn && self.tenants.is_none() && (self.retries == 0 || self.pace == "yield")
    }

    fn options(&self, config: &ServeConfig, worker: usize) -> FlowOptions {
        let kafka = config.kafka.as_ref().expect("a [kafka]");
        let options = FlowOptions::new(worker, kafka);
        let (drain, backoff) = (Duration::from_secs(5), Duration::from_micros(100));
        FlowOptions { commit: self.commit, drain, backoff, ..options }
    }

    /// Returns the requests with their partitions, and whether the reply to each is too large.
    fn requests(&self, now: i64) -> Vec<(TopicPartition, Stored, bool)> {
        let mut rng = stream(self.seed, "requests", 0);
        let one = |_| {
            let user = rng.random_range(1..USERS as i64 + 10);
            let part = self.parts[user as usize % self.parts.len()];
            let (payload, too_large) = payload(user, &mut rng);
            let expired = rng.random_bool(0.05);
            let priority = rng.random_range(0..5).to_string();
            let stored = Stored {
                offset: 0,
                key: Some(user.to_string().into_bytes()),
                payload,
                headers: vec![
                    ("priority".into(), Some(priority.into_bytes())),
                    ("tenant".into(), Some(if user % 3 == 0 { "acme" } else { "" }.into())),
                ],
                timestamp_ms: Some(now - if expired { 7_200_000 } else { rng.random_range(0..60_000) }),
            };
            (part, stored, too_large && !expired)
        };
        (0..self.n_events).map(one).collect()
    }

    /// Runs the storm; returns the cluster as it was left.
    fn run(&self) -> Ran {
        let mut rules = self.rules.clone();
        let requests = self.requests(SimClock::new().unix_ms());
        // The offsets follow from the seed: a first cluster tells those of the requests with too large replies.
        let fill = |cluster: &Cluster| -> Vec<(TopicPartition, i64)> {
            let put = |(part, stored, _): &(TopicPartition, Stored, bool)| {
                (*part, cluster.put(*part, stored.clone()))
            };
            requests.iter().map(put).collect()
        };
        let rng = || stream(self.seed, "twin", 0);
        let places = fill(&Cluster::new(&self.parts, self.n_flows, rng(), Rules::default()));
        let large = places.iter().zip(&requests).filter(|(_, (_, _, too_large))| *too_large);
        rules.too_large = large.map(|(place, _)| *place).collect();
        if self.begins {
            // At a request or at the end, with an offset of its own in each partition.
            let mut rng = stream(self.seed, "begin", 0);
            let begin = |part: &TopicPartition| {
                let offsets = places.iter().filter(|(of, _)| of == part).map(|(_, offset)| *offset);
                let end = offsets.max().map_or(0, |last| last + 1);
                (*part, rng.random_range(0..=end))
            };
            rules.begin = self.parts.iter().map(begin).collect();
        }
        let cluster = Cluster::new(&self.parts, self.n_flows, rng(), rules.clone());
        fill(&cluster);
        let (config, indexed) = (self.config(self.steps), Indexed::new());
        let shared = self.engine(&config, &cluster, &indexed);
        std::thread::scope(|scope| {
            for worker in 0..self.n_flows {
                let (cluster, config, shared, indexed) = (&cluster, &config, &shared, &indexed);
                scope.spawn(move || {
                    let ends = std::panic::AssertUnwindSafe(|| {
                        self.work(worker, cluster, config, (shared, indexed))
                    });
                    assert!(std::panic::catch_unwind(ends).is_ok(), "a worker panicked: {self:?}");
                });
            }
        });
        // The one changes nothing in the end.
        let steps = if self.steps == Steps::Flaky { Steps::None } else { self.steps };
        Ran { cluster, config: self.config(steps), rules, record_bytes: self.record_bytes, indexed }
    }

    /// Returns an engine with the clock of a cluster.
    fn engine(&self, config: &ServeConfig, cluster: &Cluster, indexed: &Indexed) -> Arc<Engine> {
        let engine = Engine::open(config).expect("an engine").with_record_bytes(self.record_bytes);
        let engine = engine.with_index(&indexed.index);
        match self.changes {
            true => Changing::engine(engine, config, self.order == Order::FirstIn, &cluster.clock),
            false => Arc::new(engine.with_clock(Arc::clone(&cluster.clock) as _)),
        }
    }

    /// Runs a worker, and starts it again whenever it ends before all is done.
    fn work(
        &self,
        worker: usize,
        cluster: &Arc<Cluster>,
        config: &ServeConfig,
        (shared, indexed): (&Arc<Engine>, &Indexed),
    ) {
        let _at_work = cluster.work(worker);
        while !cluster.is_done() {
            let engine = match self.one_process {
                true => Arc::clone(shared),
                false => self.engine(config, cluster, indexed),
            };
            let twin = Traced::new(cluster, worker);
            let stop = Arc::clone(&twin.stop);
            let mut flow = Flow::new(engine, Arc::default(), self.options(config, worker), twin);
            match flow.run(&stop) {
                Ok(()) => {}
                Err(error) => {
                    let told = error.to_string();
                    assert!(told.contains("a crash") || told.starts_with("fenced"), "{self:?}: {told}");
                }
            }
        }
    }
}

/// A table with thresholds that filter some items.
fn offers() -> std::path::PathBuf {
    let path = common::als_run().with_file_name("offers.csv");
    let row = |row: usize| format!("{},offer {row},{}\n", item_id(row), row as f32 / 20.0 - 0.8);
    let rows: String = (0..ITEMS).filter(|row| row % 7 > 0).map(row).collect();
    burnrec_data::write::write_file(&path, format!("item,offer,threshold\n{rows}").as_bytes())
        .expect("a file");
    path
}

/// A request of a user, and whether its answer is too large to write.
fn payload(user: i64, rng: &mut Pcg64) -> (Option<Vec<u8>>, bool) {
    let item = |rng: &mut Pcg64| item_id(rng.random_range(0..ITEMS));
    let text = match rng.random_range(0..20) {
        0..6 => format!(r#"{{"type":"score","user":{user},"items":[{},{}]}}"#, item(rng), item(rng)),
        6..12 => {
            let value = rng.random_range(1..=5);
            let text = format!(r#"{{"type":"event","user":{user},"item":{},"value":{value}}}"#, item(rng));
            return (Some(text.into_bytes()), rng.random_bool(0.1));
        }
        12..14 => format!(r#"{{"type":"recommend","user":"{user}","k":3}}"#),
        14 => format!(r#"{{"type":"similar","item":{},"k":2}}"#, item(rng)),
        15 => format!(r#"{{"type":"score","user":{user},"items":[7]}}"#),
        16 => "no JSON".to_owned(),
        17 => return (None, false),
        18 => return (Some(format!(r#"{{"type":"recommend","user":{user},"k":30}}"#).into_bytes()), true),
        _ => return (Some(b"much nonsense".to_vec()), true),
    };
    (Some(text.into_bytes()), false)
}

/// Runs many storms beside each other.
fn storms(guarantee: Guarantee) {
    let n: u64 = std::env::var("BURNREC_STORMS").map_or(200, |n| n.parse().expect("a number"));
    let (next, faults) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= n {
                        break;
                    }
                    faults.fetch_add(check(&Storm::new(seed, guarantee)).into(), Ordering::Relaxed);
                }
            });
        }
    });
    let [found, unconfirmed] = FOUND.each_ref().map(|n| n.load(Ordering::Relaxed));
    println!(
        "{n} storms, {} failures, {found} events found, {unconfirmed} unconfirmed",
        faults.load(Ordering::Relaxed)
    );
    assert!(unconfirmed < found / 20, "{unconfirmed} of {found} events are unconfirmed");
    assert!(faults.load(Ordering::Relaxed) > n, "too few failures to say anything");
    let exchanged = EXCHANGED.each_ref().map(|n| n.load(Ordering::Relaxed));
    assert!(exchanged.iter().all(|of| *of > n / 4), "{exchanged:?} exchanges say too little");
}

#[test]
fn exactly_once_every_request_ends_exactly_once() {
    storms(Guarantee::ExactlyOnce);
}

#[test]
fn a_seed_replays_exactly() {
    let (mut lines, mut faults) = (0, 0);
    for seed in 0..20 {
        for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
            let storm = Storm::new(seed, guarantee);
            let (first, second) = (storm.run().cluster, storm.run().cluster);
            let traces = (first.trace(), second.trace());
            for (at, (one, other)) in traces.0.iter().zip(&traces.1).enumerate() {
                assert_eq!(one, other, "event {at} of {storm:?}");
            }
            assert_eq!(traces.0.len(), traces.1.len(), "{storm:?}");
            assert_eq!(first.visible(), second.visible(), "{storm:?}");
            assert_eq!(first.faults(), second.faults(), "{storm:?}");
            (lines, faults) = (lines + traces.0.len(), faults + first.faults());
        }
    }
    assert!(lines > 1000 && faults > 40, "{lines} events and {faults} failures say too little");
}

#[test]
fn at_least_once_no_request_is_missing() {
    storms(Guarantee::AtLeastOnce);
}

#[test]
fn a_step_whose_process_dies_hangs_and_lies_loses_nothing() {
    let mut faults = 0;
    for seed in 0..6 {
        for guarantee in [Guarantee::ExactlyOnce, Guarantee::AtLeastOnce] {
            let mut storm = Storm::new(seed, guarantee);
            (storm.steps, storm.order, storm.n_events) =
                (Steps::Flaky, Order::FirstIn, storm.n_events.min(60));
            faults += check(&storm);
        }
    }
    assert!(faults > 6, "only {faults} other failures");
}
