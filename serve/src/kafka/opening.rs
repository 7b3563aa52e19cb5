//! How a transport begins: in a group, or with all partitions.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client::{ASK, CALL, consumer, producer};
use super::deliveries::Deliveries;
use super::transport::KafkaTransport;
use super::watch::{Pending, Watch};
use crate::config::KafkaConfig;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::{Error, Result};

impl KafkaTransport {
    /// Of a worker that can join its group; with exactly-once, it has taken its name. Waits for brokers that are not there
    /// yet.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn open(
        config: &KafkaConfig,
        worker: usize,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut transport = Self::new(config, worker, false, health, metrics, stop)?;
        // No offsets are asked for: the answer says that the group's coordinator is there.
        transport.until_done("reach the group's coordinator", |transport| {
            transport.consumer.committed_offsets(TopicPartitionList::new(), ASK)
        });
        Ok(transport)
    }

    /// Joins the group.
    ///
    /// # Errors
    /// When a topic's name is refused.
    pub fn join(&self) -> Result<()> {
        let topics: Vec<&str> = self.config.requests.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(Error::kafka("subscribe"))
    }

    /// Takes all partitions of the topics, whoever else reads them.
    ///
    /// # Errors
    /// When a setting is refused or the brokers do not say which there are.
    pub fn of_all(
        config: &KafkaConfig,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let transport = Self::new(config, 0, true, health, metrics, stop)?;
        let mut parts = Vec::new();
        for topic in &config.requests {
            let found = transport
                .consumer
                .fetch_metadata(Some(topic), CALL)
                .map_err(Error::kafka("find partitions"))?;
            let partitions = found.topics().iter().flat_map(|topic| topic.partitions());
            parts.extend(partitions.map(|partition| (topic.clone(), partition.id())));
        }
        transport.consumer.context().note(Pending { assign: true, parts });
        Ok(transport)
    }

    fn new(
        config: &KafkaConfig,
        worker: usize,
        tells_ends: bool,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let who = format!("worker {worker}");
        let deliveries = Deliveries::default();
        let consumer = consumer(config, worker, tells_ends, Watch::new(&who, Arc::clone(&health), metrics))?;
        let producer = Arc::new(producer(config, worker, deliveries.clone())?);
        let mut transport = Self {
            config: config.clone(),
            worker,
            consumer,
            producer,
            deliveries,
            transaction: None,
            owned: HashSet::new(),
            begun: HashSet::new(),
            ended: HashSet::new(),
            stored: HashMap::new(),
            sent: VecDeque::new(),
            last_batch: 0,
            poison: HashMap::new(),
            health,
            stop,
        };
        transport.until_done("take its name", |transport| transport.take_name());
        Ok(transport)
    }
}
