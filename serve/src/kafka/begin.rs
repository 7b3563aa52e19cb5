//! Where a group begins with topics that it has not read before.

use std::collections::HashMap;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::ASK;
use crate::clock::{Clock, SystemClock};
use crate::config::{KafkaConfig, Start};

/// Commits where the group begins with each topic of which it has committed no offset, by the config's `from`.
///
/// The consumer must not have joined the group. Brokers take such a commit only while the group has no members, so that
/// it comes before anything that a member does: whoever is in the group began by this same rule.
///
/// # Errors
/// When the brokers cannot be asked.
pub fn begin<C: ConsumerContext>(consumer: &BaseConsumer<C>, config: &KafkaConfig) -> KafkaResult<()> {
    let mut begins = TopicPartitionList::new();
    for topic in &config.requests {
        let parts = partitions(consumer, topic)?;
        let mut asked = TopicPartitionList::with_capacity(parts.len());
        for (topic, partition) in &parts {
            asked.add_partition(topic, *partition);
        }
        let committed = consumer.committed_offsets(asked, ASK)?;
        if config.from == Start::Committed {
            continue;
        }
        if committed.elements().iter().any(|part| matches!(part.offset(), Offset::Offset(_))) {
            let (group, from) = (&config.group, String::from(config.from.clone()));
            tracing::info!(
                group,
                topic,
                from,
                "the group has committed offsets, which hold in place of kafka.from"
            );
            continue;
        }
        for ((topic, partition), offset) in start(consumer, &config.from, &parts)? {
            begins.add_partition_offset(&topic, partition, offset)?;
        }
    }
    if begins.count() == 0 {
        return Ok(());
    }
    let done = consumer.commit(&begins, CommitMode::Sync);
    match done.as_ref().map_err(KafkaError::rdkafka_error_code) {
        Err(Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress)) => {
            tracing::info!(group = config.group, "the group has members, which began before");
            Ok(())
        }
        _ => done,
    }
}

/// Returns the partitions of a topic, each with the topic's name.
///
/// # Errors
/// When the brokers cannot be asked, or do not have the topic.
pub fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
) -> KafkaResult<Vec<(String, i32)>> {
    let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
    let mut parts = Vec::new();
    for found in metadata.topics() {
        if let Some(error) = found.error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        parts.extend(found.partitions().iter().map(|partition| (topic.to_owned(), partition.id())));
    }
    Ok(parts)
}

/// Returns the offsets that a `from` or a `to` names; none for partitions that it leaves as they are committed.
///
/// # Errors
/// When the brokers cannot be asked.
pub fn start<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    from: &Start,
    parts: &[(String, i32)],
) -> KafkaResult<HashMap<(String, i32), Offset>> {
    let time = match from {
        Start::Committed => return Ok(HashMap::new()),
        Start::Earliest | Start::Latest => {
            // The offset is fixed here, so that nothing that is produced during the start is skipped.
            let mut found = HashMap::new();
            for (topic, partition) in parts {
                let (low, high) = consumer.fetch_watermarks(topic, *partition, ASK)?;
                let offset = if *from == Start::Earliest { low } else { high };
                found.insert((topic.clone(), *partition), Offset::Offset(offset));
            }
            return Ok(found);
        }
        Start::Offsets(offsets) => {
            let given = parts.iter().filter_map(|(topic, partition)| {
                Some(((topic.clone(), *partition), Offset::Offset(*offsets.get(partition)?)))
            });
            return Ok(given.collect());
        }
        Start::Time(ms) => *ms,
        Start::Last(span) => SystemClock.unix_ms() - span.as_millis() as i64,
    };
    let mut list = TopicPartitionList::new();
    for (topic, partition) in parts {
        list.add_partition_offset(topic, *partition, Offset::Offset(time))?;
    }
    let mut found = HashMap::new();
    for element in consumer.offsets_for_times(list, ASK)?.elements() {
        let offset = match element.offset() {
            Offset::Offset(offset) => offset,
            // No event is that new: begin at the end.
            _ => consumer.fetch_watermarks(element.topic(), element.partition(), ASK)?.1,
        };
        found.insert((element.topic().to_owned(), element.partition()), Offset::Offset(offset));
    }
    Ok(found)
}
