//! Partitions that come and go, and the commits in between.

use std::time::Duration;

use super::{Change, FIRST_QUIET, Flow, Position, Transport, Trouble};
use crate::config::Guarantee;
use crate::event::{Home, TopicPartition};
use crate::metrics::PartitionLabels;

impl<T: Transport> Flow<T> {
    /// Takes up or gives up partitions.
    pub(super) fn change(&mut self, change: Change) -> Result<(), Trouble> {
        match change {
            Change::Assigned(parts) => match self.restore(&parts) {
                Ok(positions) => self.assign(&parts, positions),
                Err(trouble) => {
                    self.changes.push_front(Change::Assigned(parts));
                    Err(trouble)
                }
            },
            Change::Revoked { parts, lost } => self.revoke(&parts, lost),
            Change::Erased { part, key } => self.erase(part, key),
            Change::Renewed(positions) => {
                let parts: Vec<TopicPartition> = positions.iter().map(|(part, ..)| *part).collect();
                self.backlog.drop_partitions(&parts);
                self.offsets.revoke(&parts);
                self.offsets.assign(positions);
                self.paused.retain(|part| !parts.contains(part));
                // Where this fails, going back to the positions taken up here resumes them.
                self.transport.pause(&parts, false)
            }
        }
    }

    fn assign(&mut self, parts: &[TopicPartition], positions: Vec<Position>) -> Result<(), Trouble> {
        for &part in parts {
            if let Some(n) = self.transport.partitions(part.topic) {
                self.engine.has_partitions(part.topic, n);
            }
        }
        self.offsets.assign(positions.iter().cloned());
        self.note_lags();
        self.quiet = self.clock.now() + FIRST_QUIET;
        tracing::info!(partitions = parts.len(), users = self.engine.state.n_users(), "assigned");
        self.metrics.assigned(parts);
        self.transport.begin(&positions)
    }

    fn revoke(&mut self, parts: &[TopicPartition], lost: bool) -> Result<(), Trouble> {
        tracing::info!(partitions = parts.len(), lost, "revoked");
        // Events that were read but not answered are left to the next owner.
        self.backlog.drop_partitions(parts);
        let committed = match lost {
            true => Err(Trouble::Abort("partitions were lost".into())),
            false => self.commit(self.options.drain),
        };
        self.offsets.revoke(parts);
        self.paused.retain(|part| !parts.contains(part));
        let released = self.transport.release(parts);
        // The histories go last: taking back what is not committed needs them.
        let result = committed.map_or_else(
            |trouble| {
                self.engine.state.undo(std::mem::take(&mut self.undo));
                Err(trouble)
            },
            |()| released,
        );
        parts.iter().for_each(|&part| self.engine.state.forget(self.home(part)));
        self.metrics.revoked(parts, &self.engine.topics);
        if self.offsets.partitions().next().is_none() {
            // What was not committed is another worker's now.
            self.metrics.progress.keep(self.options.worker);
        }
        result
    }

    /// Returns the positions of new partitions, and restores the histories that are kept for them. The flow calls this
    /// until it succeeds, as nobody else can read the partitions meanwhile.
    fn restore(&mut self, parts: &[TopicPartition]) -> Result<Vec<Position>, Trouble> {
        let (engine, metrics) = (&self.engine, &self.metrics);
        let worker = self.options.worker;
        parts.iter().for_each(|&part| engine.state.forget(Home { worker, part }));
        let (mut bad, since) = (0, engine.forgets_before());
        let positions = self.transport.positions(parts, &mut |part, key, value| {
            let (home, topic) = (Home { worker, part }, engine.state_topic(part));
            if let Err(error) = engine.state.restore(home, topic, (key, value), since) {
                bad += 1;
                metrics.bad_record(&error);
            }
        });
        if bad > 0 {
            tracing::warn!(records = bad, "records of the state topic could not be read");
        }
        // The transport tells anew of the erasures that are not confirmed. One that is must not be done again: it would take
        // what came after it.
        let is_old = |change: &Change| matches!(change, Change::Erased { part, .. } if parts.contains(part));
        self.changes.retain(|change| positions.is_err() || !is_old(change));
        positions
    }

    /// Shows how far the partitions are from their ends.
    pub(super) fn note_lags(&mut self) {
        let Some(lags) = self.offsets.lags(self.transport.ends()) else { return };
        let topics = &self.engine.topics;
        let named = lags.into_iter().filter_map(|(part, lag)| {
            let topic = topics.get(usize::from(part.topic))?.clone();
            Some((PartitionLabels { topic, partition: part.partition }, lag))
        });
        self.metrics.lags_of(&format!("worker {}", self.options.worker), named.collect());
    }

    pub(super) fn home(&self, part: TopicPartition) -> Home {
        Home { worker: self.options.worker, part }
    }

    /// Reads on from the last commit. A commit before a rebuild may have succeeded though it seemed to fail, so that
    /// the brokers are then asked for the committed positions and the histories.
    pub(super) fn rewind(&mut self, rebuild: bool) -> Result<(), Trouble> {
        if rebuild {
            let parts: Vec<TopicPartition> = self.offsets.partitions().collect();
            if !parts.is_empty() {
                let found = self.restore(&parts)?;
                self.offsets.assign(found);
            }
            let offsets = &self.offsets;
            self.trail.settle(|part, offset| offsets.is_done(part, offset));
        }
        self.transport.rewind(&self.offsets.committed())
    }

    /// With exactly-once, answers all waiting events if the gaps between done events are too many for the metadata of
    /// a commit.
    fn shorten_metadata(&mut self) -> Result<(), Trouble> {
        while self.options.guarantee == Guarantee::ExactlyOnce && !self.offsets.fit() {
            self.backlog.end_penalties(|_| true);
            if self.backlog.len() == 0 {
                break;
            }
            self.backlog.overdraws = true;
            let answered = self.answer_next();
            self.backlog.overdraws = false;
            answered?;
        }
        Ok(())
    }

    /// Commits what is done; with at-least-once, first waits up to `wait` for what is in flight.
    pub(super) fn commit(&mut self, wait: Duration) -> Result<(), Trouble> {
        if !wait.is_zero() {
            self.look_at_deliveries(wait)?;
        }
        self.shorten_metadata()?;
        self.last_commit = self.clock.now();
        let positions = self.offsets.uncommitted();
        // With at-least-once, the answers to earlier commits may still be missing.
        let is_last = !wait.is_zero() && self.options.guarantee == Guarantee::AtLeastOnce;
        if !positions.is_empty() || self.unsaved || is_last {
            let start = self.clock.now();
            match self.transport.commit(&positions, is_last) {
                Ok(()) => self.metrics.committed(self.clock.since(start)),
                Err(Trouble::Later(text)) => {
                    tracing::debug!(cause = text, "a commit failed; the next one includes it");
                    self.unsaved = true;
                    return Ok(());
                }
                Err(trouble) => {
                    if !matches!(trouble, Trouble::Abort(_)) {
                        self.trail.doubt();
                    }
                    return Err(trouble);
                }
            }
        }
        self.offsets.commit(positions);
        self.trail.committed(self.offsets.first_in_flight());
        self.note_confirmed();
        self.undo.clear();
        self.unsaved = false;
        self.failures_in_a_row = 0;
        self.metrics.progress.keep(self.options.worker);
        Ok(())
    }
}
