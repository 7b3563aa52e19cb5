//! The producing half of the transport: what was sent, delivered and refused.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};

use super::client::{CALL, ClientKind, SLICE, settings};
use super::context::Context;
use super::deliveries::{AWAKE, Deliveries, RefusedMessage, await_deliveries, opaque, unpack};
use super::headers;
use super::outgoing::{is_plain, kept, key, size, topic_of, value};
use super::produce_batch::{ProducerTopics, Waiting, topic};
use super::refusals::{MessageKind, Refusals};
use super::sizes::TopicLimits;
use super::watch::Watch;
use crate::config::{Guarantee, KafkaConfig};
use crate::event::{Incoming, TopicPartition};
use crate::flow::{Position, Refused, Trouble};
use crate::outbox::{Outbox, Outgoing, To};
use crate::{Error, Result};

/// A worker's producer, with what is in flight.
pub struct ReplyProducer {
    pub(super) config: KafkaConfig,
    pub(super) worker: usize,
    /// The worker's consumer, which knows who is in the group.
    pub(super) consumer: Arc<BaseConsumer<Context<Watch>>>,
    topics: ProducerTopics,
    pub(super) producer: Arc<BaseProducer<Context<Deliveries>>>,
    pub(super) deliveries: Deliveries,
    /// When the open transaction began.
    pub(super) transaction: Option<Instant>,
    /// The events of batches that may not be delivered yet.
    pub(super) sent: VecDeque<(u64, Vec<(TopicPartition, i64)>)>,
    pub(super) last_batch: u64,
    pub(super) refusals: Refusals,
    pub(super) limits: TopicLimits,
    /// Whether a batch was refused since the limits were asked for.
    pub(super) limits_are_old: bool,
    pub(super) stop: Arc<AtomicBool>,
}

