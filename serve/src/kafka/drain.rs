//! `drain`: the events of the topics as training data, each once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use burnrec_models::Progress;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::begin::partitions;
use super::client::{ASK, ClientKind, check_settings, reader};
use super::context::Context;
use super::restore::Quiet;
use crate::config::{InputFormat, KafkaConfig, OnDataLoss, ServeConfig};
use crate::event_files::{EventFiles, EventRow};
use crate::message::{Ask, decode};
use crate::{Error, Reject, Result};

/// How many events are in memory at most; a batch of files holds as many.
const BATCH: usize = 500_000;

/// After how many messages progress is told.
const TOLD_EVERY: u64 = 1000;

/// How long brokers may be silent before a drain gives up.
const SILENCE: Duration = Duration::from_secs(30);

/// What a drain did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many messages were read.
    pub messages: u64,
    /// How many of them are events, which are in the files now.
    pub events: u64,
    /// How many are no requests, which the service rejects.
    pub undecodable: u64,
    /// How many messages were gone before they were read, where the config says to go on.
    pub lost: u64,
    /// How many events the directory has in all.
    pub in_all: u64,
}

/// Adds all events of the topics of requests, up to their ends as they are now, to the files of a directory, each once however
/// often it is called and wherever it is killed. The first call begins at the earliest event that the brokers have; the group of
/// the service is not touched. It may be interrupted by `progress`, and what it read is in the files then as well.
///
/// # Errors
/// When the config has no topics or its requests are CSV, brokers cannot be asked, events are gone that were not read and the
/// config does not say to go on, or a file cannot be written.
pub fn drain(config: &ServeConfig, dir: &Path, progress: &dyn Progress) -> Result<Drained> {
    let expected = "the table [kafka]: a drain reads from its topics";
    let kafka = config.kafka.as_ref().ok_or_else(|| Error::config("kafka", "none", expected))?;
    if config.input.format != InputFormat::Json {
        return Err(Error::config("input.format", "csv", "json: requests in CSV have no events"));
    }
    check_settings(kafka)?;
    let mut files = EventFiles::open(dir)?;
    let mut drained = Drained::default();
    for topic in &kafka.requests {
        let next = files.next().get(topic).cloned().unwrap_or_default();
        let consumer = reader(kafka, ClientKind::Drain, Quiet).map_err(Error::kafka("make a consumer"))?;
        let mut reading =
            Reading { config, kafka, topic, consumer, next, ends: BTreeMap::new(), drained: &mut drained };
        reading.begin()?;
        progress.begin(&format!("draining {topic}"), reading.waiting());
        let mut told = reading.drained.messages;
        while !reading.ends.is_empty() && !progress.interrupted() {
            reading.step(&mut files)?;
            let messages = reading.drained.messages;
            if messages >= told + TOLD_EVERY || reading.ends.is_empty() {
                progress.advance(messages - told);
                told = messages;
            }
            if files.n_waiting() >= BATCH {
                files.commit(topic, &reading.next)?;
            }
        }
        files.commit(topic, &reading.next)?;
        progress.end();
    }
    drained.in_all = files.n_events();
    Ok(drained)
}

/// A topic that is being read.
struct Reading<'a> {
    config: &'a ServeConfig,
    kafka: &'a KafkaConfig,
    topic: &'a str,
    consumer: BaseConsumer<Context<Quiet>>,
    /// The first offset of each partition that is not read.
    next: BTreeMap<i32, i64>,
    /// Where the partitions end, as they were at the beginning, that are not read to there yet.
    ends: BTreeMap<i32, i64>,
    drained: &'a mut Drained,
}

