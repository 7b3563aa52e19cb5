//! What happened to a worker's events, until it is known that it is committed: only then it goes to the index.

use std::collections::VecDeque;

use crate::event::TopicPartition;
use crate::provenance::{Batch, MOST_QUEUED, Tracer};

/// The batches that were answered since the last commit.
pub struct Trail {
    tracer: Option<Tracer>,
    /// Batches by their numbers.
    answered: VecDeque<(u64, Batch)>,
    /// How much they are, by [`Batch::weight`].
    weight: usize,
    /// Batches of commits that failed and may have succeeded.
    in_doubt: Vec<Batch>,
}

impl Trail {
    /// Makes one that writes to an index, if there is one.
    pub fn new(tracer: Option<Tracer>) -> Self {
        Self { tracer, answered: VecDeque::new(), weight: 0, in_doubt: Vec::new() }
    }

    /// Adds a batch. Beyond a bound it is counted as missed: commits are then further apart than memory reaches.
    pub fn add(&mut self, number: u64, batch: impl FnOnce(&Tracer) -> Batch) {
        let Some(tracer) = &self.tracer else { return };
        let batch = batch(tracer);
        if self.weight + batch.weight() > MOST_QUEUED {
            return tracer.index.missed(batch.rows.len());
        }
        self.weight += batch.weight();
        self.answered.push_back((number, batch));
    }

    /// Hands over what is committed: the batches before a number, or all without one.
    pub fn committed(&mut self, before: Option<u64>) {
        let Some(tracer) = &self.tracer else { return };
        let is_done = |(number, _): &mut (u64, Batch)| before.is_none_or(|before| *number < before);
        let mut done = Vec::new();
        while let Some((_, batch)) = self.answered.pop_front_if(is_done) {
            self.weight -= batch.weight();
            done.push(batch);
        }
        tracer.index.take(done);
    }

    /// Notes that it is not known whether a commit of all of it succeeded.
    pub fn doubt(&mut self) {
        self.in_doubt.extend(self.answered.drain(..).map(|(_, batch)| batch));
        self.weight = 0;
    }

    /// Forgets what is not committed: it is answered again.
    pub fn roll_back(&mut self) {
        self.answered.clear();
        self.weight = 0;
    }

    /// Settles what was in doubt: hands over the events that are done, and forgets those that are not. Of partitions that others
    /// have by now it is not known, and their events are marked so.
    pub fn settle(&mut self, is_done: impl Fn(TopicPartition, i64) -> Option<bool>) {
        let Some(tracer) = &self.tracer else { return };
        let mut settled = Vec::new();
        for batch in std::mem::take(&mut self.in_doubt) {
            let [known, unknown] = [Some(true), None]
                .map(|wanted| batch.clone().only(|row| is_done(row.part, row.offset) == wanted));
            settled.extend([known, unknown.unconfirmed()]);
        }
        tracer.index.take(settled);
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.settle(|_, _| None);
    }
}
