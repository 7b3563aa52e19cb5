//! Reads what the state topic keeps for a partition.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{ASK, ClientKind, reader};
use super::context::{Context, Listener};
use super::counts::Count;
use crate::config::KafkaConfig;
use crate::event::ERASED;

/// How long the transactions that were open when partitions changed hands may take to end.
const OPEN_TRANSACTIONS: Duration = Duration::from_secs(120);

/// Takes the partition, the key and the value of each record of the state topic.
pub type Found<'a> = dyn FnMut(i32, &[u8], Option<&[u8]>) + 'a;

/// What stands in the state topic beside the users' records.
#[derive(Default)]
pub struct Restored {
    /// The end of each partition.
    pub ends: HashMap<i32, i64>,
    /// How many partitions the topics of requests had when the histories of a partition came there.
    pub counts: HashMap<(i32, String), i32>,
    /// The keys of records that somebody else erased, by partition, and which the service has not confirmed.
    pub erased: BTreeSet<(i32, Vec<u8>)>,
}

impl Restored {
    /// Takes up a record; returns whether it is of a user.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let (partition, key) = (message.partition(), message.key().unwrap_or_default());
        if let Some(count) = Count::read(key, message.payload()) {
            self.counts.insert((partition, count.topic), count.partitions);
            return false;
        }
        if message.payload().is_none() {
            let at = (partition, key.to_vec());
            match is_confirmation(message) {
                true => drop(self.erased.remove(&at)),
                false => drop(self.erased.insert(at)),
            }
        }
        true
    }
}

/// Returns whether a record without a value is the service's own.
pub fn is_confirmation(message: &BorrowedMessage<'_>) -> bool {
    message.headers().is_some_and(|headers| headers.iter().any(|header| header.key == ERASED))
}

/// Logs errors for debugging alone: the end of a partition counts as one, and real ones come with a poll as well.
pub struct Quiet;

impl Listener for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "restoring");
    }
}

impl ConsumerContext for Context<Quiet> {}

/// Reads the records that the state topic keeps for some of its partitions, each up to the end it has now.
///
/// Transactions that were open when the partitions changed hands are waited for: their records belong to offsets that
/// may be committed already.
///
/// # Errors
/// When the brokers cannot be asked, or an open transaction does not end.
pub fn restore(
    config: &KafkaConfig,
    topic: &str,
    partitions: &[i32],
    record: &mut Found<'_>,
) -> KafkaResult<Restored> {
    let mut restored = Restored::default();
    let [all, committed] =
        [false, true].map(|committed| reader(config, ClientKind::Restore { committed }, Quiet));
    let (all, committed) = (all?, committed?);
    let mut list = TopicPartitionList::new();
    let mut ends = HashMap::new();
    let deadline = Instant::now() + OPEN_TRANSACTIONS;
    for &partition in partitions {
        let (low, high) = all.fetch_watermarks(topic, partition, ASK)?;
        while committed.fetch_watermarks(topic, partition, ASK)?.1 < high {
            if Instant::now() > deadline {
                return Err(KafkaError::OffsetFetch(rdkafka::types::RDKafkaErrorCode::OperationTimedOut));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        restored.ends.insert(partition, high);
        if low < high {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
            ends.insert(partition, high);
        }
    }
    if ends.is_empty() {
        return Ok(restored);
    }
    committed.assign(&list)?;
    // The offset after the last record read, and the one at which the end was reported before.
    let (mut next, mut ended_at) = (HashMap::<i32, i64>::new(), HashMap::<i32, i64>::new());
    while !ends.is_empty() {
        match committed.poll(ASK) {
            Some(Ok(message)) => {
                if restored.take(&message) {
                    record(message.partition(), message.key().unwrap_or_default(), message.payload());
                }
                next.insert(message.partition(), message.offset() + 1);
                if ends.get(&message.partition()).is_some_and(|&end| message.offset() + 1 >= end) {
                    ends.remove(&message.partition());
                }
            }
            // The last records may be markers or of an aborted transaction, which readers never see. But a broker that
            // has just become the leader may serve fewer records than were there before: an end counts when it is
            // reported a second time at the same offset, after the leader said that it has all of them.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let Some(&end) = ends.get(&partition) else { continue };
                let at = next.get(&partition).copied().unwrap_or(0);
                if ended_at.insert(partition, at) == Some(at) {
                    ends.remove(&partition);
                    continue;
                }
                while committed.fetch_watermarks(topic, partition, ASK)?.1 < end {
                    if Instant::now() > deadline {
                        return Err(KafkaError::OffsetFetch(
                            rdkafka::types::RDKafkaErrorCode::OperationTimedOut,
                        ));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                let from = if at == 0 { Offset::Beginning } else { Offset::Offset(at) };
                committed.seek(topic, partition, from, ASK)?;
            }
            Some(Err(error)) if error.rdkafka_error_code().is_some() => tracing::debug!(%error, "restoring"),
            Some(Err(error)) => return Err(error),
            None => return Err(KafkaError::NoMessageReceived),
        }
    }
    Ok(restored)
}
