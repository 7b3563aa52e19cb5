//! The delivery reports of a producer, and the wait for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, ProducerContext};

use super::context::{Context, Listener};
use super::refusals::MessageKind;

/// For how long a worker that waits for deliveries stays awake: healthy brokers answer in that time.
pub const AWAKE: Duration = Duration::from_millis(10);

/// Counts the messages of each batch that are not delivered yet.
#[derive(Clone, Default)]
pub struct Deliveries(Arc<Mutex<Undelivered>>);

#[derive(Default)]
struct Undelivered {
    /// The number of the first batch of `open`.
    first: u64,
    /// Messages of each batch that are not delivered; a batch that is still being sent counts one more.
    open: VecDeque<usize>,
    failed: Option<String>,
    refused: Vec<RefusedMessage>,
}

/// A message in a batch of the producer that brokers refused.
pub struct RefusedMessage {
    /// The number of the flow's batch.
    pub batch: u64,
    /// The event's index in it.
    pub event: usize,
    /// What it is.
    pub kind: MessageKind,
    /// Why it was refused.
    pub text: String,
}

impl Deliveries {
    /// Forgets all batches before `next`.
    pub fn reset(&self, next: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all = Undelivered { first: next, ..Undelivered::default() };
    }

    /// Counts messages of a batch that are sent.
    pub fn add(&self, batch: u64, messages: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.open.is_empty() && all.first < batch {
            all.first = batch;
        }
        let Some(at) = batch.checked_sub(all.first) else { return };
        if all.open.len() <= at as usize {
            all.open.resize(at as usize + 1, 0);
        }
        all.open[at as usize] += messages;
    }

    /// Counts messages of a batch that are delivered, or were not sent after all.
    pub fn remove(&self, batch: u64, messages: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = batch.wrapping_sub(all.first) as usize;
        if let Some(open) = all.open.get_mut(at) {
            *open = open.saturating_sub(messages);
        }
    }

    /// Returns the last batch that is delivered with all before it, or why one will never be.
    pub fn last(&self) -> Result<u64, String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = all.failed.take() {
            return Err(failed);
        }
        while all.open.front() == Some(&0) {
            all.open.pop_front();
            all.first += 1;
        }
        Ok(all.first.saturating_sub(1))
    }

    /// Takes the messages that brokers refused.
    pub fn refused(&self) -> Vec<RefusedMessage> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).refused)
    }
}

/// Packs a batch's number, the kind of a message and its event's index in the batch into the number that a delivery
/// report carries.
pub fn opaque(batch: u64, kind: MessageKind, event: usize) -> usize {
    ((batch as usize) << 24) | ((kind as usize) << 21) | (event & 0x1f_ffff)
}

/// Returns the batch, the kind and the index of the event that [`opaque`] packed.
pub fn unpack(opaque: usize) -> (u64, MessageKind, usize) {
    ((opaque >> 24) as u64, MessageKind::at(opaque >> 21 & 7), opaque & 0x1f_ffff)
}

impl Listener for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "producer");
    }
}

impl ProducerContext for Context<Deliveries> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (batch, kind, event) = unpack(opaque);
        if let Err((error, message)) = result {
            use RDKafkaErrorCode as Code;
            let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            let text = format!("{error} (topic {})", message.topic());
            if let Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord) =
                error.rdkafka_error_code()
            {
                all.refused.push(RefusedMessage { batch, event, kind, text: text.clone() });
            }
            // What was purged by an abort is no failure of its own.
            if !matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight)) {
                all.failed.get_or_insert(text);
            }
            return;
        }
        self.remove(batch, 1);
    }
}

/// Takes up what a producer delivers, as a caller does again and again since `begin`. At first it stays awake: rdkafka rounds what
/// is left of a time down to milliseconds, so that its `poll` of one never sleeps. Later it lets other threads work in between.
pub fn await_deliveries<C: ProducerContext>(producer: &BaseProducer<C>, begin: Instant) {
    if begin.elapsed() < AWAKE {
        producer.poll(Duration::from_millis(1));
    } else {
        producer.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_micros(500));
    }
}
