//! Members come and go, and partitions with them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, MutexGuard, PoisonError};

use burnrec_serve::event::TopicPartition;
use burnrec_serve::flow::Change;
use rand::RngExt;

use super::{Cluster, Inner, Seat};

impl Cluster {
    /// Takes a seat in the group; returns its number, and the flag by which its member is stopped.
    pub(super) fn join(&self) -> (usize, Arc<AtomicBool>) {
        let mut inner = self.lock();
        if inner.alive().is_empty() {
            inner.begin(&self.rules.begin);
        }
        let stop = Arc::new(AtomicBool::new(false));
        inner.members.push(Seat { alive: true, stop: Arc::clone(&stop), ..Seat::default() });
        let me = inner.members.len() - 1;
        inner.assign_free();
        (me, stop)
    }

    /// Leaves the group: its partitions are free. Its worker keeps the turn, and may join again.
    pub(super) fn leave(&self, me: usize) {
        let mut inner = self.lock();
        inner.members[me].alive = false;
        inner.members[me].changes.clear();
        inner.owners.retain(|_, owner| *owner != me);
        inner.lost.retain(|(_, from)| *from != me);
        inner.assign_free();
    }

    /// Waits for a worker's first turn; dropping what this returns gives the turn away for good.
    pub fn work(self: &Arc<Self>, worker: usize) -> AtWork {
        self.wait(self.lock(), worker);
        AtWork { cluster: Arc::clone(self), worker }
    }

    /// Gives the turn away and waits until it comes back.
    pub(super) fn pass(&self, worker: usize) {
        let mut inner = self.lock();
        inner.next_turn();
        self.turn.notify_all();
        self.wait(inner, worker);
    }

    fn wait(&self, inner: MutexGuard<'_, Inner>, worker: usize) {
        let waited = self.turn.wait_while(inner, |inner| inner.running != worker);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// A worker that has not ended.
pub struct AtWork {
    cluster: Arc<Cluster>,
    worker: usize,
}

impl Drop for AtWork {
    /// Ends the worker, be it in a panic, and gives the turn to another.
    fn drop(&mut self) {
        let mut inner = self.cluster.lock();
        inner.workers.remove(&self.worker);
        inner.next_turn();
        drop(inner);
        self.cluster.turn.notify_all();
    }
}

impl Inner {
    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&at| self.members[at].alive).collect()
    }

    /// Commits where the group begins with topics of which it has committed no offset.
    fn begin(&mut self, begins: &BTreeMap<TopicPartition, i64>) {
        let known: Vec<u16> = self.committed.keys().map(|part| part.topic).collect();
        let new = begins.iter().filter(|(part, _)| !known.contains(&part.topic));
        self.committed.extend(new.map(|(part, offset)| (*part, (*offset, String::new()))));
    }

    fn next_turn(&mut self) {
        if !self.workers.is_empty() {
            let next = self.rng.random_range(0..self.workers.len());
            self.running = self.workers.iter().copied().nth(next).expect("one of them");
        }
    }

    /// Assigns partitions without an owner to members that are alive.
    fn assign_free(&mut self) {
        let alive = self.alive();
        let parts: Vec<TopicPartition> = self.log.keys().copied().collect();
        let mut came: Vec<Vec<TopicPartition>> = vec![Vec::new(); self.members.len()];
        for part in parts {
            if !alive.is_empty() && !self.owners.contains_key(&part) {
                let to = alive[self.rng.random_range(0..alive.len())];
                self.owners.insert(part, to);
                came[to].push(part);
            }
        }
        for (to, parts) in came.into_iter().enumerate().filter(|(_, parts)| !parts.is_empty()) {
            self.members[to].changes.push_back(Change::Assigned(parts));
        }
    }

    pub(super) fn move_part(&mut self, part: TopicPartition, to: usize, lost: bool) {
        let Some(&from) = self.owners.get(&part) else { return };
        if self.going.contains_key(&part) {
            return;
        }
        self.members[from].changes.push_back(Change::Revoked { parts: vec![part], lost });
        if lost {
            self.lost.push((part, from));
            self.owners.insert(part, to);
            self.members[to].changes.push_back(Change::Assigned(vec![part]));
        } else {
            self.going.insert(part, to);
        }
    }

    /// Notes that a member has given a partition up, and assigns it to the next owner.
    pub(super) fn given_up(&mut self, part: TopicPartition, by: usize) {
        if let Some(known) = self.lost.iter().position(|lost| *lost == (part, by)) {
            self.lost.swap_remove(known);
            return;
        }
        match self.going.remove(&part).filter(|&to| self.members[to].alive) {
            Some(to) => {
                self.owners.insert(part, to);
                self.members[to].changes.push_back(Change::Assigned(vec![part]));
            }
            None => {
                self.owners.remove(&part);
                self.assign_free();
            }
        }
    }
}
