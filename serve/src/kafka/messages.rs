//! The messages of a worker's partitions, taken from librdkafka many at a time (`rd_kafka_consume_batch_queue`). rdkafka's
//! `poll` hands them out one by one, each with calls of the clock, locks and an allocation.
//!
//! Messages have a queue of their own, apart from what the consumer itself reports: taken many at a time, a rebalance
//! would be answered by librdkafka before the flow hears of it.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Headers, Message, Timestamp};
use rdkafka::types::RDKafkaRespErr;

use super::context::Context;
use super::native::Owned;
use super::watch::Watch;
use crate::event::TopicPartition;

/// How often partitions are joined anew.
const JOIN_EVERY: Duration = Duration::from_millis(100);

type Queue = Owned<native::rd_kafka_queue_t>;

/// The queue of the messages of a worker's partitions.
pub struct MessageQueue {
    /// The queues of the partitions that are read, which hand on what they get.
    partitions: HashMap<TopicPartition, Queue>,
    joined: Instant,
    taken: Vec<*mut native::rd_kafka_message_t>,
    queue: Queue,
    /// It outlives all queues.
    consumer: Arc<BaseConsumer<Context<Watch>>>,
}

impl MessageQueue {
    /// Makes the queue of a consumer's messages.
    ///
    /// # Errors
    /// When librdkafka has no queue.
    pub fn new(consumer: Arc<BaseConsumer<Context<Watch>>>) -> KafkaResult<Self> {
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives, and the queue is destroyed by its owner alone.
        let queue = unsafe { Owned::new(native::rd_kafka_queue_new(client), native::rd_kafka_queue_destroy) };
        let queue = queue.ok_or_else(|| KafkaError::ClientCreation("no queue".into()))?;
        Ok(Self { partitions: HashMap::new(), joined: Instant::now(), taken: Vec::new(), queue, consumer })
    }

    /// Takes the messages of a partition from now on; to be called before the partition is assigned.
    ///
    /// # Errors
    /// When the topic's name is refused.
    pub fn follow(&mut self, part: TopicPartition, topic: &str) -> KafkaResult<()> {
        let (client, topic) = (self.consumer.client().native_ptr(), CString::new(topic)?);
        // SAFETY: the client and the name live for the whole call, and the queue is destroyed by its owner alone.
        let queue = unsafe {
            let queue = native::rd_kafka_queue_get_partition(client, topic.as_ptr(), part.partition);
            Owned::new(queue, native::rd_kafka_queue_destroy)
        };
        let queue = queue.ok_or(KafkaError::MetadataFetch(Code::UnknownPartition))?;
        self.partitions.insert(part, queue);
        self.join();
        Ok(())
    }

    /// Leaves all partitions but these.
    pub fn keep(&mut self, is_kept: impl Fn(TopicPartition) -> bool) {
        for (_, queue) in self.partitions.extract_if(|part, _| !is_kept(*part)) {
            leave(&queue);
        }
    }

    /// Returns whether no partition is read.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Lets the partitions hand on what they get. librdkafka ends that wherever it stops to read a partition, and it stops at
    /// some time after it was told to: perhaps after the partition was assigned again.
    fn join(&mut self) {
        self.joined = Instant::now();
        for queue in self.partitions.values() {
            // SAFETY: both queues live, and librdkafka keeps its own reference to them.
            unsafe { native::rd_kafka_queue_forward(queue.get(), self.queue.get()) }
        }
    }

    /// Waits up to `wait` for a first message, then takes what is there, up to `most`, and hands all to `each`.
    pub fn take(&mut self, wait: Duration, most: usize, mut each: impl FnMut(&Taken<'_>)) {
        if self.joined.elapsed() >= JOIN_EVERY {
            self.join();
        }
        self.taken.resize(most, null_mut());
        // librdkafka waits until it has as many as it is asked for, so that only the first is waited for.
        let first = if wait.is_zero() { 0 } else { self.fill(wait, 0, 1) };
        let n =
            if first == 0 && !wait.is_zero() { 0 } else { first + self.fill(Duration::ZERO, first, most) };
        for &message in &self.taken[..n] {
            // SAFETY: librdkafka gave the message, which is there until it is destroyed, once, after its last use.
            unsafe {
                each(&Taken(&*message));
                native::rd_kafka_message_destroy(message);
            }
        }
    }

    /// Takes messages into the places `from..to`; returns how many there were.
    fn fill(&mut self, wait: Duration, from: usize, to: usize) -> usize {
        let room = &mut self.taken[from..to];
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue lives, and the room is as large as is said.
        let n = unsafe {
            native::rd_kafka_consume_batch_queue(self.queue.get(), wait, room.as_mut_ptr(), room.len())
        };
        usize::try_from(n).unwrap_or(0)
    }
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        self.partitions.values().for_each(leave);
    }
}

