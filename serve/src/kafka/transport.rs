//! The flow's transport over Kafka.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message};
use rdkafka::producer::{BaseProducer, Producer, PurgeConfig};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{ASK, CALL, POLL, SLICE};
use super::context::Context;
use super::deliveries::Deliveries;
use super::restore::{restore, start};
use super::watch::Watch;
use crate::config::{Guarantee, KafkaConfig};
use crate::event::{Headers, Incoming, Part};
use crate::flow::{Change, Position, Records, Refused, Transport, Trouble};
use crate::health::Health;
use crate::outbox::{Outbox, To};
use crate::{Error, Result};

/// A worker's consumer and producer.
pub struct KafkaTransport {
    pub(super) config: KafkaConfig,
    pub(super) worker: usize,
    pub(super) consumer: BaseConsumer<Context<Watch>>,
    pub(super) producer: Arc<BaseProducer<Context<Deliveries>>>,
    pub(super) deliveries: Deliveries,
    /// When the open transaction began.
    pub(super) transaction: Option<Instant>,
    /// The partitions that are read now.
    pub(super) owned: HashSet<Part>,
    /// The partitions whose begin was set by `from`: it counts once.
    pub(super) begun: HashSet<Part>,
    /// The partitions whose end was met.
    pub(super) ended: HashSet<i32>,
    /// The last positions that librdkafka was told to commit, at least once.
    pub(super) stored: HashMap<Part, Position>,
    /// The events of batches that may not have arrived.
    pub(super) sent: VecDeque<(u64, Vec<(Part, i64)>)>,
    pub(super) last_batch: u64,
    /// Events whose receipts, or whose other messages, the brokers refused for good.
    pub(super) poison: HashMap<(Part, i64, bool), String>,
    pub(super) health: Arc<Health>,
    pub(super) stop: Arc<AtomicBool>,
}

impl KafkaTransport {
    /// The partitions whose end was met since it was last asked.
    pub fn ended(&mut self) -> HashSet<i32> {
        std::mem::take(&mut self.ended)
    }

    pub(super) fn exactly_once(&self) -> bool {
        self.config.guarantee == Guarantee::ExactlyOnce
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

    pub(super) fn take_name(&mut self) -> KafkaResult<()> {
        if self.exactly_once() { self.producer.init_transactions(ASK) } else { Ok(()) }
    }

    fn topic(&self, part: Part) -> &str {
        &self.config.requests[usize::from(part.topic)]
    }

    /// The place of a topic in the config's list.
    fn place(&self, topic: &str) -> Option<u16> {
        Some(self.config.requests.iter().position(|known| known == topic)? as u16)
    }

    /// The place of a message's topic; where there is one topic, no name needs to be compared.
    fn place_of(&self, message: &BorrowedMessage<'_>) -> Option<u16> {
        if self.config.requests.len() == 1 { Some(0) } else { self.place(message.topic()) }
    }

    fn parts(&self, named: &[(String, i32)]) -> Vec<Part> {
        let part = |(topic, partition): &(String, i32)| {
            Some(Part { topic: self.place(topic)?, partition: *partition })
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

    fn names(&self, parts: &[Part]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(parts.len());
        for part in parts {
            list.add_partition(self.topic(*part), part.partition);
        }
        list
    }

    /// Leaves the group. What is not committed is read again by whoever comes next.
    pub fn close(self) {
        self.consumer.context().close();
        // librdkafka waits for the answer to each change that it told of.
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
        if self.transaction.is_some()
            && let Err(error) = self.producer.abort_transaction(SLICE)
        {
            tracing::debug!(%error, "aborting at the end");
        }
        drop(self.consumer);
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
        let (mut wait, mut now) = (wait, None);
        while into.len() < before + most {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let Some(topic) = self.place_of(&message) else { continue };
                    let part = Part { topic, partition: message.partition() };
                    let received = *now.get_or_insert_with(Instant::now);
                    let (key, payload) = (message.key(), message.payload());
                    let mut event = Incoming::new(received, part, message.offset(), key, payload);
                    event.timestamp_ms = message.timestamp().to_millis();
                    if let Some(headers) = message.headers() {
                        let owned = |header: Header<'_, &[u8]>| {
                            (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
                        };
                        event.headers = headers.iter().map(owned).collect::<Headers>();
                    }
                    into.push(event);
                    wait = Duration::ZERO;
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(Trouble::Fatal(Error::kafka("read")(error)));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ended.insert(partition);
                }
                Some(Err(error)) => {
                    self.consumer.context().heard(error, "");
                    break;
                }
            }
        }
        if into.len() > before {
            self.consumer.context().alive();
        }
        let mut changes = Vec::new();
        while let Some(pending) = self.consumer.context().next_change() {
            let parts = self.parts(&pending.parts);
            changes.push(match pending.assign {
                true => Change::Assigned(parts),
                false => Change::Revoked { parts, lost: self.consumer.assignment_lost() },
            });
        }
        Ok(changes)
    }

    fn positions(&mut self, parts: &[Part], record: &mut Records<'_>) -> Result<Vec<Position>, Trouble> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<(String, i32)> =
            parts.iter().map(|part| (self.topic(*part).to_owned(), part.partition)).collect();
        let fresh: Vec<(String, i32)> = parts
            .iter()
            .zip(&names)
            .filter(|(part, _)| !self.begun.contains(part))
            .map(|(_, name)| name.clone())
            .collect();
        let asked = self.names(parts);
        let found = self.until_done("find where to begin", |transport| {
            // First the offsets: they come only when no transaction holds them any more. The state that belongs to
            // them is then in its topic, behind at most the same transaction.
            let committed = transport.consumer.committed_offsets(asked.clone(), ASK)?;
            let started = start(&transport.consumer, &transport.config.from, &fresh)?;
            if let Some(topic) = &transport.config.state {
                let mut partitions: Vec<i32> = parts.iter().map(|part| part.partition).collect();
                partitions.sort_unstable();
                partitions.dedup();
                restore(&transport.config, topic, &partitions, &mut |partition, key, value| {
                    for part in parts.iter().filter(|part| part.partition == partition) {
                        record(*part, key, value);
                    }
                })?;
            }
            Ok((committed, started))
        });
        let Some((committed, started)) = found else {
            // The service stops. librdkafka must still be told to begin with what it gave, or it could not end either;
            // nothing is read any more, and nothing committed.
            return Ok(parts.iter().map(|part| (*part, None, String::new())).collect());
        };
        let positions = parts.iter().zip(&names).map(|(part, name)| {
            if let Some(Offset::Offset(offset)) = started.get(name) {
                return (*part, Some(*offset), String::new());
            }
            let element = committed.find_partition(&name.0, name.1);
            match element.as_ref().map(|element| (element.offset(), element.metadata().to_owned())) {
                Some((Offset::Offset(offset), metadata)) => (*part, Some(offset), metadata),
                _ => (*part, None, String::new()),
            }
        });
        let positions = positions.collect();
        self.begun.extend(parts);
        Ok(positions)
    }

    fn begin(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let list = self.list(positions)?;
        let told = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            _ => self.consumer.assign(&list),
        };
        self.owned.extend(positions.iter().map(|(part, ..)| *part));
        self.health.good(&self.who());
        told.map_err(|error| Trouble::Abort(format!("cannot begin to read: {error}")))
    }

