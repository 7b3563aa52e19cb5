//! Where partitions are read on: at the committed place, if their logs still have it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaTransport;
use super::client::{ASK, CALL};
use crate::Error;
use crate::config::OnDataLoss;
use crate::event::TopicPartition;
use crate::flow::{End, Position, Records, Trouble};
use crate::metrics::PartitionLabels;

/// How long a place must stay behind the end of its log until the partition counts as made anew: a broker that has just
/// become the leader may know of an earlier end.
const CONFIRM: Duration = Duration::from_secs(10);

/// Where the partitions were begun, and what of their logs was gone by then.
#[derive(Default)]
pub struct LogPlaces {
    begun: HashMap<TopicPartition, i64>,
    /// Up to which offset events are known to be lost.
    gone: HashMap<TopicPartition, i64>,
}

/// How a place stands to the log.
enum Found {
    There,
    /// So many events before the log's start are gone.
    Lost(i64),
    /// The log ends before the place.
    Renewed,
}

impl LogPlaces {
    /// Notes where partitions are read from now on.
    pub fn began(&mut self, positions: &[Position]) {
        self.begun.extend(positions.iter().filter_map(|(part, next, _)| Some((*part, (*next)?))));
    }

    /// Forgets partitions that were revoked.
    pub fn release(&mut self, parts: &[TopicPartition]) {
        self.begun.retain(|part, _| !parts.contains(part));
        self.gone.retain(|part, _| !parts.contains(part));
    }

    /// Compares a place with the log's first offset and its end. No event is lost twice.
    fn find(&mut self, part: TopicPartition, next: i64, low: i64, high: i64) -> Found {
        if next > high {
            self.gone.remove(&part);
            return Found::Renewed;
        }
        let from = next.max(self.gone.get(&part).copied().unwrap_or(0));
        if from >= low {
            return Found::There;
        }
        self.gone.insert(part, low);
        Found::Lost(low - from)
    }
}

impl KafkaTransport {
    pub(super) fn names(&self, parts: &[TopicPartition]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(parts.len());
        for part in parts {
            list.add_partition(self.topic(*part), part.partition);
        }
        list
    }

    /// Returns where to begin in partitions that were assigned, and reads the records that are kept for them.
    ///
    /// # Errors
    /// When what comes next in a log is gone and the config says to stop.
    pub(super) fn find_positions(
        &mut self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> Result<Vec<Position>, Trouble> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let counted = self.until_done("count partitions", |transport| transport.ask_counts(parts));
        if let Some((counts, of_state)) = counted {
            self.take_counts(counts, of_state)?;
        }
        let asked = self.names(parts);
        let begin = Instant::now();
        let found = self.until_done("find where to begin", |transport| {
            // The offsets come first: the brokers return them only when no open transaction holds them any more. The
            // records of the state topic that belong to them are then written, behind at most the same transaction.
            let committed = transport.consumer.committed_offsets(asked.clone(), ASK)?;
            let mut found = Vec::new();
            for part in parts {
                let topic = transport.topic(*part);
                let (low, high) = transport.consumer.fetch_watermarks(topic, part.partition, ASK)?;
                let element = committed.find_partition(topic, part.partition);
                let (next, metadata) = match &element {
                    Some(element) => (element.offset().to_raw(), element.metadata().to_owned()),
                    None => (None, String::new()),
                };
                let next = next.filter(|next| *next >= 0);
                if next.is_some_and(|next| next > high) && begin.elapsed() < CONFIRM {
                    return Err(KafkaError::OffsetFetch(Code::OffsetOutOfRange));
                }
                found.push((*part, next, metadata, low, high));
            }
            Ok((found, transport.read_histories(parts, record)?))
        });
        let Some((found, restored)) = found else {
            // The service stops. librdkafka still waits for an answer to the assignment, and could not be closed
            // without one; nothing is read or committed any more.
            return Ok(parts.iter().map(|part| (*part, None, String::new())).collect());
        };
        self.take_histories(parts, restored)?;
        let (mut positions, mut moved) = (Vec::new(), Vec::new());
        for (part, next, metadata, low, high) in found {
            let position = match next.map(|next| (next, self.log_places.find(part, next, low, high))) {
                Some((next, Found::There)) => (part, Some(next.max(low)), metadata),
                None => (part, Some(low), String::new()),
                Some((_, Found::Lost(events))) => {
                    self.lose(part, Some(events), low)?;
                    moved.push((part, Some(low), metadata.clone()));
                    (part, Some(low), metadata)
                }
                Some((_, Found::Renewed)) => {
                    self.lose(part, None, low)?;
                    moved.push((part, Some(low), String::new()));
                    (part, Some(low), String::new())
                }
            };
            self.ends.push(End { part, offset: high, is_read: position.1.is_some_and(|next| next >= high) });
            positions.push(position);
        }
        self.commit_moved(&moved)?;
        Ok(positions)
    }

