//! The flow's transport over Kafka.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::begin::{begin, partitions};
use super::client::consumer;
use super::context::Context;
use super::histories::Histories;
use super::incoming::RequestTopics;
use super::messages::MessageQueue;
use super::places::LogPlaces;
use super::producing::ReplyProducer;
use super::sizes::TopicLimits;
use super::tail::StateTail;
use super::watch::{NamedEnd, Pending, Watch};
use crate::config::{Guarantee, KafkaConfig};
use crate::event::{Incoming, TopicPartition};
use crate::flow::{Change, End, Position, Records, Refused, Transport, Trouble};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::{Error, Result};

/// A worker's consumer and producer.
pub struct KafkaTransport {
    pub(super) config: KafkaConfig,
    worker: usize,
    pub(super) consumer: Arc<BaseConsumer<Context<Watch>>>,
    messages: MessageQueue,
    topics: RequestTopics,
    producer: ReplyProducer,
    /// The partitions that are read now.
    pub(super) owned: HashSet<TopicPartition>,
    /// The partitions whose end was reached.
    ended: HashSet<i32>,
    /// The last positions that librdkafka was told to commit, at least once.
    pub(super) stored: HashMap<TopicPartition, Position>,
    /// Where the partitions were begun, and what of their logs was gone by then.
    pub(super) log_places: LogPlaces,
    /// The ends of partitions that nobody has asked about since they were found.
    pub(super) ends: Vec<End>,
    pub(super) histories: Histories,
    health: Arc<Health>,
    stop: Arc<AtomicBool>,
}

impl KafkaTransport {
    /// Opens the transport of a worker that can join its group, which has begun with its topics; with exactly-once, the
    /// worker's transactional id is registered. Waits for brokers that are not there yet.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn open(
        config: &KafkaConfig,
        worker: usize,
        limits: TopicLimits,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let mut transport = Self::new(config, worker, limits, false, health, metrics, stop)?;
        let tail = config.state.as_ref().map(|topic| StateTail::new(config, topic)).transpose();
        transport.histories.tail = tail.map_err(Error::kafka("make a consumer"))?;
        transport.until_done("find where the group begins", |transport| {
            begin(&transport.consumer, &transport.config)
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

    /// Opens a transport that reads all partitions of the topics, whoever else reads them.
    ///
    /// # Errors
    /// When a setting is refused or the brokers do not say which there are.
    pub fn of_all(
        config: &KafkaConfig,
        limits: TopicLimits,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let transport = Self::new(config, 0, limits, true, health, metrics, stop)?;
        let mut parts = Vec::new();
        for topic in &config.requests {
            parts.extend(partitions(&transport.consumer, topic).map_err(Error::kafka("find partitions"))?);
        }
        transport.consumer.context().note(Pending { assign: true, parts });
        Ok(transport)
    }

    fn new(
        config: &KafkaConfig,
        worker: usize,
        limits: TopicLimits,
        tells_ends: bool,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let watch = Watch::new(&format!("worker {worker}"), Arc::clone(&health), metrics);
        let consumer = Arc::new(consumer(config, worker, tells_ends, watch)?);
        let mut transport = Self {
            producer: ReplyProducer::new(config, worker, limits, Arc::clone(&consumer), Arc::clone(&stop))?,
            messages: MessageQueue::new(Arc::clone(&consumer)).map_err(Error::kafka("make a consumer"))?,
            topics: RequestTopics::new(config),
            config: config.clone(),
            worker,
            consumer,
            owned: HashSet::new(),
            ended: HashSet::new(),
            stored: HashMap::new(),
            log_places: LogPlaces::default(),
            ends: Vec::new(),
            histories: Histories::default(),
            health,
            stop,
        };
        transport.until_done("initialise transactions", |transport| transport.producer.init_transactions());
        Ok(transport)
    }

    /// Returns the consumer, for questions about partitions.
    pub(super) fn consumer(&self) -> &BaseConsumer<Context<Watch>> {
        &self.consumer
    }

    /// Returns the partitions whose end was reached since it was last asked.
    pub fn ended(&mut self) -> HashSet<i32> {
        std::mem::take(&mut self.ended)
    }

    fn who(&self) -> String {
        format!("worker {}", self.worker)
    }

    /// Tries until it is done or the service stops; `/health/ready` says what is in the way.
    pub(super) fn until_done<R>(
        &mut self,
        what: &str,
        mut step: impl FnMut(&mut Self) -> KafkaResult<R>,
    ) -> Option<R> {
        let mut wait = Duration::from_millis(100);
        while !self.stop.load(Ordering::Relaxed) {
            match step(self) {
                Ok(done) => return Some(done),
                Err(error) => self.health.bad(&self.who(), Error::kafka(what)(error).to_string()),
            }
            let until = Instant::now() + wait;
            while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
            wait = (2 * wait).min(Duration::from_secs(5));
        }
        None
    }

    pub(super) fn topic(&self, part: TopicPartition) -> &str {
        self.topics.name(part)
    }

    fn parts(&self, named: &[(String, i32)]) -> Vec<TopicPartition> {
        let part = |(topic, partition): &(String, i32)| {
            Some(TopicPartition { topic: self.topics.place(topic)?, partition: *partition })
        };
        named.iter().filter_map(part).collect()
    }

    pub(super) fn list(&self, positions: &[Position]) -> Result<TopicPartitionList, Trouble> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (part, next, metadata) in positions {
            let offset = next.map_or(Offset::Beginning, Offset::Offset);
            let mut element = list.add_partition(self.topic(*part), part.partition);
            element.set_offset(offset).map_err(|error| Trouble::Abort(error.to_string()))?;
            element.set_metadata(metadata.as_str());
        }
        Ok(list)
    }

    /// Leaves the group. What is not committed is read again by whoever comes next.
    pub fn close(self) {
        self.consumer.context().close();
        // librdkafka waits for the answer to each rebalance that it reported.
        while let Some(change) = self.consumer.context().next_change() {
            let answered = match (self.consumer.rebalance_protocol(), change.assign) {
                (RebalanceProtocol::Cooperative, true) => {
                    self.consumer.incremental_assign(&TopicPartitionList::new())
                }
                (RebalanceProtocol::Cooperative, false) => {
                    self.consumer.incremental_unassign(&self.names(&self.parts(&change.parts)))
                }
                _ => self.consumer.unassign(),
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "a change of partitions at the end");
            }
        }
        self.producer.close();
    }
}

