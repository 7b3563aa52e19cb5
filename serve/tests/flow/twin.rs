//! An in-memory twin of Kafka: a log of requests in partitions, a group whose members share them, transactions whose
//! messages nobody sees before they are committed, deliveries that come later, and failures drawn from a seed.
//!
//! Workers take turns: each runs from one `receive` to the next, and the seed says who is next. Time passes only where
//! a worker looks for events. So a run follows from its seed alone, and [`Cluster::trace`] is the same each time.

mod fate;
mod group;
mod member;
mod trace;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burnrec_serve::event::{Headers, Incoming, TopicPartition};
use burnrec_serve::flow::Change;
use burnrec_serve::outbox::To;
use rand::RngExt;
use rand_pcg::Pcg64;

use crate::clock::SimClock;

use member::Twin;
pub use trace::Traced;

/// A request in its partition.
#[derive(Clone)]
pub struct Stored {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Headers,
    pub timestamp_ms: Option<i64>,
}

impl Stored {
    /// Returns the request as a reader gets it.
    pub fn event(&self, received: Instant, part: TopicPartition) -> Incoming {
        let mut event =
            Incoming::new(received, part, self.offset, self.key.as_deref(), self.payload.as_deref());
        (event.timestamp_ms, event.headers) = (self.timestamp_ms, self.headers.clone());
        event
    }
}

/// A message that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub to: To,
    /// The event that it comes from.
    pub part: TopicPartition,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// Returns the value as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(self.value.as_deref().unwrap_or_default()).expect("UTF-8")
    }

    /// Returns the value as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).expect("JSON")
    }

    /// Returns a header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// The probabilities of failures, from 0 to 1, and the most failures of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The most that go wrong in a run.
    pub budget: u32,
    pub send: f64,
    pub commit: f64,
    pub arrived: f64,
    pub positions: f64,
    pub abort: f64,
    /// Each of the other calls.
    pub other: f64,
    /// The share of failures that ask for a new connection.
    pub rebuild: f64,
    /// A partition moves to another member.
    pub moved: f64,
    /// The share of moves that the old owner hears of too late to finish anything.
    pub lost: f64,
    /// A member dies with all it has in memory; with exactly-once, half of the time it is fenced instead.
    pub crash: f64,
    /// A member stops as it should.
    pub stop: f64,
}

/// How the twin behaves.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub exactly_once: bool,
    pub faults: Faults,
    /// The longest time until what was sent arrives, in looks (calls of `receive`).
    pub delay: u32,
    /// Whether it takes that long each time, even if the flow waits for it.
    pub slow: bool,
    /// Acts with the number of a look, counted over all members: the act happens to the member that makes this look.
    pub script: Vec<(usize, Act)>,
    /// Requests whose reply, history or whole reject is too large.
    pub too_large: BTreeSet<(TopicPartition, i64)>,
    /// Requests whose shadow reply is too large.
    pub too_large_shadows: BTreeSet<(TopicPartition, i64)>,
    /// Whether only the brokers notice that a message is too large.
    pub brokers_refuse: bool,
    /// Where the group begins with partitions; at their first events by default.
    pub begin: BTreeMap<TopicPartition, i64>,
}

/// Something that happens to a member.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Crash,
    Stop,
    /// Another process has taken the member's name.
    Fence,
    /// The partition is taken away in good order, and comes back.
    Rejoin(TopicPartition),
    /// The partition belongs to another member already, and comes back.
    Lose(TopicPartition),
    /// The partition's topic is made anew, with as many requests as it had, from offset 0 on.
    Renew(TopicPartition),
    /// Somebody else erases the record with this key.
    Erase(TopicPartition, &'static str),
    /// The member's next commit succeeds and seems to fail.
    Doubt,
}

/// What the members and the test share.
pub struct Cluster {
    pub clock: Arc<SimClock>,
    inner: Mutex<Inner>,
    turn: Condvar,
    rules: Rules,
}

struct Inner {
    rng: Pcg64,
    faults: u32,
    log: BTreeMap<TopicPartition, Vec<Stored>>,
    committed: HashMap<TopicPartition, (i64, String)>,
    /// Who may commit for a partition.
    owners: BTreeMap<TopicPartition, usize>,
    /// Who gets a partition when its owner has given it up.
    going: BTreeMap<TopicPartition, usize>,
    /// Partitions that belong to another member already, with the former owners, who do not know it yet.
    lost: Vec<(TopicPartition, usize)>,
    members: Vec<Seat>,
    /// The workers that have not ended: each runs one member after the other.
    workers: BTreeSet<usize>,
    /// The worker whose turn it is.
    running: usize,
    visible: Vec<Record>,
    calls: Vec<Call>,
    trace: Vec<String>,
    looks: usize,
    received: usize,
    /// How many looks in a row brought nothing.
    idle: usize,
    /// A member panicked: the test has failed, and the others need not go on.
    failed: bool,
}

