//! A compacted topic of one partition that holds what instances of a group keep in common.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::begin::partitions;
use super::client::{ClientKind, metadata_reader, reader, settings};
use super::context::{Context, Listener};
use super::restore::{Quiet, restore};
use super::sizes::TopicLimits;
use crate::config::KafkaConfig;
use crate::{Error, Result};

/// A key with its value; none where it is forgotten.
pub type Kept = (Vec<u8>, Option<Vec<u8>>);

/// The topic, read to its end and followed from there.
pub struct KeptTopic {
    topic: String,
    producer: ThreadedProducer<Context<Writes>>,
    consumer: BaseConsumer<Context<Quiet>>,
}

/// Logs what is not delivered; whoever needs to know whether it was reads it again.
struct Writes;

impl Listener for Writes {}

impl ProducerContext for Context<Writes> {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            tracing::warn!(%error, topic = message.topic(), "not written");
        }
    }
}

impl KeptTopic {
    /// Reads a topic; returns what it holds in the order in which it was written.
    ///
    /// # Errors
    /// When the brokers do not answer, or the topic is none that keeps.
    pub fn open(config: &KafkaConfig, topic: &str) -> Result<(Self, Vec<Kept>)> {
        let asked = metadata_reader(config, Quiet)?;
        let n = partitions(&asked, topic).map_err(Error::kafka(format!("find {topic}")))?.len();
        if n != 1 {
            let expected = "one: the order of its records is that of the versions".to_owned();
            return Err(Error::Topics { found: format!("{n} partitions of {topic}"), expected });
        }
        TopicLimits::check_compacted(config, topic)?;
        let mut all = Vec::new();
        let restored = restore(config, topic, &[0], &mut |_, key, value| {
            all.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        });
        let restored = restored.map_err(Error::kafka(format!("read {topic}")))?;
        let end = restored.ends.get(&0).copied().unwrap_or(0);
        let consumer = reader(config, ClientKind::Follow, Quiet).map_err(Error::kafka("make a consumer"))?;
        let mut list = TopicPartitionList::new();
        let assigned = list.add_partition_offset(topic, 0, Offset::Offset(end));
        let followed = assigned.and_then(|()| consumer.assign(&list));
        followed.map_err(Error::kafka(format!("follow {topic}")))?;
        let client = settings(config, ClientKind::Upkeep { transactional: false });
        let producer = ThreadedProducer::from_config_and_context(&client, Context(Writes));
        let producer = producer.map_err(Error::kafka("make a producer"))?;
        Ok((Self { topic: topic.to_owned(), producer, consumer }, all))
    }

    /// Returns the topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Writes a value under a key, or forgets the key; does not wait.
    ///
    /// # Errors
    /// When it is not even taken.
    pub fn put(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        let record = BaseRecord::<str, [u8]>::to(&self.topic).partition(0).key(key);
        let record = match value {
            Some(value) => record.payload(value),
            None => record,
        };
        let sent = self.producer.send(record).map_err(|(error, _): (KafkaError, _)| error);
        sent.map_err(Error::kafka(format!("write into {}", self.topic)))
    }

    /// Waits until what was put is delivered, or a moment has passed.
    pub fn flush(&self, moment: Duration) {
        if let Err(error) = self.producer.flush(moment) {
            tracing::debug!(%error, "what was put is not delivered");
        }
    }

    /// Returns what came since it was last asked.
    pub fn take(&self) -> Vec<Kept> {
        let mut all = Vec::new();
        while let Some(message) = self.consumer.poll(Duration::ZERO) {
            match message {
                Ok(message) => {
                    let key = message.key().unwrap_or_default().to_vec();
                    all.push((key, message.payload().map(<[u8]>::to_vec)));
                }
                Err(error) => {
                    tracing::debug!(%error, topic = self.topic, "following");
                    break;
                }
            }
        }
        all
    }
}