impl Reading<'_> {
    /// Finds where the partitions end, and begins to read.
    fn begin(&mut self) -> Result<()> {
        let topic = self.topic;
        let find = || Error::kafka(format!("find the ends of {topic}"));
        for (_, partition) in partitions(&self.consumer, topic).map_err(find())? {
            let (low, high) = self.consumer.fetch_watermarks(topic, partition, ASK).map_err(find())?;
            self.place(partition, low, high)?;
            self.ends.insert(partition, high);
        }
        let next = &self.next;
        self.ends.retain(|partition, end| next[partition] < *end);
        self.assign()
    }

    /// Finds where a partition is read on: at its first offset where what comes next is gone.
    fn place(&mut self, partition: i32, low: i64, high: i64) -> Result<()> {
        let place = self.next.entry(partition).or_insert(low);
        if (low..=high).contains(place) {
            return Ok(());
        }
        let lost = (low - *place).max(0);
        let what = match lost {
            0 => "the topic was made anew; what was not drained of the old one is gone".to_owned(),
            _ => format!("{lost} messages before offset {low} were deleted before they were drained"),
        };
        *place = low;
        let found = format!("{}/{partition}: {what}", self.topic);
        if self.kafka.on_data_loss() == OnDataLoss::Stop {
            return Err(Error::DataLoss { found });
        }
        tracing::warn!("{found}");
        self.drained.lost += lost as u64;
        Ok(())
    }

    /// Reads on in the partitions that are not read to their ends.
    fn assign(&self) -> Result<()> {
        let begin = || Error::kafka(format!("read {}", self.topic));
        let mut list = TopicPartitionList::with_capacity(self.ends.len());
        for partition in self.ends.keys() {
            let next = Offset::Offset(self.next[partition]);
            list.add_partition_offset(self.topic, *partition, next).map_err(begin())?;
        }
        self.consumer.assign(&list).map_err(begin())
    }

    /// Returns how many offsets there are up to the ends.
    fn waiting(&self) -> u64 {
        self.ends.iter().map(|(partition, end)| (end - self.next[partition]) as u64).sum()
    }

    /// Takes the next message, the end of a partition, or what is gone.
    fn step(&mut self, files: &mut EventFiles) -> Result<()> {
        let topic = self.topic;
        let read = || Error::kafka(format!("read {topic}"));
        match self.consumer.poll(SILENCE) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let Some(&end) = self.ends.get(&partition) else { return Ok(()) };
                if offset < end {
                    self.drained.messages += 1;
                    match event(&message, self.config) {
                        Ok(Some(row)) => {
                            self.drained.events += 1;
                            files.add(row);
                        }
                        Ok(None) => {}
                        Err(_) => self.drained.undecodable += 1,
                    }
                    self.next.insert(partition, offset + 1);
                }
                if offset + 1 >= end {
                    self.ends.remove(&partition);
                }
                Ok(())
            }
            // What is left before the end are the markers of transactions, and what was aborted.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.ends.remove(&partition);
                Ok(())
            }
            Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => {
                for partition in self.ends.keys().copied().collect::<Vec<_>>() {
                    let (low, high) =
                        self.consumer.fetch_watermarks(self.topic, partition, ASK).map_err(read())?;
                    self.place(partition, low, high)?;
                }
                self.assign()
            }
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_passing) => {
                tracing::debug!(%error, "draining");
                Ok(())
            }
            Some(Err(error)) => Err(read()(error)),
            None => Err(read()(KafkaError::MessageConsumption(Code::OperationTimedOut))),
        }
    }
}

/// Returns whether librdkafka goes on by itself after an error.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::OperationTimedOut
            | Code::NotLeaderForPartition
    )
}

/// Returns the row of an event; none for a request of another type.
///
/// # Errors
/// When the message is no request.
fn event(message: &BorrowedMessage<'_>, config: &ServeConfig) -> Result<Option<EventRow>, Reject> {
    let request = decode(message.payload(), config.input.format, None, &config.limits)?;
    let Ask::Event { user, item, value } = request.ask else { return Ok(None) };
    Ok(Some(EventRow {
        user: user.id().to_string(),
        item: item.id().to_string(),
        value,
        time_ms: message.timestamp().to_millis().unwrap_or(0),
        source: format!("{}/{}/{}", message.topic(), message.partition(), message.offset()),
    }))
}
