//! Events out of messages.

use std::time::Instant;

use rdkafka::message::Message;

use super::headers;
use crate::config::KafkaConfig;
use crate::event::{Incoming, TopicPartition};

/// The topics that a worker reads.
pub struct RequestTopics {
    names: Vec<String>,
    /// Which of them is the topic of rejects, which a replay reads.
    rejects: Option<u16>,
}

impl RequestTopics {
    /// Takes the topics of a config.
    pub fn new(config: &KafkaConfig) -> Self {
        let names = config.requests.clone();
        let rejects = names.iter().position(|name| *name == config.rejects);
        Self { names, rejects: rejects.map(|at| at as u16) }
    }

    /// Returns the index of a topic in `kafka.requests`.
    pub fn place(&self, topic: &str) -> Option<u16> {
        Some(self.names.iter().position(|known| known == topic)? as u16)
    }

    /// Returns the name of a partition's topic.
    pub fn name(&self, part: TopicPartition) -> &str {
        &self.names[usize::from(part.topic)]
    }

    /// Returns the partition of a message, unless it is of another topic.
    pub fn part(&self, message: &impl Message) -> Option<TopicPartition> {
        // Where there is one topic, no name needs to be compared.
        let topic = if self.names.len() == 1 { 0 } else { self.place(message.topic())? };
        Some(TopicPartition { topic, partition: message.partition() })
    }

    /// Returns the event of a message, unless it is of another topic.
    pub fn event(&self, message: &impl Message, received: Instant) -> Option<Incoming> {
        let part = self.part(message)?;
        let mut event = Incoming::new(received, part, message.offset(), message.key(), message.payload());
        event.timestamp_ms = message.timestamp().to_millis();
        event.headers = headers::read(message, self.rejects == Some(part.topic));
        Some(event)
    }
}