    fn give_up(&mut self, parts: &[Part]) -> Result<(), Trouble> {
        let told = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_unassign(&self.names(parts)),
            _ => self.consumer.unassign(),
        };
        self.owned.retain(|part| !parts.contains(part));
        self.stored.retain(|part, _| !parts.contains(part));
        self.poison.retain(|(part, ..), _| !parts.contains(part));
        told.map_err(|error| Trouble::Abort(format!("cannot give partitions up: {error}")))
    }

    fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<Vec<Refused>, Trouble> {
        if self.exactly_once() && self.transaction.is_none() {
            self.begin_transaction()?;
        }
        if self.last_batch != batch {
            self.last_batch = batch;
            self.sent.push_back((batch, events.iter().map(|event| (event.part, event.offset)).collect()));
        }
        let mut refused: Vec<Refused> = Vec::new();
        // One more than there are, so that the batch is open until all of them are handed over.
        self.deliveries.add(batch, outbox.messages.len() + 1);
        for message in &outbox.messages {
            let event = &events[message.event as usize];
            let cut = message.to == To::Rejects && message.value.is_some();
            let text = match self.poison.get(&(event.part, event.offset, message.to == To::Receipts)) {
                Some(text) if !cut => {
                    self.deliveries.remove(batch, 1);
                    Some(text.clone())
                }
                _ => self.put(batch, message, event, outbox)?,
            };
            if let Some(text) = text
                && refused.iter().all(|known| known.event != message.event as usize)
            {
                refused.push(Refused { event: message.event as usize, text });
            }
        }
        self.deliveries.remove(batch, 1);
        self.producer.poll(Duration::ZERO);
        Ok(refused)
    }

    fn arrived(&mut self, wait: Duration) -> Result<u64, Trouble> {
        let deadline = Instant::now() + wait;
        self.producer.poll(Duration::ZERO);
        loop {
            let last = self.last_arrived()?;
            if last >= self.last_batch || Instant::now() >= deadline {
                return Ok(last);
            }
            self.producer.poll(POLL);
        }
    }

    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<(), Trouble> {
        if self.exactly_once() {
            return self.commit_transaction(positions);
        }
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
        self.sent.clear();
        self.producer.purge(PurgeConfig::default().queue().inflight());
        // The abort waits for what the purge left to be heard, which only polling hears.
        let begin = Instant::now();
        while self.producer.in_flight_count() > 0 && begin.elapsed() < self.patience() {
            self.producer.poll(POLL);
        }
        if rebuild {
            self.rebuild()?;
        } else if self.transaction.is_some() {
            self.insist(|| self.producer.abort_transaction(SLICE))?;
        }
        self.transaction = None;
        self.deliveries.reset(self.last_batch + 1);
        Ok(())
    }

    fn read_again(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let owned: Vec<Position> =
            positions.iter().filter(|(part, ..)| self.owned.contains(part)).cloned().collect();
        if owned.is_empty() {
            return Ok(());
        }
        let list = self.list(&owned)?;
        let parts: Vec<Part> = owned.iter().map(|(part, ..)| *part).collect();
        let sought = self.consumer.seek_partitions(list, CALL);
        let sought = sought.map_err(|error| Trouble::Abort(format!("cannot read again: {error}")))?;
        for element in sought.elements() {
            element.error().map_err(|error| Trouble::Abort(format!("cannot read again: {error}")))?;
        }
        self.pause(&parts, false)
    }

    fn pause(&mut self, parts: &[Part], paused: bool) -> Result<(), Trouble> {
        let list = self.names(parts);
        let told = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        told.map_err(|error| Trouble::Abort(error.to_string()))
    }
}
