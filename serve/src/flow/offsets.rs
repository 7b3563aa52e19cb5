//! How far each partition is: what was read, what is done, what is on its way, and what is committed.

use std::collections::{BTreeMap, VecDeque};

use super::{End, Ledger, Position};
use crate::event::TopicPartition;

/// The offsets of the partitions that a worker reads.
#[derive(Default)]
pub struct Offsets {
    ledgers: BTreeMap<TopicPartition, Ledger>,
    /// The committed positions, to which the flow rolls back.
    committed: BTreeMap<TopicPartition, (Option<i64>, String)>,
    ends: BTreeMap<TopicPartition, End>,
    /// Batches that are not delivered, with the turns of their events; used with at-least-once alone.
    in_flight: VecDeque<(u64, Vec<(TopicPartition, u64)>)>,
}

impl Offsets {
    /// Takes up partitions at the positions that are committed for them.
    pub fn assign(&mut self, positions: impl IntoIterator<Item = Position>) {
        for (part, next, metadata) in positions {
            self.ledgers.insert(part, Ledger::new(next, &metadata));
            self.committed.insert(part, (next, metadata));
        }
    }

    /// Forgets partitions. A late delivery of their events must not be counted in the ledger of a later assignment.
    pub fn revoke(&mut self, parts: &[TopicPartition]) {
        self.ledgers.retain(|part, _| !parts.contains(part));
        self.committed.retain(|part, _| !parts.contains(part));
        self.in_flight.iter_mut().for_each(|(_, turns)| turns.retain(|(part, _)| !parts.contains(part)));
    }

    /// Returns the partitions.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> {
        self.ledgers.keys().copied()
    }

    /// Returns the ledger of a partition, if this worker reads it.
    pub fn ledger(&mut self, part: TopicPartition) -> Option<&mut Ledger> {
        self.ledgers.get_mut(&part)
    }

    /// Takes up what was heard of the partitions' ends; returns how far each partition is from its end, unless nothing
    /// was heard.
    pub fn lags(&mut self, heard: Vec<End>) -> Option<BTreeMap<TopicPartition, i64>> {
        if heard.is_empty() {
            return None;
        }
        self.ends.extend(heard.into_iter().map(|end| (end.part, end)));
        self.ends.retain(|part, _| self.ledgers.contains_key(part));
        let lag =
            |(part, end): (&TopicPartition, &End)| (*part, self.ledgers[part].lag(end.offset, end.is_read));
        Some(self.ends.iter().map(lag).collect())
    }

    /// Returns whether a partition is known to have more than was read of it, other than those that are not read now.
    pub fn is_behind(&self, paused: &[TopicPartition]) -> bool {
        let more = |(part, ledger): (&TopicPartition, &Ledger)| {
            let end = self.ends.get(part).filter(|end| !end.is_read && !paused.contains(part));
            end.is_some_and(|end| ledger.is_behind(end.offset))
        };
        self.ledgers.iter().any(more)
    }

    /// Returns the partitions of which too much is open to read on.
    pub fn wide(&mut self) -> Vec<TopicPartition> {
        self.ledgers.iter_mut().filter_map(|(part, ledger)| ledger.is_wide().then_some(*part)).collect()
    }

    /// Marks events as done.
    pub fn mark_done(&mut self, turns: &[(TopicPartition, u64)]) {
        for (part, turn) in turns {
            if let Some(ledger) = self.ledgers.get_mut(part) {
                ledger.done(*turn);
            }
        }
    }

    /// Notes that a batch was sent: its events are done when it is delivered.
    pub fn sent(&mut self, batch: u64, turns: Vec<(TopicPartition, u64)>) {
        self.in_flight.push_back((batch, turns));
    }

    /// Returns the number of the first batch that is not delivered yet, if there is one.
    pub fn first_in_flight(&self) -> Option<u64> {
        self.in_flight.front().map(|(batch, _)| *batch)
    }

    /// Returns whether an event is done, of a partition that this worker reads.
    pub fn is_done(&self, part: TopicPartition, offset: i64) -> Option<bool> {
        self.ledgers.get(&part).map(|ledger| ledger.is_done(offset))
    }

    /// Returns whether a batch is not delivered yet.
    pub fn is_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Marks the events of all batches up to one as done; returns whether there were any.
    pub fn delivered(&mut self, last: u64) -> bool {
        let before = self.in_flight.len();
        while let Some((_, turns)) = self.in_flight.pop_front_if(|(batch, _)| *batch <= last) {
            self.mark_done(&turns);
        }
        self.in_flight.len() < before
    }

    /// Returns whether all positions can be committed with their metadata.
    pub fn fit(&self) -> bool {
        self.ledgers.values().all(Ledger::fits)
    }

    /// Returns the positions that are not committed yet.
    pub fn uncommitted(&self) -> Vec<Position> {
        let now = |(part, ledger): (&TopicPartition, &Ledger)| {
            let (next, metadata) = ledger.position()?;
            // With at-least-once, metadata that is too long is left out: the events in it are then answered again.
            Some((*part, Some(next), if ledger.fits() { metadata } else { String::new() }))
        };
        let is_new = |(part, next, metadata): &Position| {
            self.committed.get(part).is_none_or(|(at, known)| at != next || known != metadata)
        };
        self.ledgers.iter().filter_map(now).filter(is_new).collect()
    }

    /// Notes that positions are committed.
    pub fn commit(&mut self, positions: Vec<Position>) {
        self.committed.extend(positions.into_iter().map(|(part, next, metadata)| (part, (next, metadata))));
    }

    /// Returns the committed positions.
    pub fn committed(&self) -> Vec<Position> {
        self.committed.iter().map(|(part, (next, metadata))| (*part, *next, metadata.clone())).collect()
    }

    /// Goes back to the committed positions.
    pub fn roll_back(&mut self) {
        self.in_flight.clear();
        self.assign(self.committed());
    }
}
