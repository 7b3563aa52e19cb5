//! The producing half of the transport: messages handed over, transactions, and what helps against their errors.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client::{ASK, CALL, POLL, SESSION, SLICE, client_id, producer};
use super::deliveries::{Deliveries, opaque};
use super::transport::KafkaTransport;
use crate::Error;
use crate::event::Incoming;
use crate::flow::{Position, Trouble};
use crate::outbox::{Outbox, Outgoing, To};

/// A call that did not come back after this long never will.
const HANGS: Duration = Duration::from_secs(12);

/// A process of our name would be in the group this soon after it fenced us.
const JOINED: Duration = Duration::from_secs(5);

impl KafkaTransport {
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

    /// Hands a message over; waits while the producer's queue is full. Gives why it can never be taken.
    pub(super) fn put(
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
            record.headers = headers(event, message);
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

    /// What helps against an error of the producer.
    pub(super) fn trouble(&self, error: &KafkaError) -> Trouble {
        let KafkaError::Transaction(cause) = error else {
            return match error.rdkafka_error_code() {
                // The state of the transaction says why.
                Some(Code::State | Code::Fatal) if self.exactly_once() => Trouble::Rebuild(error.to_string()),
                _ => Trouble::Abort(error.to_string()),
            };
        };
        let text = format!("{}: {}", cause.name(), cause.string());
        let fenced = matches!(cause.code(), Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
        if fenced && cause.is_fatal() && self.another_has_the_name() {
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

    /// Whether another process runs under this worker's name. Brokers say "fenced" as well where they have ended a
    /// transaction themselves, after it took too long or its coordinator went down; then nobody else is in the group
    /// under our client id. A former self that was killed is there until its session ends.
    fn another_has_the_name(&self) -> bool {
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

    /// Repeats a call of the transaction protocol while the brokers ask for it: for a while, and for a shorter while once
    /// the service stops. A call that ran out of time goes on where it was when it is repeated.
    pub(super) fn insist(&self, mut call: impl FnMut() -> KafkaResult<()>) -> Result<(), Trouble> {
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

    /// How long to wait for brokers.
    pub(super) fn patience(&self) -> Duration {
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
            // Sends what lingers; an error is only that not all is delivered at once.
            let _ = self.producer.flush(Duration::ZERO);
            self.producer.poll(POLL);
        }
        Ok(())
    }

    /// Adds the positions to the transaction. librdkafka 2.12 waits for the answer without end and can lose it when a
    /// coordinator goes down between the two steps of this call, so that a thread of its own waits: when nothing comes,
    /// that thread and its producer are given up, and a new one takes the name.
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
            // Nobody listens any more when it took too long.
            let _ = answer.send(result);
        });
        match answered.recv_timeout(patience.min(HANGS)) {
            Ok(result) => result.map_err(|error| self.trouble(&error)),
            Err(_) => Err(Trouble::Rebuild("no answer to the offsets of the transaction".into())),
        }
    }

    pub(super) fn commit_transaction(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        if self.transaction.is_none() {
            self.begin_transaction()?;
        }
        if !positions.is_empty() {
            let list = self.list(positions)?;
            let group = self.consumer.group_metadata();
            let group = group.ok_or_else(|| Trouble::Abort("the consumer is in no group".into()))?;
            self.send_offsets(list, group)?;
        }
        self.flush()?;
        self.last_arrived()?;
        self.insist(|| self.producer.commit_transaction(SLICE))?;
        self.transaction = None;
        Ok(())
    }

    pub(super) fn begin_transaction(&mut self) -> Result<(), Trouble> {
        self.producer.begin_transaction().map_err(|error| self.trouble(&error))?;
        self.transaction = Some(Instant::now());
        Ok(())
    }

    /// The last batch that has arrived with all before it. Remembers events that brokers refuse.
    pub(super) fn last_arrived(&mut self) -> Result<u64, Trouble> {
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

    /// A new producer under the same name.
    pub(super) fn rebuild(&mut self) -> Result<(), Trouble> {
        self.deliveries = Deliveries::default();
        let made = producer(&self.config, self.worker, self.deliveries.clone());
        self.producer = Arc::new(made.map_err(Trouble::Fatal)?);
        self.take_name().map_err(|error| Trouble::Rebuild(error.to_string()))
    }
}

/// The event's headers with the message's own; none makes none.
fn headers(event: &Incoming, message: &Outgoing) -> Option<OwnedHeaders> {
    let (kept, own) = (&event.headers, &message.headers);
    if kept.is_empty() && own.is_empty() {
        return None;
    }
    let mut headers = OwnedHeaders::new_with_capacity(kept.len() + own.len());
    for (key, value) in kept {
        headers = headers.insert(Header { key, value: value.as_ref() });
    }
    for (key, value) in own {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    Some(headers)
}
