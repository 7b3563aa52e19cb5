//! An event on its way through the flow.

use std::time::Instant;

use crate::Reject;

/// What the names of the service's own headers begin with.
pub const OWN: &str = "burnrec-";

/// The header with the number of times that an event was tried before it was rejected.
pub const ATTEMPTS: &str = "burnrec-attempts";

/// The header with where an event came from before it was rejected.
pub const SOURCE: &str = "burnrec-source";

/// The header with the length of a value of which a reject holds only the first bytes.
pub const BYTES: &str = "burnrec-bytes";

/// The header of a record of the state topic by which the service confirms that a user is erased.
pub const ERASED: &str = "burnrec-erased";

/// A partition of one of the topics that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's index in `kafka.requests`.
    pub topic: u16,
    /// The partition's number.
    pub partition: i32,
}

/// The partition that events over HTTP are given; it belongs to no topic.
pub const HTTP: TopicPartition = TopicPartition { topic: u16::MAX, partition: -1 };

/// Where a user's history is kept: with the partition of the user's events and the worker that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Home {
    /// The worker's number.
    pub worker: usize,
    /// The partition.
    pub part: TopicPartition,
}

/// Headers by name, in the order they came.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// An event that was read, with where it came from.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Where it was read.
    pub part: TopicPartition,
    /// Its offset in that partition.
    pub offset: i64,
    /// Its own time, in Unix milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Its headers.
    pub headers: Headers,
    /// When it was read.
    pub received: Instant,
    /// How many times it failed.
    pub attempts: u32,
    /// Why it is not to be answered: its tenant's quota, or that the sink does not take what it leads to. The engine then rejects
    /// it without any effect.
    pub refused: Option<Box<Reject>>,
    /// Its turn: its running number in the ledger of its partition.
    pub turn: u64,
    /// The worker that read it.
    pub worker: usize,
    /// The place of its tenant among those of the settings by which it was queued.
    pub tenant: u16,
    /// Whether it has passed its tenant's quota: a further try costs nothing.
    pub has_passed: bool,
    /// The key, then the payload.
    bytes: Box<[u8]>,
    key_len: Option<u32>,
    has_payload: bool,
}

impl Incoming {
    /// Makes an event of a key and a payload, either of which may be absent. `received` is given, so that a reader of
    /// many events asks the clock once.
    pub fn new(
        received: Instant,
        part: TopicPartition,
        offset: i64,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
    ) -> Self {
        let parts = [key.unwrap_or_default(), payload.unwrap_or_default()];
        Self {
            part,
            offset,
            timestamp_ms: None,
            headers: Headers::new(),
            received,
            attempts: 0,
            refused: None,
            turn: 0,
            worker: 0,
            tenant: 0,
            has_passed: false,
            bytes: parts.concat().into_boxed_slice(),
            key_len: key.map(|key| key.len() as u32),
            has_payload: payload.is_some(),
        }
    }

    /// Returns where its user's history is kept.
    pub fn home(&self) -> Home {
        Home { worker: self.worker, part: self.part }
    }

    /// Returns the key.
    pub fn key(&self) -> Option<&[u8]> {
        self.key_len.map(|len| &self.bytes[..len as usize])
    }

    /// Returns the payload; `None` is Kafka's null, which deletes.
    pub fn payload(&self) -> Option<&[u8]> {
        self.has_payload.then(|| &self.bytes[self.key_len.unwrap_or(0) as usize..])
    }

    /// Returns how many times it was tried, earlier rejects included.
    pub fn tries(&self) -> u32 {
        let earlier = self.header(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or(0_u32);
        earlier.saturating_add(self.attempts).saturating_add(1)
    }

    /// Returns how many bytes its key and its payload have.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns how many bytes it takes in a queue.
    pub fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    /// Returns the value of a header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value.as_ref()?).ok()
    }
}
