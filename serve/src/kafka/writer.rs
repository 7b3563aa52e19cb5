//! Writes events that came over HTTP into the topic of requests, which gives them an order and a worker and keeps them.

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::{ClientKind, settings};
use super::context::{Context, Listener};
use super::sizes::TopicLimits;
use crate::config::KafkaConfig;
use crate::{Error, Result};

/// Where an event was written, as `topic/partition/offset`, or why not.
type Written = std::result::Result<String, String>;

/// The producer of the events that come over HTTP.
pub struct EventWriter {
    producer: ThreadedProducer<Context<Answers>>,
}

impl EventWriter {
    /// Makes the writer.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn new(config: &KafkaConfig, limits: &TopicLimits) -> Result<Self> {
        let mut client = settings(config, ClientKind::Events);
        limits.bound(&mut client);
        let producer = ThreadedProducer::from_config_and_context(&client, Context(Answers));
        Ok(Self { producer: producer.map_err(Error::kafka("make a producer"))? })
    }

    /// Writes an event into a topic under its user's id; waits until it is delivered.
    ///
    /// # Errors
    /// When it was not.
    pub async fn write(
        &self,
        topic: &str,
        headers: &[(String, String)],
        user: &str,
        payload: &[u8],
    ) -> Written {
        let (answer, written) = oneshot::channel();
        let mut record =
            BaseRecord::with_opaque_to(topic, Box::new(answer)).key(user.as_bytes()).payload(payload);
        if !headers.is_empty() {
            let one = |all: OwnedHeaders, (key, value): &(String, String)| {
                all.insert(Header { key, value: Some(value.as_bytes()) })
            };
            record = record.headers(headers.iter().fold(OwnedHeaders::new(), one));
        }
        self.producer.send(record).map_err(|(error, _)| error.to_string())?;
        written.await.map_err(|_| "the service stops".to_owned())?
    }
}

/// Hands each delivery report to the request that waits for it.
pub struct Answers;

impl Listener for Answers {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "writing events");
    }
}

impl ProducerContext for Context<Answers> {
    type DeliveryOpaque = Box<oneshot::Sender<Written>>;

    fn delivery(&self, result: &DeliveryResult<'_>, answer: Self::DeliveryOpaque) {
        let written = match result {
            Ok(message) => Ok(format!("{}/{}/{}", message.topic(), message.partition(), message.offset())),
            Err((error, _)) => Err(error.to_string()),
        };
        // An error means that the request no longer waits.
        let _ = answer.send(written);
    }
}
