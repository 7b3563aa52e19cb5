//! The producing half of the transport: messages handed over, transactions, and what helps against their errors.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};

use super::client::{CALL, Deliveries, opaque, producer};
use super::transport::KafkaTransport;
use crate::Error;
use crate::event::Incoming;
use crate::flow::{Position, Trouble};
use crate::outbox::{Outbox, Outgoing, To};

/// A transaction that lived this long may have been ended by the brokers, who then call its producer fenced.
const TRANSACTION_LIFE: Duration = Duration::from_secs(9);

impl KafkaTransport {
    fn target(&self, to: To) -> Option<&str> {
        match to {
            To::Replies => Some(&self.config.replies),
            To::Rejects => Some(&self.config.rejects),
            To::Shadow => self.config.shadow.as_deref(),
            To::State => self.config.state.as_deref(),
            To::Receipts => self.config.receipts.as_deref(),
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
        let Some(topic) = self.target(message.to) else {
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
                        Some(Code::QueueFull) => self.producer.poll(Duration::from_millis(5)),
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
        let timed_out = self.transaction.is_some_and(|since| since.elapsed() > TRANSACTION_LIFE);
        if fenced && cause.is_fatal() && !timed_out {
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

    /// Repeats a call of the transaction protocol while the brokers ask for it.
    pub(super) fn insist(&self, mut call: impl FnMut() -> KafkaResult<()>) -> Result<(), Trouble> {
        let deadline = Instant::now() + CALL;
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(cause)) if cause.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(self.trouble(&error)),
            }
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
            self.insist(|| self.producer.send_offsets_to_transaction(&list, &group, CALL))?;
        }
        if let Err(error) = self.producer.flush(CALL) {
            return Err(self.trouble(&error));
        }
        self.last_arrived()?;
        self.insist(|| self.producer.commit_transaction(CALL))?;
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
        for (batch, event, text) in self.deliveries.refused() {
            let of_batch = self.sent.iter().find(|(number, _)| *number == batch);
            if let Some(&source) = of_batch.and_then(|(_, events)| events.get(event)) {
                self.poison.insert(source, text);
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
        self.producer = made.map_err(Trouble::Fatal)?;
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
