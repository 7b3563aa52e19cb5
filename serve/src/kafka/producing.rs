//! The producing half of the transport: messages, transactions, and the recovery from their errors.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client::{ASK, CALL, POLL, SESSION, SLICE, client_id, producer};
use super::context::Context;
use super::deliveries::{Deliveries, opaque};
use super::headers;
use super::watch::Watch;
use crate::config::{Guarantee, KafkaConfig};
use crate::event::{Incoming, TopicPartition};
use crate::flow::{Refused, Trouble};
use crate::outbox::{Outbox, Outgoing, To};
use crate::{Error, Result};

/// A call that has not returned after this long is given up.
const HANGS: Duration = Duration::from_secs(12);

/// How soon a process that took our transactional id, and so fenced us, is in the group.
const JOINED: Duration = Duration::from_secs(5);

/// A worker's producer, with what is in flight.
pub struct ReplyProducer {
    config: KafkaConfig,
    worker: usize,
    /// The worker's consumer, which knows who is in the group.
    consumer: Arc<BaseConsumer<Context<Watch>>>,
    producer: Arc<BaseProducer<Context<Deliveries>>>,
    deliveries: Deliveries,
    /// When the open transaction began.
    transaction: Option<Instant>,
    /// The events of batches that may not be delivered yet.
    sent: VecDeque<(u64, Vec<(TopicPartition, i64)>)>,
    last_batch: u64,
    /// Why brokers refused messages for good, by event and by whether the message was the event's receipt.
    poison: HashMap<(TopicPartition, i64, bool), String>,
    stop: Arc<AtomicBool>,
}