impl Transport for KafkaTransport {
    fn receive(
        &mut self,
        wait: Duration,
        most: usize,
        into: &mut Vec<Incoming>,
    ) -> Result<Vec<Change>, Trouble> {
        let before = into.len();
        // In whole milliseconds: of a part of one rdkafka makes a loop without a wait.
        let mut wait = Duration::from_millis(wait.as_nanos().div_ceil(1_000_000) as u64);
        let (mut errors, mut off) = (Vec::new(), HashMap::new());
        if most > 0 && !self.messages.is_empty() {
            let mut received = None;
            self.messages.take(wait, most, |message| match message.error() {
                Some(error) => {
                    off.extend(self.topics.part(message).map(|part| (part, message.offset())));
                    errors.push(error);
                }
                None => {
                    let received = *received.get_or_insert_with(Instant::now);
                    into.extend(self.topics.event(message, received));
                }
            });
            wait = Duration::ZERO;
        }
        while let Some(heard) = self.consumer.poll(wait) {
            match heard {
                Ok(message) => into.extend(self.topics.event(&message, Instant::now())),
                Err(error) => errors.push(error),
            }
            wait = Duration::ZERO;
        }
        let mut is_off = false;
        for error in errors {
            match error {
                KafkaError::MessageConsumptionFatal(_) => {
                    return Err(Trouble::Fatal(Error::kafka("read")(error)));
                }
                KafkaError::PartitionEOF(partition) => {
                    self.ended.insert(partition);
                }
                KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::LogTruncation) => is_off = true,
                error => self.consumer.context().heard(error, ""),
            }
        }
        if into.len() > before {
            self.consumer.context().alive();
        }
        let mut changes = Vec::new();
        if is_off {
            let renewed = self.find_again(&off)?;
            // What was read of them before is of no log any more.
            into.retain(|event| renewed.iter().all(|(part, ..)| *part != event.part));
            changes.extend((!renewed.is_empty()).then_some(Change::Renewed(renewed)));
        }
        self.look_at_counts()?;
        self.look_at_tail();
        let erased = self.histories.erased.drain(..).map(|(part, key)| Change::Erased { part, key });
        changes.extend(erased);
        while let Some(pending) = self.consumer.context().next_change() {
            let parts = self.parts(&pending.parts);
            changes.push(match pending.assign {
                true => Change::Assigned(parts),
                false => Change::Revoked { parts, lost: self.consumer.assignment_lost() },
            });
        }
        Ok(changes)
    }

    fn positions(
        &mut self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> Result<Vec<Position>, Trouble> {
        self.find_positions(parts, record)
    }

    fn partitions(&self, topic: u16) -> Option<i32> {
        self.histories.counts.get(self.config.requests.get(usize::from(topic))?).copied()
    }

    fn begin(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let list = self.list(positions)?;
        for (part, ..) in positions {
            let followed = self.messages.follow(*part, self.topics.name(*part));
            followed.map_err(|error| Trouble::Abort(format!("cannot begin to read: {error}")))?;
        }
        let told = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            _ => self.consumer.assign(&list),
        };
        // librdkafka keeps a pause beyond the assignment in which it was made.
        let told = told.and_then(|()| self.consumer.resume(&list));
        self.owned.extend(positions.iter().map(|(part, ..)| *part));
        self.log_places.began(positions);
        self.health.good(&self.who());
        told.map_err(|error| Trouble::Abort(format!("cannot begin to read: {error}")))
    }

    fn release(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble> {
        let told = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_unassign(&self.names(parts)),
            _ => self.consumer.unassign(),
        };
        self.owned.retain(|part| !parts.contains(part));
        self.messages.keep(|part| !parts.contains(&part));
        self.log_places.release(parts);
        self.leave_state();
        self.stored.retain(|part, _| !parts.contains(part));
        self.producer.release(parts);
        told.map_err(|error| Trouble::Abort(format!("cannot release partitions: {error}")))
    }

    fn ends(&mut self) -> Vec<End> {
        let heard = self.consumer.context().ends();
        let place = |((topic, partition), offset, is_read): NamedEnd| {
            let part = TopicPartition { topic: self.topics.place(&topic)?, partition };
            Some(End { part, offset, is_read })
        };
        let heard: Vec<End> = heard.into_iter().filter_map(place).collect();
        std::mem::take(&mut self.ends).into_iter().chain(heard).collect()
    }

    fn refused(&self, events: &[Incoming], outbox: &Outbox) -> Vec<Refused> {
        self.producer.refused(events, outbox)
    }

    fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<(), Trouble> {
        self.producer.send(batch, events, outbox)
    }

    fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble> {
        self.producer.delivered(wait)
    }

    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<(), Trouble> {
        if self.config.guarantee == Guarantee::ExactlyOnce {
            let list = if positions.is_empty() { None } else { Some(self.list(positions)?) };
            self.producer.commit(list)?;
            self.producer.committed(positions);
            return Ok(());
        }
        self.producer.committed(positions);
        // librdkafka commits what is stored by itself, again and again until it is there.
        self.stored.extend(positions.iter().map(|position| (position.0, position.clone())));
        let positions: Vec<Position> = self.stored.values().cloned().collect();
        if positions.is_empty() {
            return Ok(());
        }
        let list = self.list(&positions)?;
        let done = match wait {
            true => self.consumer.commit(&list, CommitMode::Sync),
            false => self.consumer.store_offsets(&list),
        };
        done.map_err(|error| Trouble::Later(error.to_string()))
    }

    fn abort(&mut self, rebuild: bool) -> Result<(), Trouble> {
        self.producer.abort(rebuild)
    }

    fn rewind(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let owned: Vec<Position> =
            positions.iter().filter(|(part, ..)| self.owned.contains(part)).cloned().collect();
        if owned.is_empty() {
            return Ok(());
        }
        let list = self.list(&owned)?;
        let parts: Vec<TopicPartition> = owned.iter().map(|(part, ..)| *part).collect();
        self.seek(list)?;
        self.log_places.began(&owned);
        self.pause(&parts, false)
    }

    fn pause(&mut self, parts: &[TopicPartition], paused: bool) -> Result<(), Trouble> {
        let list = self.names(parts);
        let told = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        told.map_err(|error| Trouble::Abort(error.to_string()))
    }
}