/// Ends what [`MessageQueue::join`] began.
fn leave(queue: &Queue) {
    // SAFETY: the queue lives; without a second one it keeps what it gets.
    unsafe { native::rd_kafka_queue_forward(queue.get(), null_mut()) }
}

/// A message that was taken, or an error in its place.
pub struct Taken<'a>(&'a native::rd_kafka_message_t);

impl Taken<'_> {
    /// Returns what stands in the place of a message, if something does: an error, or the end of a partition.
    pub fn error(&self) -> Option<KafkaError> {
        match self.0.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Some(KafkaError::PartitionEOF(self.partition()))
            }
            code => Some(KafkaError::MessageConsumption(code.into())),
        }
    }
}

/// Returns the bytes at a place, if there is one.
///
/// # Safety
/// The place is null, or `len` bytes are there for `'a`.
unsafe fn bytes<'a>(place: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!place.is_null()).then(|| unsafe { slice::from_raw_parts(place.cast(), len) })
}

impl Message for Taken<'_> {
    type Headers = TakenHeaders;

    fn key(&self) -> Option<&[u8]> {
        // SAFETY: the message has the bytes for as long as it is there.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    fn payload(&self) -> Option<&[u8]> {
        // SAFETY: as for the key.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    unsafe fn payload_mut(&mut self) -> Option<&mut [u8]> {
        None
    }

    fn topic(&self) -> &str {
        // SAFETY: the name of a message's topic lives as long as the message.
        let name = unsafe { CStr::from_ptr(native::rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().unwrap_or_default()
    }

    fn partition(&self) -> i32 {
        self.0.partition
    }

    fn offset(&self) -> i64 {
        self.0.offset
    }

    fn timestamp(&self) -> Timestamp {
        use native::rd_kafka_timestamp_type_t as Type;
        let mut of = Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives.
        match (unsafe { native::rd_kafka_message_timestamp(self.0, &mut of) }, of) {
            (-1, _) | (_, Type::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) => Timestamp::NotAvailable,
            (ms, Type::RD_KAFKA_TIMESTAMP_CREATE_TIME) => Timestamp::CreateTime(ms),
            (ms, Type::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME) => Timestamp::LogAppendTime(ms),
        }
    }

    fn headers(&self) -> Option<&TakenHeaders> {
        let mut headers = null_mut();
        // SAFETY: the message lives and keeps its headers; `TakenHeaders` has the layout of what it is a view of.
        unsafe {
            match native::rd_kafka_message_headers(self.0, &mut headers) {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => headers.cast::<TakenHeaders>().as_ref(),
                _ => None,
            }
        }
    }
}

/// The headers of a message that was taken.
#[repr(transparent)]
pub struct TakenHeaders(native::rd_kafka_headers_t);

impl TakenHeaders {
    fn native(&self) -> *const native::rd_kafka_headers_t {
        &raw const self.0
    }
}

impl Headers for TakenHeaders {
    fn count(&self) -> usize {
        // SAFETY: the headers live as long as their message.
        unsafe { native::rd_kafka_header_cnt(self.native()) }
    }

    fn try_get(&self, at: usize) -> Option<Header<'_, &[u8]>> {
        let (mut name, mut value, mut len) = (null(), null(), 0);
        // SAFETY: as above; librdkafka gives a name that ends with 0 and a value of `len` bytes, or of none where it is null.
        unsafe {
            match native::rd_kafka_header_get_all(self.native(), at, &mut name, &mut value, &mut len) {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                    Some(Header { key: CStr::from_ptr(name).to_str().ok()?, value: bytes(value, len) })
                }
                _ => None,
            }
        }
    }
}
