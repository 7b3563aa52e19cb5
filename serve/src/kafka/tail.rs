//! Follows the state topic for records that somebody else erases while the service runs.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{ClientKind, reader};
use super::context::Context;
use super::restore::{Quiet, is_confirmation};
use crate::config::KafkaConfig;

/// How many records are read at once: more than a batch of the flow writes.
const MOST: usize = 4096;

/// Reads on in the partitions of the state topic where the restore ended.
pub struct StateTail {
    consumer: BaseConsumer<Context<Quiet>>,
    topic: String,
    next: BTreeMap<i32, i64>,
}

impl StateTail {
    /// Makes the reader of a state topic.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn new(config: &KafkaConfig, topic: &str) -> KafkaResult<Self> {
        let consumer = reader(config, ClientKind::Follow, Quiet)?;
        Ok(Self { consumer, topic: topic.to_owned(), next: BTreeMap::new() })
    }

    /// Reads on in partitions from their ends.
    ///
    /// # Errors
    /// When the call fails.
    pub fn follow(&mut self, ends: &HashMap<i32, i64>) -> KafkaResult<()> {
        self.next.extend(ends);
        self.assign()
    }

    /// Leaves all partitions but these.
    ///
    /// # Errors
    /// When the call fails.
    pub fn keep(&mut self, is_kept: impl Fn(i32) -> bool) -> KafkaResult<()> {
        self.next.retain(|partition, _| is_kept(*partition));
        self.assign()
    }

    fn assign(&self) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(self.next.len());
        for (&partition, &next) in &self.next {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(next))?;
        }
        self.consumer.assign(&list)
    }

    /// Returns the partitions and keys of records that somebody else erased since it was last asked.
    pub fn erased(&mut self) -> Vec<(i32, Vec<u8>)> {
        let mut erased = Vec::new();
        for _ in 0..MOST {
            match self.consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    self.next.insert(message.partition(), message.offset() + 1);
                    if message.payload().is_none() && !is_confirmation(&message) {
                        erased.push((message.partition(), message.key().unwrap_or_default().to_vec()));
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "following the state topic");
                    break;
                }
            }
        }
        erased
    }
}
