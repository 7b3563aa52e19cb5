//! The producer of what the service writes into the state topic for itself: counts, and histories that move.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::client::{CALL, ClientKind, settings};
use super::context::{Context, Listener};
use super::deliveries::await_deliveries;
use super::sizes::TopicLimits;
use crate::config::KafkaConfig;
use crate::{Error, Result};

/// A producer that writes all or says what it could not.
pub struct Upkeep {
    producer: BaseProducer<Context<Failures>>,
    failures: Failures,
}

/// The first message that was not delivered.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Option<String>>>);

impl Listener for Failures {}

impl ProducerContext for Context<Failures> {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut first = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| format!("{error} (topic {})", message.topic()));
        }
    }
}

impl Upkeep {
    /// Makes the producer; with `transactional` what is sent is there at a commit.
    ///
    /// # Errors
    /// When a setting is refused, or the brokers do not answer.
    pub fn new(config: &KafkaConfig, transactional: bool) -> Result<Self> {
        let failures = Failures::default();
        let mut client = settings(config, ClientKind::Upkeep { transactional });
        TopicLimits::ask(config).bound(&mut client);
        let made = BaseProducer::from_config_and_context(&client, Context(failures.clone()));
        let producer: BaseProducer<Context<Failures>> = made.map_err(Error::kafka("make a producer"))?;
        producer.poll(Duration::ZERO); // Brings the OAUTHBEARER token.
        if transactional {
            producer.init_transactions(CALL).map_err(Error::kafka("initialise transactions"))?;
        }
        Ok(Self { producer, failures })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the call fails.
    pub fn begin(&self) -> Result<()> {
        self.producer.begin_transaction().map_err(Error::kafka("begin a transaction"))
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// When nothing of it is there.
    pub fn commit(&self) -> Result<()> {
        self.finish()?;
        self.producer.commit_transaction(CALL).map_err(Error::kafka("commit a transaction"))
    }

    /// Hands a message over; waits for room.
    ///
    /// # Errors
    /// When it cannot be taken.
    pub fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<()> {
        let (mut record, begin) = (record, Instant::now());
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back))
                    if error.rdkafka_error_code() == Some(Code::QueueFull) && begin.elapsed() < CALL =>
                {
                    record = back;
                    await_deliveries(&self.producer, begin);
                }
                Err((error, _)) => return Err(Error::kafka("write")(error)),
            }
        }
    }

    /// Waits until all that was sent is delivered.
    ///
    /// # Errors
    /// When something is not.
    pub fn finish(&self) -> Result<()> {
        self.producer.flush(CALL).map_err(Error::kafka("write"))?;
        match self.failures.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(found) => Err(Error::Topics { found, expected: "the message to be written".into() }),
            None => Ok(()),
        }
    }
}
