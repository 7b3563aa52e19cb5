//! A worker's view of the state topic: the histories of its partitions, how many partitions these are kept by, and who was
//! erased.

use std::collections::HashMap;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;

use super::KafkaTransport;
use super::begin::partitions;
use super::counts::{Count, moved};
use super::restore::{Restored, restore};
use super::tail::StateTail;
use crate::event::TopicPartition;
use crate::flow::{Records, Trouble};
use crate::{Error, Result};

/// What a worker knows of the state topic.
#[derive(Default)]
pub struct Histories {
    /// How many partitions each topic of requests has.
    pub counts: HashMap<String, i32>,
    /// What follows the state topic; a replay does not.
    pub tail: Option<StateTail>,
    /// Records that were erased and that the flow has not heard of.
    pub erased: Vec<(TopicPartition, Vec<u8>)>,
}

impl KafkaTransport {
    /// Asks how many partitions the topics of some partitions have, and the state topic if there is one.
    pub(super) fn ask_counts(
        &self,
        parts: &[TopicPartition],
    ) -> KafkaResult<(HashMap<String, i32>, Option<i32>)> {
        let mut counts = HashMap::new();
        for part in parts {
            let topic = self.topic(*part);
            if !counts.contains_key(topic) {
                let n = partitions(&self.consumer, topic)?.len() as i32;
                counts.insert(topic.to_owned(), n);
            }
        }
        let state = self.config.state.as_ref();
        let of_state = state.map(|topic| partitions(&self.consumer, topic)).transpose()?;
        Ok((counts, of_state.map(|all| all.len() as i32)))
    }

    /// Reads the histories of partitions, if the state topic has a place for each.
    pub(super) fn read_histories(
        &self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> KafkaResult<Restored> {
        let Some(topic) = &self.config.state else { return Ok(Restored::default()) };
        let mut wanted: Vec<i32> = parts.iter().map(|part| part.partition).collect();
        wanted.sort_unstable();
        wanted.dedup();
        restore(&self.config, topic, &wanted, &mut |partition, key, value| {
            for part in parts.iter().filter(|part| part.partition == partition) {
                record(*part, key, value);
            }
        })
    }

    /// Takes up how many partitions there are now.
    ///
    /// # Errors
    /// When that is another number than before, so that users' events come where their histories are not.
    pub(super) fn take_counts(
        &mut self,
        now: HashMap<String, i32>,
        of_state: Option<i32>,
    ) -> Result<(), Trouble> {
        for (topic, n) in now {
            let before = self.histories.counts.insert(topic.clone(), n).unwrap_or(n);
            if let Some(state) = &self.config.state
                && (before != n || of_state.is_some_and(|of_state| of_state < n))
            {
                let kept = if before == n { of_state.unwrap_or(n) } else { before };
                return Err(Trouble::Fatal(moved(&topic, n, kept, state, of_state)));
            }
        }
        Ok(())
    }

    /// Checks that the histories of partitions are kept by as many partitions as there are, notes that number where it is
    /// not yet, and follows the state topic from here on.
    ///
    /// # Errors
    /// When the histories are kept by another number.
    pub(super) fn take_histories(
        &mut self,
        parts: &[TopicPartition],
        restored: Restored,
    ) -> Result<(), Trouble> {
        let Some(state) = self.config.state.clone() else { return Ok(()) };
        let mut unnoted: HashMap<&str, Vec<i32>> = HashMap::new();
        for part in parts {
            let topic = self.topic(*part);
            let Some(&now) = self.histories.counts.get(topic) else { continue };
            match restored.counts.get(&(part.partition, topic.to_owned())) {
                Some(kept) if *kept != now => {
                    return Err(Trouble::Fatal(moved(topic, now, *kept, &state, None)));
                }
                Some(_) => {}
                None => unnoted.entry(topic).or_default().push(part.partition),
            }
        }
        if self.histories.tail.is_none() {
            return Ok(());
        }
        for (topic, partitions) in unnoted {
            let count = Count { topic: topic.to_owned(), partitions: self.histories.counts[topic] };
            if let Err(error) = count.write(&self.config, &partitions) {
                tracing::warn!(%error, "the number of partitions is not noted in the state topic");
            }
        }
        let tail = self.histories.tail.as_mut().map(|tail| tail.follow(&restored.ends));
        tail.transpose()
            .map_err(|error| Trouble::Abort(Error::kafka("follow the state topic")(error).to_string()))?;
        restored.erased.into_iter().for_each(|(partition, key)| self.take_erasure(parts, partition, &key));
        Ok(())
    }

    /// Takes up that somebody else erased the record under a key in a partition of the state topic.
    fn take_erasure(&mut self, parts: &[TopicPartition], partition: i32, key: &[u8]) {
        let of = parts.iter().filter(|part| part.partition == partition);
        self.histories.erased.extend(of.map(|part| (*part, key.to_vec())));
    }

    /// Notices topics that grow.
    ///
    /// # Errors
    /// When one has, and histories are kept by the number of partitions that it had.
    pub(super) fn look_at_counts(&mut self) -> Result<(), Trouble> {
        let heard = self.consumer.context().counts();
        let known = heard
            .into_iter()
            .filter(|(topic, n)| self.histories.counts.get(topic).is_some_and(|known| n > known));
        let grown: HashMap<String, i32> = known.collect();
        if grown.is_empty() { Ok(()) } else { self.take_counts(grown, None) }
    }

    /// Hears who was erased.
    pub(super) fn look_at_tail(&mut self) {
        let erased = self.histories.tail.as_mut().map(|tail| tail.erased()).unwrap_or_default();
        let owned: Vec<TopicPartition> = self.owned.iter().copied().collect();
        erased.into_iter().for_each(|(partition, key)| self.take_erasure(&owned, partition, &key));
    }

    /// Leaves the partitions of the state topic of which no partition is read any more.
    pub(super) fn leave_state(&mut self) {
        let owned = &self.owned;
        let is_kept = |partition| owned.iter().any(|part| part.partition == partition);
        if let Some(tail) = &mut self.histories.tail
            && let Err(error) = tail.keep(is_kept)
        {
            tracing::debug!(%error, "leaving a partition of the state topic");
        }
    }
}