impl ReplyProducer {
    /// Makes the producer of a worker.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn new(
        config: &KafkaConfig,
        worker: usize,
        limits: TopicLimits,
        consumer: Arc<BaseConsumer<Context<Watch>>>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let deliveries = Deliveries::default();
        Ok(Self {
            config: config.clone(),
            worker,
            consumer,
            topics: ProducerTopics::new(),
            producer: Arc::new(producer(config, worker, &limits, deliveries.clone())?),
            deliveries,
            transaction: None,
            sent: VecDeque::new(),
            last_batch: 0,
            refusals: Refusals::default(),
            limits,
            limits_are_old: false,
            stop,
        })
    }

    pub(super) fn exactly_once(&self) -> bool {
        self.config.guarantee == Guarantee::ExactlyOnce
    }

    /// Returns the messages that are too large for their topics, and those that were refused alone before.
    pub fn refused(&self, events: &[Incoming], outbox: &Outbox) -> Vec<Refused> {
        let least = self.limits.least();
        let why = |message: &Outgoing| {
            let (event, kind) = (&events[message.event as usize], MessageKind::of(message));
            if let Some(text) = self.refusals.why(event.part, event.offset, kind) {
                return Some(text.clone());
            }
            let bytes = size(event, message);
            if bytes <= least || kind == MessageKind::CutReject {
                return None;
            }
            let topic = self.target(message.to, event)?;
            let most = self.limits.most(topic)?;
            (bytes > most).then(|| format!("{bytes} bytes; expected at most {most}, as {topic} takes"))
        };
        let refused = |(at, message)| Some(Refused { message: at, text: why(message)? });
        outbox.messages.iter().enumerate().filter_map(refused).collect()
    }

    /// Hands the messages of a batch over.
    ///
    /// # Errors
    /// When one cannot be taken.
    pub fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<(), Trouble> {
        if self.exactly_once() && self.transaction.is_none() {
            self.begin_transaction()?;
        }
        if self.last_batch != batch {
            self.last_batch = batch;
            self.sent.push_back((batch, events.iter().map(|event| (event.part, event.offset)).collect()));
        }
        // One more than there are, so that the batch is open until all of them are handed over.
        self.deliveries.add(batch, outbox.messages.len() + 1);
        let mut waiting = Waiting::default();
        for message in &outbox.messages {
            let event = &events[message.event as usize];
            let is_suspect = self.refusals.is_suspect(event.part, event.offset);
            if !is_suspect && is_plain(event, message) {
                let partition = (message.to == To::State).then_some(event.part.partition);
                let opaque = opaque(batch, MessageKind::of(message), message.event as usize);
                let (key, value) = (key(event, message, outbox), value(event, message, outbox));
                waiting.add((message.to, partition), key, value, opaque);
                continue;
            }
            // What came before for the same topic goes before it.
            self.hand_over(&mut waiting, events)?;
            if is_suspect {
                self.arrive()?;
            }
            self.put(batch, message, event, outbox)?;
            if is_suspect {
                self.arrive()?;
            }
        }
        self.hand_over(&mut waiting, events)?;
        self.deliveries.remove(batch, 1);
        self.producer.poll(Duration::ZERO);
        Ok(())
    }

    /// Waits until all that was sent is delivered, so that the next message is in a batch of its own.
    fn arrive(&mut self) -> Result<(), Trouble> {
        self.flush()?;
        self.last_delivered().map(drop)
    }

    /// Waits up to `wait` until all that was sent is delivered; returns the last batch that is, with all before it.
    ///
    /// # Errors
    /// When something will never be delivered.
    pub fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble> {
        let begin = Instant::now();
        self.producer.poll(Duration::ZERO);
        loop {
            let last = self.last_delivered()?;
            if last >= self.last_batch || begin.elapsed() >= wait {
                return Ok(last);
            }
            await_deliveries(&self.producer, begin);
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
            await_deliveries(&self.producer, begin);
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
        self.refusals.release(parts);
    }

    /// Forgets what is known of events that are committed.
    pub fn committed(&mut self, positions: &[Position]) {
        self.refusals.committed(positions);
    }

    fn target<'a>(&'a self, to: To, event: &'a Incoming) -> Option<&'a str> {
        match to {
            To::Requests => Some(event.header("burnrec-source")?.split('/').next()?),
            to => topic_of(&self.config, to),
        }
    }

    /// Hands over the messages that wait; waits while the producer's queue is full, for as long as brokers may take.
    fn hand_over(&mut self, waiting: &mut Waiting<'_>, events: &[Incoming]) -> Result<(), Trouble> {
        while let Some(mut messages) = waiting.next() {
            let name = topic_of(&self.config, messages.to).unwrap_or_default();
            let topic = topic(&mut self.topics, &self.producer, name);
            let topic = topic.map_err(|error| Trouble::Abort(error.to_string()))?;
            let begin = Instant::now();
            while let Err((opaque, code)) = messages.hand_over(&topic) {
                let (error, (_, kind, event)) = (KafkaError::MessageProduction(code), unpack(opaque));
                if let Err(trouble) = self.await_room(&error, begin) {
                    self.note_size(&error, &events[event], kind);
                    return Err(trouble);
                }
            }
        }
        Ok(())
    }

    /// Waits a moment where a message was not taken because the queue is full.
    ///
    /// # Errors
    /// When it was not taken for another reason, or the queue stays full for longer than brokers may take.
    fn await_room(&self, error: &KafkaError, begin: Instant) -> Result<(), Trouble> {
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) if begin.elapsed() > self.patience() => {
                Err(Trouble::Abort("the producer's queue stays full".into()))
            }
            Some(Code::QueueFull) => {
                await_deliveries(&self.producer, begin);
                Ok(())
            }
            Some(Code::MessageSizeTooLarge) => Err(Trouble::Abort(error.to_string())),
            _ => Err(self.trouble(error)),
        }
    }

    /// Notes that a message is never taken, where it is too large for the producer.
    fn note_size(&mut self, error: &KafkaError, event: &Incoming, kind: MessageKind) {
        if error.rdkafka_error_code() == Some(Code::MessageSizeTooLarge) {
            let text = format!("{error}; expected at most message.max.bytes");
            self.refusals.refuse(event.part, event.offset, kind, text);
        }
    }

    /// Hands a message over; waits while the producer's queue is full, for as long as brokers may take.
    fn put(
        &mut self,
        batch: u64,
        message: &Outgoing,
        event: &Incoming,
        outbox: &Outbox,
    ) -> Result<(), Trouble> {
        let Some(topic) = self.target(message.to, event) else {
            self.deliveries.remove(batch, 1);
            return Ok(());
        };
        let kind = MessageKind::of(message);
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, opaque(batch, kind, message.event as usize));
        record.key = key(event, message, outbox);
        record.payload = value(event, message, outbox);
        if message.to == To::State {
            record.partition = Some(event.part.partition);
        }
        record.headers = headers::write(kept(event, message), message);
        if let (MessageKind::CutReject, Some(most)) = (kind, self.limits.most(topic)) {
            let over = size(event, message).saturating_sub(most);
            let value = outbox.value(message).unwrap_or_default();
            record.payload = Some(&value[..value.len().saturating_sub(over)]);
            if over > value.len() {
                // Not even the event's key and headers fit.
                (record.key, record.headers) = (None, headers::write(&[], message));
            }
        }
        let begin = Instant::now();
        let (error, trouble) = loop {
            let Err((error, back)) = self.producer.send(record) else { return Ok(()) };
            record = back;
            if let Err(trouble) = self.await_room(&error, begin) {
                break (error, trouble);
            }
        };
        self.note_size(&error, event, kind);
        Err(trouble)
    }

    /// Returns how long to wait for brokers.
    pub(super) fn patience(&self) -> Duration {
        match self.stop.load(Ordering::Relaxed) {
            true => Duration::from_millis(self.config.drain_timeout_ms / 4),
            false => CALL,
        }
    }

    /// Waits until all that was sent is delivered or failed.
    pub(super) fn flush(&self) -> Result<(), Trouble> {
        let begin = Instant::now();
        let mut pushed = begin;
        while self.producer.in_flight_count() > 0 {
            if begin.elapsed() > self.patience() {
                return Err(Trouble::Abort(format!(
                    "{} messages are not delivered",
                    self.producer.in_flight_count()
                )));
            }
            // Sends what lingers; an error only means that not all is delivered at once. Each call wakes the threads of
            // all brokers, so that it is made seldom while one of them is away.
            if begin.elapsed() < AWAKE || pushed.elapsed() > 5 * AWAKE {
                let _ = self.producer.flush(Duration::ZERO);
                pushed = Instant::now();
            }
            await_deliveries(&self.producer, begin);
        }
        Ok(())
    }

    /// Returns the last batch that is delivered with all before it. Remembers events that brokers refuse.
    pub(super) fn last_delivered(&mut self) -> Result<u64, Trouble> {
        let mut has_suspects = false;
        for RefusedMessage { batch, event, kind, text } in self.deliveries.refused() {
            let of_batch = self.sent.iter().find(|(number, _)| *number == batch);
            if let Some(&(part, offset)) = of_batch.and_then(|(_, events)| events.get(event)) {
                has_suspects |= self.refusals.note(part, offset, kind, text);
            }
        }
        self.limits_are_old |= has_suspects;
        let last = self.deliveries.last().map_err(|text| match has_suspects {
            // The batches of a new producer keep under the limits as they are now.
            true => Trouble::Rebuild(text),
            false => Trouble::Abort(text),
        })?;
        let last = last.min(self.last_batch);
        while self.sent.front().is_some_and(|(batch, _)| *batch <= last) {
            self.sent.pop_front();
        }
        Ok(last)
    }

    /// Makes a new producer with the same transactional id.
    fn rebuild(&mut self) -> Result<(), Trouble> {
        if std::mem::take(&mut self.limits_are_old) {
            self.limits = TopicLimits::ask(&self.config);
        }
        self.deliveries = Deliveries::default();
        self.topics.clear();
        let made = producer(&self.config, self.worker, &self.limits, self.deliveries.clone());
        self.producer = Arc::new(made.map_err(Trouble::Fatal)?);
        self.init_transactions().map_err(|error| Trouble::Rebuild(error.to_string()))
    }
}

/// Makes the idempotent producer of a worker; with exactly-once it is transactional, under the worker's own id.
///
/// # Errors
/// When a setting is refused.
fn producer(
    config: &KafkaConfig,
    worker: usize,
    limits: &TopicLimits,
    deliveries: Deliveries,
) -> Result<BaseProducer<Context<Deliveries>>> {
    let mut client = settings(config, ClientKind::Replies { worker });
    limits.bound(&mut client);
    let made = BaseProducer::from_config_and_context(&client, Context(deliveries));
    let producer = made.map_err(Error::kafka("make a producer"))?;
    producer.poll(Duration::ZERO); // Brings the OAUTHBEARER token, as for a consumer.
    Ok(producer)
}
