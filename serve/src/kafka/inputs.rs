//! The messages of events that were found, read again from their topics: nothing keeps them twice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{ASK, ClientKind, reader};
use super::context::Context;
use super::restore::Quiet;
use crate::config::KafkaConfig;
use crate::event::Headers;

/// How long one message is waited for.
const EACH: Duration = Duration::from_secs(5);

/// How long all messages of a call are waited for.
const ALL: Duration = Duration::from_secs(20);

/// How long a poll waits.
const TICK: Duration = Duration::from_millis(100);

/// A message as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
    /// Its own time, in Unix milliseconds.
    pub timestamp_ms: Option<i64>,
}

/// Reads messages by topic, partition and offset, in that order. In the place of one that cannot be read stands why.
pub fn inputs(config: &KafkaConfig, sources: &[(String, i32, i64)]) -> Vec<Result<Input, String>> {
    let consumer = match reader(config, ClientKind::Drain, Quiet) {
        Ok(consumer) => consumer,
        Err(error) => return sources.iter().map(|_| Err(error.to_string())).collect(),
    };
    let (begin, mut marks) = (Instant::now(), HashMap::new());
    let one = |(topic, partition, offset): &(String, i32, i64)| {
        if begin.elapsed() > ALL {
            return Err(format!("not read, as the messages before took {} s", ALL.as_secs()));
        }
        let (low, high) = *marks
            .entry((topic.clone(), *partition))
            .or_insert_with(|| {
                consumer.fetch_watermarks(topic, *partition, ASK).map_err(|error| error.to_string())
            })
            .as_ref()
            .map_err(Clone::clone)?;
        match offset {
            gone if *gone < low => {
                Err(format!("deleted by the retention of {topic}: it begins at offset {low}"))
            }
            new if *new >= high => {
                Err(format!("not in {topic}, which ends at offset {high}: was it made anew?"))
            }
            _ => read(&consumer, topic, *partition, *offset).map_err(|error| error.to_string())?.ok_or_else(
                || {
                    format!(
                        "no message of {topic} is at that offset any more: it was deleted or compacted away"
                    )
                },
            ),
        }
    };
    sources.iter().map(one).collect()
}

/// Reads the message at an offset; none where the next one is at a later offset.
fn read(
    consumer: &BaseConsumer<Context<Quiet>>,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<Input>, KafkaError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    consumer.assign(&list)?;
    let begin = Instant::now();
    while begin.elapsed() < EACH {
        match consumer.poll(TICK) {
            // What was fetched for the assignment before may still come.
            Some(Ok(message)) if message.topic() != topic || message.partition() != partition => {}
            Some(Ok(message)) if message.offset() < offset => {}
            Some(Ok(message)) if message.offset() > offset => return Ok(None),
            Some(Ok(message)) => {
                let owned = |at: usize| {
                    let header = message.headers()?.get(at);
                    Some((header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                };
                return Ok(Some(Input {
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: (0..message.headers().map_or(0, |all| all.count())).filter_map(owned).collect(),
                    timestamp_ms: message.timestamp().to_millis(),
                }));
            }
            Some(Err(KafkaError::PartitionEOF(ended)))
                if ended == partition && begin.elapsed() > EACH / 2 =>
            {
                return Ok(None);
            }
            Some(Err(error)) => tracing::debug!(%error, "reading a message again"),
            None => {}
        }
    }
    Ok(None)
}