impl ReplyProducer {
    /// Makes the producer of a worker.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn new(
        config: &KafkaConfig,
        worker: usize,
        consumer: Arc<BaseConsumer<Context<Watch>>>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let deliveries = Deliveries::default();
        Ok(Self {
            config: config.clone(),
            worker,
            consumer,
            producer: Arc::new(producer(config, worker, deliveries.clone())?),
            deliveries,
            transaction: None,
            sent: VecDeque::new(),
            last_batch: 0,
            poison: HashMap::new(),
            stop,
        })
    }

    fn exactly_once(&self) -> bool {
        self.config.guarantee == Guarantee::ExactlyOnce
    }

    /// With exactly-once, registers the transactional id: a transaction that its predecessor left open is aborted,
    /// and the predecessor fenced.
    ///
    /// # Errors
    /// When the brokers do not answer in time; the call is to be repeated.
    pub fn init_transactions(&self) -> KafkaResult<()> {
        if self.exactly_once() { self.producer.init_transactions(ASK) } else { Ok(()) }
    }

    /// Hands the messages of a batch over; returns the events whose messages can never be taken.
    ///
    /// # Errors
    /// When nothing more can be taken.
    pub fn send(
        &mut self,
        batch: u64,
        events: &[Incoming],
        outbox: &Outbox,
    ) -> Result<Vec<Refused>, Trouble> {
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

    /// Waits up to `wait` until all that was sent is delivered; returns the last batch that is, with all before it.
    ///
    /// # Errors
    /// When something will never be delivered.
    pub fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble> {
        let deadline = Instant::now() + wait;
        self.producer.poll(Duration::ZERO);
        loop {
            let last = self.last_delivered()?;
            if last >= self.last_batch || Instant::now() >= deadline {
                return Ok(last);
            }
            self.producer.poll(POLL);
        }
    }

    /// Takes back all that was sent since the last commit; with `rebuild` by a new producer.
    ///
    /// # Errors
    /// When even that fails.
    pub fn abort(&mut self, rebuild: bool) -> Result<(), Trouble> {
        self.sent.clear();
        self.producer.purge(PurgeConfig::default().queue().inflight());
        // The abort waits for the delivery reports of purged messages, which only polling brings.
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

    /// Aborts an open transaction before the end.
    pub fn close(&self) {
        if self.transaction.is_some()
            && let Err(error) = self.producer.abort_transaction(SLICE)
        {
            tracing::debug!(%error, "aborting at the end");
        }
    }

    /// Forgets partitions that were revoked.
    pub fn release(&mut self, parts: &[TopicPartition]) {
        self.poison.retain(|(part, ..), _| !parts.contains(part));
    }

    fn target<'a>(&'a self, to: To, event: &'a Incoming) -> Option<&'a str> {
        match to {
            To::Replies => Some(&self.config.replies),
            To::Rejects => Some(&self.config.rejects),
            To::Shadow => self.config.shadow.as_deref(),
            To::State => self.config.state.as_deref(),
            To::Receipts => self.config.receipts.as_deref(),
            To::Requests => Some(event.header("burnrec-source")?.split('/').next()?),
        }
    }

    /// Hands a message over; waits while the producer's queue is full. Returns why it can never be taken.
    fn put(
        &self,
        batch: u64,
        message: &Outgoing,
        event: &Incoming,
        outbox: &Outbox,
    ) -> Result<Option<String>, Trouble> {
        let Some(topic) = self.target(message.to, event) else {
            self.deliveries.remove(batch, 1);
            return Ok(None);
        };
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, opaque(batch, message.event as usize));
        record.key = match &message.key {
            Some(range) => Some(&outbox.bytes[range.clone()]),
            None => event.key(),
        };
        record.payload = outbox.value(message).or(event.payload().filter(|_| message.value.is_none()));
        if message.to == To::State {
            record.partition = Some(event.part.partition);
        } else {
            record.headers = headers::write(event, message);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(None),
                Err((error, back)) => {
                    record = back;
                    match error.rdkafka_error_code() {
                        Some(Code::QueueFull) => self.producer.poll(POLL),
                        Some(Code::MessageSizeTooLarge) => {
                            self.deliveries.remove(batch, 1);
                            return Ok(Some(format!("{error}; expected at most message.max.bytes")));
                        }
                        _ => return Err(self.trouble(&error)),
                    }
                }
            }
        }
    }

    /// Returns how the flow recovers from an error of the producer.
    fn trouble(&self, error: &KafkaError) -> Trouble {
        let KafkaError::Transaction(cause) = error else {
            return match error.rdkafka_error_code() {
                // The producer's state allows nothing more: only a new producer helps.
                Some(Code::State | Code::Fatal) if self.exactly_once() => Trouble::Rebuild(error.to_string()),
                _ => Trouble::Abort(error.to_string()),
            };
        };
        let text = format!("{}: {}", cause.name(), cause.string());
        let fenced = matches!(cause.code(), Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
        if fenced && cause.is_fatal() && self.is_id_taken() {
            return Trouble::Fatal(Error::Fenced {
                group: self.config.group.clone(),
                instance: self.config.instance.clone().unwrap_or_default(),
            });
        }
        if cause.txn_requires_abort() && !cause.is_fatal() {
            Trouble::Abort(text)
        } else {
            Trouble::Rebuild(text)
        }
    }

    /// Returns whether another process runs under this worker's transactional id. Brokers say "fenced" as well where
    /// they have ended a transaction themselves, after it took too long or its coordinator went down; then no other
    /// member of the group has our client id. A predecessor that was killed stays a member until its session ends.
    fn is_id_taken(&self) -> bool {
        let (begin, name) = (Instant::now(), client_id(&self.config, self.worker));
        let mut alone = None;
        while begin.elapsed() < SESSION + JOINED && !self.stop.load(Ordering::Relaxed) {
            if let Ok(groups) = self.consumer.fetch_group_list(Some(&self.config.group), ASK) {
                let members = groups.groups().iter().flat_map(|group| group.members());
                match members.filter(|member| member.client_id() == name).count() {
                    0 | 1 => {
                        if alone.get_or_insert_with(Instant::now).elapsed() > JOINED {
                            return false;
                        }
                    }
                    _ => alone = None,
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        alone.is_none()
    }

    /// Repeats a call of the transaction protocol while the brokers ask for it: for a while, and for a shorter while
    /// once the service stops. A call that ran out of time goes on where it was when it is repeated.
    fn insist(&self, mut call: impl FnMut() -> KafkaResult<()>) -> Result<(), Trouble> {
        let begin = Instant::now();
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(cause))
                    if cause.is_retriable() && begin.elapsed() < self.patience() =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(self.trouble(&error)),
            }
        }
    }

    /// Returns how long to wait for brokers.
    fn patience(&self) -> Duration {
        match self.stop.load(Ordering::Relaxed) {
            true => Duration::from_millis(self.config.drain_timeout_ms / 4),
            false => CALL,
        }
    }

    /// Waits until all that was sent is delivered or failed.
    fn flush(&self) -> Result<(), Trouble> {
        let begin = Instant::now();
        while self.producer.in_flight_count() > 0 {
            if begin.elapsed() > self.patience() {
                return Err(Trouble::Abort(format!(
                    "{} messages are not delivered",
                    self.producer.in_flight_count()
                )));
            }
            // Sends what lingers; an error only means that not all is delivered at once.
            let _ = self.producer.flush(Duration::ZERO);
            self.producer.poll(POLL);
        }
        Ok(())
    }

    /// Adds the positions to the transaction. librdkafka 2.12 waits for the answer without end and can lose it when a
    /// coordinator goes down between the two steps of this call, so that a thread of its own waits: when nothing comes,
    /// that thread and its producer are given up, and a new one registers the transactional id.
    fn send_offsets(&self, list: TopicPartitionList, group: ConsumerGroupMetadata) -> Result<(), Trouble> {
        let (answer, answered) = mpsc::channel();
        let (producer, patience) = (Arc::clone(&self.producer), self.patience());
        std::thread::spawn(move || {
            let begin = Instant::now();
            let result = loop {
                match producer.send_offsets_to_transaction(&list, &group, SLICE) {
                    Err(KafkaError::Transaction(cause))
                        if cause.is_retriable() && begin.elapsed() < patience =>
                    {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    result => break result,
                }
            };
            // An error means that the call took too long, so that nobody waits for it.
            let _ = answer.send(result);
        });
        match answered.recv_timeout(patience.min(HANGS)) {
            Ok(result) => result.map_err(|error| self.trouble(&error)),
            Err(_) => Err(Trouble::Rebuild("no answer to the offsets of the transaction".into())),
        }
    }

    /// Commits the transaction with these positions in it.
    ///
    /// # Errors
    /// When nothing of it is committed.
    pub fn commit(&mut self, positions: Option<TopicPartitionList>) -> Result<(), Trouble> {
        if self.transaction.is_none() {
            self.begin_transaction()?;
        }
        if let Some(list) = positions {
            let group = self.consumer.group_metadata();
            let group = group.ok_or_else(|| Trouble::Abort("the consumer is in no group".into()))?;
            self.send_offsets(list, group)?;
        }
        self.flush()?;
        self.last_delivered()?;
        self.insist(|| self.producer.commit_transaction(SLICE))?;
        self.transaction = None;
        Ok(())
    }

    fn begin_transaction(&mut self) -> Result<(), Trouble> {
        self.producer.begin_transaction().map_err(|error| self.trouble(&error))?;
        self.transaction = Some(Instant::now());
        Ok(())
    }

    /// Returns the last batch that is delivered with all before it. Remembers events that brokers refuse.
    fn last_delivered(&mut self) -> Result<u64, Trouble> {
        for (batch, event, topic, text) in self.deliveries.refused() {
            let of_batch = self.sent.iter().find(|(number, _)| *number == batch);
            if let Some(&(part, offset)) = of_batch.and_then(|(_, events)| events.get(event)) {
                let is_receipt = self.config.receipts.as_ref() == Some(&topic);
                self.poison.insert((part, offset, is_receipt), text);
            }
        }
        let last = self.deliveries.last().map_err(Trouble::Abort)?.min(self.last_batch);
        while self.sent.front().is_some_and(|(batch, _)| *batch <= last) {
            self.sent.pop_front();
        }
        Ok(last)
    }

    /// Makes a new producer with the same transactional id.
    fn rebuild(&mut self) -> Result<(), Trouble> {
        self.deliveries = Deliveries::default();
        let made = producer(&self.config, self.worker, self.deliveries.clone());
        self.producer = Arc::new(made.map_err(Trouble::Fatal)?);
        self.init_transactions().map_err(|error| Trouble::Rebuild(error.to_string()))
    }
}
