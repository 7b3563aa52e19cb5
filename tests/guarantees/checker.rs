//! Follows the topics of a service from outside while it works, each record once, also those that are deleted later.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::common::storm::{Read, beginnings, reader};

/// The topics of what comes of requests.
pub const OUTPUTS: [&str; 3] = ["replies", "rejects", "receipts"];

/// The longest time that a test waits for events to be answered; after it the test fails.
const LIMIT: Duration = Duration::from_secs(300);

/// A topic, a partition and an offset.
pub type Place = (String, i32, i64);

/// What was read so far.
#[derive(Default)]
struct Seen {
    inputs: Vec<Read>,
    /// Where each of the outputs is.
    outputs: Vec<Place>,
    /// Replies and rejects of requests whose id begins with `watch`.
    watched: Vec<Read>,
    receipts: usize,
    /// The places of inputs with a receipt.
    ended: HashSet<(i32, i64)>,
    /// The next offset of each partition of the requests.
    next: BTreeMap<i32, i64>,
}

impl Seen {
    fn take(&mut self, read: Read) {
        if read.topic == "requests" {
            self.next.insert(read.place.0, read.place.1 + 1);
            self.inputs.push(read);
            return;
        }
        self.outputs.push((read.topic.clone(), read.place.0, read.place.1));
        if read.topic == "receipts" {
            self.receipts += 1;
            self.ended.insert(read.source());
        } else if String::from_utf8_lossy(&read.value).contains(r#""id":"watch"#) {
            self.watched.push(read);
        }
    }

    /// Returns how many requests of each partition have no receipt, and the first and the last of them.
    fn without_receipt(&self) -> BTreeMap<i32, (usize, i64, i64)> {
        let mut open = BTreeMap::new();
        for (partition, offset) in self.inputs.iter().map(|read| read.place) {
            if !self.ended.contains(&(partition, offset)) {
                let (n, _, last) = open.entry(partition).or_insert((0, offset, offset));
                (*n, *last) = (*n + 1, offset);
            }
        }
        open
    }
}

/// Reads the requests and what is committed of their outputs, in the background.
pub struct Checker {
    stop: Arc<AtomicBool>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    reader: Arc<BaseConsumer>,
    thread: JoinHandle<()>,
}

impl Checker {
    pub fn start(client: &ClientConfig) -> Self {
        let reader = Arc::new(reader(client, "read_committed"));
        let topics: Vec<&str> = OUTPUTS.into_iter().chain(["requests"]).collect();
        reader.assign(&beginnings(&reader, &topics)).expect("assigned");
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::<(Mutex<Seen>, Condvar)>::default());
        let (until, into, from) = (Arc::clone(&stop), Arc::clone(&seen), Arc::clone(&reader));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                // Errors tell of brokers that are down, which the client finds again by itself.
                if let Some(Ok(message)) = from.poll(Duration::from_millis(100)) {
                    into.0.lock().expect("no panic").take(Read::of(&message));
                    into.1.notify_all();
                }
            }
        });
        Self { stop, seen, reader, thread }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.0.lock().expect("no panic")
    }

    /// Waits until something is so that depends on what was read.
    #[track_caller]
    fn until<T>(&self, what: &str, mut there: impl FnMut(&Seen) -> Option<T>) -> T {
        let (mut seen, end) = (self.seen(), Instant::now() + LIMIT);
        loop {
            if let Some(found) = there(&seen) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let open = seen.without_receipt();
                drop(seen);
                panic!("not within {LIMIT:?}: {what}; without a receipt, by partition: {open:?}");
            }
            seen = self.seen.1.wait_timeout(seen, left.min(Duration::from_secs(1))).expect("no panic").0;
        }
    }

    /// Waits until `more` further events have a receipt.
    #[track_caller]
    pub fn progress(&self, more: usize) {
        let goal = self.seen().receipts + more;
        self.until("events are answered", |seen| (seen.receipts >= goal).then_some(()));
    }

    /// Waits for a reply or reject of the watched request with this id, and returns it.
    #[track_caller]
    pub fn watched(&self, id: &str) -> Read {
        let text = format!(r#""id":"{id}""#);
        let is = |read: &&Read| String::from_utf8_lossy(&read.value).contains(&text);
        self.until(&format!("the answer to {id}"), |seen| seen.watched.iter().find(is).cloned())
    }

    /// Reads on in partitions that the requests got.
    pub fn follow(&self, partitions: std::ops::Range<i32>) {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset("requests", partition, Offset::Beginning).expect("an offset");
        }
        self.reader.incremental_assign(&list).expect("assigned");
    }

    /// Returns up to where requests were read, by partition.
    pub fn next(&self) -> BTreeMap<i32, i64> {
        self.seen().next.clone()
    }

    /// Waits until all requests that the topic has are read, and each has a receipt.
    #[track_caller]
    pub fn all_are_answered(&self) {
        let metadata = self.reader.fetch_metadata(Some("requests"), LIMIT).expect("metadata");
        let ends = metadata.topics()[0].partitions().iter().map(|part| {
            let marks = self.reader.fetch_watermarks("requests", part.id(), Duration::from_secs(30));
            (part.id(), marks.expect("the end").1)
        });
        let ends: BTreeMap<i32, i64> = ends.filter(|(_, end)| *end > 0).collect();
        self.until("every request has a receipt", |seen| {
            let is_read = ends.iter().all(|(part, end)| seen.next.get(part) >= Some(end));
            (is_read && seen.ended.len() >= seen.inputs.len()).then_some(())
        });
    }

    /// Stops it; returns the requests, and where everything stood that came of them.
    pub fn end(self) -> (Vec<Read>, BTreeSet<Place>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the checker ends well");
        let mut seen = self.seen.0.lock().expect("no panic");
        (std::mem::take(&mut seen.inputs), std::mem::take(&mut seen.outputs).into_iter().collect())
    }
}
