//! Partitions that come and go, and the commits in between.

use std::time::Duration;

use super::{Change, Flow, Ledger, Position, Queue, Transport, Trouble};
use crate::config::Guarantee;
use crate::event::{Home, Part};

impl<T: Transport> Flow<T> {
    /// Takes up or gives up partitions.
    pub(super) fn change(&mut self, change: Change) -> Result<(), Trouble> {
        match change {
            Change::Assigned(parts) => {
                let positions = match self.restore(&parts) {
                    Ok(positions) => positions,
                    Err(trouble) => {
                        self.changes.push_front(Change::Assigned(parts));
                        return Err(trouble);
                    }
                };
                for (part, next, metadata) in &positions {
                    self.ledgers.insert(*part, Ledger::new(*next, metadata));
                    self.committed.insert(*part, (*next, metadata.clone()));
                }
                tracing::info!(partitions = parts.len(), users = self.engine.state.n_users(), "assigned");
                self.metrics.assigned(&parts);
                self.transport.begin(&positions)
            }
            Change::Revoked { parts, lost } => {
                tracing::info!(partitions = parts.len(), lost, "revoked");
                // Events that were read but not answered are the next owner's.
                self.drop_waiting(&parts);
                let kept = if lost {
                    Err(Trouble::Abort("partitions were lost".into()))
                } else {
                    self.commit(self.options.drain)
                };
                for part in &parts {
                    self.ledgers.remove(part);
                    self.committed.remove(part);
                }
                self.paused.retain(|part| !parts.contains(part));
                // What arrives too late is not of the ledger that these partitions may have next.
                self.underway
                    .iter_mut()
                    .for_each(|(_, turns)| turns.retain(|(part, _)| !parts.contains(part)));
                let given = self.transport.give_up(&parts);
                // The state goes last: taking back what was not committed needs it.
                let result = match kept {
                    Ok(()) => given,
                    Err(trouble) => {
                        let undo = std::mem::take(&mut self.undo);
                        self.engine.state.undo(undo);
                        Err(trouble)
                    }
                };
                parts.iter().for_each(|&part| self.engine.state.forget(self.home(part)));
                self.metrics.revoked(&parts, &self.engine.topics);
                result
            }
        }
    }

    /// The positions of new partitions, with the histories that are kept for them. Asked again until they come: the
    /// partitions are ours, and nobody else can read them.
    fn restore(&mut self, parts: &[Part]) -> Result<Vec<Position>, Trouble> {
        let (engine, metrics) = (&self.engine, &self.metrics);
        let worker = self.options.worker;
        parts.iter().for_each(|&part| engine.state.forget(Home { worker, part }));
        let mut bad = 0;
        let positions = self.transport.positions(parts, &mut |part, key, value| {
            if let Err(error) =
                engine.state.restore(Home { worker, part }, engine.state_topic(part), key, value)
            {
                bad += 1;
                metrics.trouble(&format!("a record of the state topic: {error}"), false);
            }
        });
        if bad > 0 {
            tracing::warn!(records = bad, "records of the state topic could not be read");
        }
        positions
    }

    fn home(&self, part: Part) -> Home {
        Home { worker: self.options.worker, part }
    }

    /// Reads on where the last commit was. After a rebuild a commit that failed may have been one all the same: then the
    /// brokers say where that is, and what the state was.
    pub(super) fn read_again(&mut self, mut positions: Vec<Position>, rebuild: bool) -> Result<(), Trouble> {
        if rebuild && !positions.is_empty() {
            let parts: Vec<Part> = positions.iter().map(|(part, ..)| *part).collect();
            for (part, next, metadata) in self.restore(&parts)? {
                // Without an offset nothing was ever committed: what we began at still counts.
                if next.is_some() {
                    self.ledgers.insert(part, Ledger::new(next, &metadata));
                    self.committed.insert(part, (next, metadata));
                }
            }
            for (part, next, metadata) in &mut positions {
                if let Some(now) = self.committed.get(part) {
                    (*next, *metadata) = now.clone();
                }
            }
        }
        self.transport.read_again(&positions)
    }

    fn drop_waiting(&mut self, parts: &[Part]) {
        self.queues.iter_mut().for_each(|queue| queue.drop_parts(|part| parts.contains(&part)));
        self.penalised.retain(|(_, event)| !parts.contains(&event.part));
    }

    /// Where too many done events stand behind earlier ones for the metadata of a commit, all that wait are answered.
    fn make_fit(&mut self) -> Result<(), Trouble> {
        while self.options.guarantee == Guarantee::ExactlyOnce && !self.ledgers.values().all(Ledger::fits) {
            for (_, event) in std::mem::take(&mut self.penalised) {
                self.queues[self.engine.routes.of(&event)].push_front(event);
            }
            if self.queues.iter().all(Queue::is_empty) {
                break;
            }
            self.answer_next()?;
        }
        Ok(())
    }

    /// Commits what is done; at least once, waits up to `wait` for what is underway.
    pub(super) fn commit(&mut self, wait: Duration) -> Result<(), Trouble> {
        if !wait.is_zero() {
            self.look_at_arrivals(wait)?;
        }
        self.make_fit()?;
        self.last_commit = self.clock.now();
        let now = |(part, ledger): (&Part, &Ledger)| {
            let (next, metadata) = ledger.position()?;
            // At least once goes without it: what it tells is then answered again.
            Some((*part, Some(next), if ledger.fits() { metadata } else { String::new() }))
        };
        let positions: Vec<Position> = self.ledgers.iter().filter_map(now).collect();
        let moved = |(part, next, metadata): &&Position| {
            self.committed.get(part).is_none_or(|(at, known)| at != next || known != metadata)
        };
        let moved: Vec<Position> = positions.iter().filter(moved).cloned().collect();
        // At least once, earlier commits may not be answered yet.
        let is_last = !wait.is_zero() && self.options.guarantee == Guarantee::AtLeastOnce;
        if !moved.is_empty() || self.unsaved || is_last {
            let start = self.clock.now();
            match self.transport.commit(&moved, is_last) {
                Ok(()) => self.metrics.committed(self.clock.since(start)),
                Err(Trouble::Later(text)) => {
                    tracing::debug!(cause = text, "committed later");
                    self.unsaved = true;
                    return Ok(());
                }
                Err(trouble) => return Err(trouble),
            }
        }
        for (part, next, metadata) in moved {
            self.committed.insert(part, (next, metadata));
        }
        self.undo.clear();
        self.unsaved = false;
        self.failures_in_a_row = 0;
        Ok(())
    }
}