    /// Finds where to read on in partitions whose logs do not have the place any more, and reads on there; returns those
    /// that were made anew. `off` has the offsets that could not be read: taken in a batch, an error moves the position that
    /// librdkafka tells past its own offset, as if that had been read.
    ///
    /// # Errors
    /// When the brokers cannot be asked, or when something is lost and the config says to stop.
    pub(super) fn find_again(
        &mut self,
        off: &HashMap<TopicPartition, i64>,
    ) -> Result<Vec<Position>, Trouble> {
        let abort = |error: KafkaError| Trouble::Abort(format!("cannot find where to read on: {error}"));
        let at = self.consumer.position().map_err(abort)?;
        let (mut lost, mut renewed, mut there) = (Vec::new(), Vec::new(), Vec::new());
        for part in self.owned.clone() {
            let (low, high) =
                self.consumer.fetch_watermarks(self.topic(part), part.partition, ASK).map_err(abort)?;
            let element = at.find_partition(self.topic(part), part.partition);
            let begun = self.log_places.begun.get(&part).copied();
            let read = element.and_then(|element| match element.offset() {
                Offset::Offset(next) => Some(next),
                _ => None,
            });
            let next = off.get(&part).copied().or(read).or(begun).unwrap_or(low);
            match self.log_places.find(part, next, low, high) {
                Found::There => there.push((part, Some(next.max(low)), String::new())),
                Found::Lost(events) => {
                    self.lose(part, Some(events), low)?;
                    lost.push((part, Some(low), String::new()));
                }
                Found::Renewed => {
                    self.lose(part, None, low)?;
                    self.stored.remove(&part);
                    renewed.push((part, Some(low), String::new()));
                }
            }
        }
        let mut moved = lost;
        moved.extend(renewed.iter().cloned());
        self.begin_again(&there, &moved)?;
        self.log_places.began(&moved);
        self.commit_moved(&moved)?;
        Ok(renewed)
    }

    /// Assigns partitions once more: librdkafka has given up reading those that are off, and seeks nothing in them.
    fn begin_again(&self, there: &[Position], moved: &[Position]) -> Result<(), Trouble> {
        let abort = |error: KafkaError| Trouble::Abort(format!("cannot begin to read again: {error}"));
        if matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            let again = if moved.is_empty() { there } else { moved };
            let parts: Vec<TopicPartition> = again.iter().map(|(part, ..)| *part).collect();
            self.consumer.incremental_unassign(&self.names(&parts)).map_err(abort)?;
            self.consumer.incremental_assign(&self.list(again)?).map_err(abort)
        } else {
            self.consumer.assign(&self.list(&[there, moved].concat())?).map_err(abort)
        }
    }

    /// Counts what is lost: so many events before the offset `low`, or an unknown number where the topic was made anew.
    fn lose(&self, part: TopicPartition, events: Option<i64>, low: i64) -> Result<(), Trouble> {
        let (topic, partition) = (self.topic(part).to_owned(), part.partition);
        let text = match events {
            Some(events) => format!("{events} events before offset {low} were deleted before they were read"),
            None => "the topic was made anew; what was not read of the old one is gone".to_owned(),
        };
        let found = format!("{topic}/{partition}: {text}");
        if self.config.on_data_loss() == OnDataLoss::Stop {
            return Err(Trouble::Fatal(Error::DataLoss { found }));
        }
        tracing::warn!("{found}");
        let metrics = &self.consumer.context().metrics;
        metrics.lost(PartitionLabels { topic, partition }, events.unwrap_or(0), text);
        Ok(())
    }

    /// Commits new places, so that what is lost is counted once. Nothing depends on it: where it fails, the next commit of
    /// events brings the place.
    fn commit_moved(&self, moved: &[Position]) -> Result<(), Trouble> {
        if !moved.is_empty()
            && let Err(error) = self.consumer.commit(&self.list(moved)?, CommitMode::Async)
        {
            tracing::debug!(%error, "a new place is not committed");
        }
        Ok(())
    }

    /// Reads on at these offsets.
    ///
    /// # Errors
    /// When the call fails.
    pub(super) fn seek(&self, list: TopicPartitionList) -> Result<(), Trouble> {
        let abort = |error: KafkaError| Trouble::Abort(format!("cannot read again: {error}"));
        let sought = self.consumer.seek_partitions(list, CALL).map_err(abort)?;
        sought.elements().iter().try_for_each(|element| element.error().map_err(abort))
    }
}