/// What the group knows of a member.
#[derive(Default)]
struct Seat {
    alive: bool,
    changes: VecDeque<Change>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

/// A call of a flow that tests ask about.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// So many events were handed out.
    Received(usize),
    /// Reading of these partitions was paused or resumed, after `received` events had been handed out.
    Paused {
        parts: Vec<TopicPartition>,
        paused: bool,
        received: usize,
    },
    /// A batch of these events.
    Sent(Vec<(TopicPartition, i64)>),
    Committed(Vec<(TopicPartition, i64, String)>),
    Aborted {
        rebuild: bool,
    },
}

impl Cluster {
    /// Makes a cluster with empty partitions and some workers; everything is drawn from `rng`.
    pub fn new(parts: &[TopicPartition], workers: usize, rng: Pcg64, rules: Rules) -> Arc<Self> {
        let inner = Inner {
            rng,
            faults: 0,
            log: parts.iter().map(|part| (*part, Vec::new())).collect(),
            committed: HashMap::new(),
            owners: BTreeMap::new(),
            going: BTreeMap::new(),
            lost: Vec::new(),
            members: Vec::new(),
            workers: (0..workers).collect(),
            running: 0,
            visible: Vec::new(),
            calls: Vec::new(),
            trace: Vec::new(),
            looks: 0,
            received: 0,
            idle: 0,
            failed: false,
        };
        Arc::new(Self {
            clock: Arc::new(SimClock::new()),
            inner: Mutex::new(inner),
            turn: Condvar::new(),
            rules,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a request; now and then an offset is taken by a transaction's marker, which readers never see.
    pub fn put(&self, part: TopicPartition, mut request: Stored) -> i64 {
        let mut inner = self.lock();
        let gap = i64::from(inner.rng.random_bool(0.1));
        let log = inner.log.get_mut(&part).expect("a partition of the twin");
        request.offset = log.last().map_or(0, |last| last.offset + 1) + gap;
        log.push(request);
        log.last().map_or(0, |last| last.offset)
    }

    /// Returns how many erasures nobody has confirmed.
    pub fn unconfirmed(&self) -> usize {
        self.lock().unconfirmed().len()
    }

    /// Returns the requests of all partitions.
    pub fn requests(&self) -> Vec<(TopicPartition, Stored)> {
        let inner = self.lock();
        inner.log.iter().flat_map(|(part, log)| log.iter().map(|event| (*part, event.clone()))).collect()
    }

    /// Returns what readers of committed messages see.
    pub fn visible(&self) -> Vec<Record> {
        self.lock().visible.clone()
    }

    /// Returns what the flows asked for.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Returns all that happened: each call of a member with its simulated time, and its result.
    pub fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// Returns the offset at which a partition would be read on.
    pub fn committed(&self, part: TopicPartition) -> i64 {
        self.lock().committed.get(&part).map_or(0, |(next, _)| *next)
    }

    /// Returns how many events were handed out.
    pub fn received(&self) -> usize {
        self.lock().received
    }

    /// Returns how often flows asked for events.
    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    /// Whether every request is committed.
    pub fn is_done(&self) -> bool {
        self.lock().is_done()
    }

    /// Returns how often something went wrong.
    pub fn faults(&self) -> u32 {
        self.lock().faults
    }
}

impl Inner {
    fn is_done(&self) -> bool {
        let is_committed = |(part, log): (&TopicPartition, &Vec<Stored>)| {
            log.last()
                .is_none_or(|last| self.committed.get(part).is_some_and(|(next, _)| *next > last.offset))
        };
        self.log.iter().all(is_committed) && self.unconfirmed().is_empty()
    }

    /// Draws whether something goes wrong now, with the probability `share`.
    fn fails(&mut self, rules: &Rules, share: f64) -> bool {
        let fails = self.faults < rules.faults.budget && share > 0.0 && self.rng.random_bool(share);
        self.faults += u32::from(fails);
        fails
    }
}

/// How long a look for events takes.
const LOOK: Duration = Duration::from_micros(10);

/// How long all members wait where none has anything to do.
const NAP: Duration = Duration::from_micros(200);

/// After this many looks in a row that bring nothing, a run counts as one that never ends. While settings are exchanged all members
/// may pause and yield at once, for some hundreds of looks.
const MOST_IDLE: usize = 1000;

/// After this many looks for events, a run counts as one that never ends; one of 200 events takes some thousands.
const MOST_LOOKS: usize = 50_000;
