//! A member's transport.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burnrec_serve::Error;
use burnrec_serve::clock::Clock;
use burnrec_serve::event::{Incoming, TopicPartition};
use burnrec_serve::flow::{Change, End, Position, Records, Refused, Transport, Trouble};
use burnrec_serve::outbox::{Outbox, Outgoing, To};
use rand::RngExt;

use super::{Call, Cluster, Inner, LOOK, MOST_IDLE, MOST_LOOKS, NAP, Record};

/// The most bytes of a commit's metadata (`offset.metadata.max.bytes`).
const MOST_METADATA: usize = 4096;

/// The transport of one member: its seat in the group, its reader and its writer.
pub struct Twin {
    pub(super) cluster: Arc<Cluster>,
    pub(super) me: usize,
    /// The worker that it belongs to.
    worker: usize,
    /// Tells the flow to stop.
    pub stop: Arc<AtomicBool>,
    /// The index in each log at which reading goes on.
    pub(super) at: BTreeMap<TopicPartition, usize>,
    paused: BTreeSet<TopicPartition>,
    /// The open transaction.
    transaction: Vec<Record>,
    /// Batches that have not arrived, with how many looks they still take.
    underway: VecDeque<(u64, u32, Vec<Record>)>,
    last_batch: u64,
    arrived: u64,
    /// A commit that is on its way.
    handed: Vec<Position>,
    /// Requests that brokers were found to refuse.
    refused: HashMap<(TopicPartition, i64), String>,
    /// The erasures that the flow was told of since the partition was restored.
    pub(super) told: BTreeSet<(TopicPartition, Vec<u8>)>,
    /// Whether its next commit seems to fail.
    pub(super) doubtful: bool,
    /// Whether another has its name: nothing that it writes counts any more.
    pub(super) fenced: bool,
    /// Whether a commit came since the last failure: failure upon failure makes flows wait.
    pub(super) recovered: bool,
}

impl Twin {
    /// Joins the group, as the next member of a worker whose turn it is.
    pub fn new(cluster: &Arc<Cluster>, worker: usize) -> Self {
        let (me, stop) = cluster.join();
        Self {
            cluster: Arc::clone(cluster),
            me,
            worker,
            stop,
            at: BTreeMap::new(),
            paused: BTreeSet::new(),
            transaction: Vec::new(),
            underway: VecDeque::new(),
            last_batch: 0,
            arrived: 0,
            handed: Vec::new(),
            refused: HashMap::new(),
            told: BTreeSet::new(),
            doubtful: false,
            fenced: false,
            recovered: true,
        }
    }

    fn exactly_once(&self) -> bool {
        self.cluster.rules.exactly_once
    }

    fn check_name(&self) -> Result<(), Trouble> {
        let fenced = || Error::Fenced { group: "twin".into(), instance: "a".into() };
        if self.fenced { Err(Trouble::Fatal(fenced())) } else { Ok(()) }
    }

    /// Lets each message that is on its way either arrive or be lost.
    fn scatter(&mut self, inner: &mut Inner) {
        for record in self.underway.drain(..).flat_map(|(_, _, records)| records) {
            if inner.rng.random_bool(0.5) {
                inner.visible.push(record);
            }
        }
        self.transaction.clear();
    }

    /// Reads a partition from its beginning; what was sent for it is in no transaction any more.
    pub(super) fn begin_again(&mut self, part: TopicPartition) {
        self.at.insert(part, 0);
        self.handed.retain(|(of, ..)| *of != part);
    }

    /// Whether the group takes a commit of this member.
    fn owns(&self, inner: &Inner, positions: &[Position]) -> bool {
        positions.iter().all(|(part, ..)| inner.owners.get(part) == Some(&self.me))
    }

    /// Makes the transaction and the positions visible to all.
    fn make_durable(&mut self, inner: &mut Inner, positions: &[Position]) {
        for (part, next, metadata) in positions {
            assert!(metadata.len() <= MOST_METADATA, "metadata of {} bytes", metadata.len());
            inner.committed.insert(*part, (next.expect("an offset"), metadata.clone()));
        }
        inner.visible.append(&mut self.transaction);
    }

    /// Lets the commit that is on its way arrive, except for partitions that have another owner by now.
    fn settle(&mut self, inner: &mut Inner) {
        for position in std::mem::take(&mut self.handed) {
            if self.owns(inner, std::slice::from_ref(&position)) {
                self.make_durable(inner, &[position]);
            }
        }
    }
}

impl Transport for Twin {
    fn receive(
        &mut self,
        wait: Duration,
        most: usize,
        into: &mut Vec<Incoming>,
    ) -> Result<Vec<Change>, Trouble> {
        self.cluster.pass(self.worker);
        let cluster = Arc::clone(&self.cluster);
        cluster.clock.advance(LOOK);
        let now = cluster.clock.now();
        let mut inner = cluster.lock();
        inner.looks += 1;
        assert!(!inner.failed, "another member failed");
        let ends = inner.looks < MOST_LOOKS && inner.idle < MOST_IDLE;
        assert!(ends, "it never ends after {} looks: {:?}", inner.looks, inner.committed);
        self.befall(&mut inner)?;
        // Who gives up a partition at the end still gets it back.
        let is_settled = inner.alive().iter().all(|member| inner.members[*member].changes.is_empty());
        if is_settled && inner.is_done() {
            inner.members.iter().for_each(|seat| seat.stop.store(true, Ordering::Relaxed));
        }
        self.settle(&mut inner);
        self.fail(&mut inner, cluster.rules.faults.other, "receive")?;
        let ready: Vec<TopicPartition> =
            self.at.keys().filter(|part| !self.paused.contains(part)).copied().collect();
        let before = into.len();
        while into.len() < before + most {
            let left = |part: &&TopicPartition| self.at[part] < inner.log[part].len();
            let ready: Vec<TopicPartition> = ready.iter().filter(left).copied().collect();
            if ready.is_empty() || into.len() > before && inner.rng.random_bool(0.05) {
                break;
            }
            let part = ready[inner.rng.random_range(0..ready.len())];
            let at = self.at.get_mut(&part).expect("it is read");
            into.push(inner.log[&part][*at].event(now, part));
            *at += 1;
            if inner.rng.random_bool(cluster.rules.faults.other) {
                // A client that pauses at this moment hands out once more what it has just handed out.
                *at -= inner.rng.random_range(1..=3).min(*at);
            }
        }
        let mut changes: Vec<Change> = inner.members[self.me].changes.drain(..).collect();
        if into.len() > before {
            inner.received += into.len() - before;
            inner.calls.push(Call::Received(into.len() - before));
        }
        let busy = into.len() > before || !changes.is_empty() || !self.underway.is_empty();
        inner.idle = if busy { 0 } else { inner.idle + 1 };
        let alive = inner.alive().len();
        if inner.idle > 4 * alive || inner.idle > 0 && alive == 1 {
            // No member has anything to do, so time passes.
            cluster.clock.advance(if alive == 1 { wait } else { wait.min(NAP) });
        }
        changes.extend(self.erasures(&inner));
        Ok(changes)
    }

    fn positions(
        &mut self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> Result<Vec<Position>, Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        self.fail(&mut inner, cluster.rules.faults.positions, "positions")?;
        self.told.retain(|(part, _)| !parts.contains(part));
        for kept in inner.visible.iter().filter(|kept| kept.to == To::State) {
            for part in parts.iter().filter(|part| part.partition == kept.part.partition) {
                record(*part, kept.key.as_deref().expect("a key"), kept.value.as_deref());
            }
        }
        let position = |part: &TopicPartition| match inner.committed.get(part) {
            Some((next, metadata)) => (*part, Some(*next), metadata.clone()),
            None => (*part, None, String::new()),
        };
        Ok(parts.iter().map(position).collect())
    }

    fn partitions(&self, _: u16) -> Option<i32> {
        None
    }

    fn begin(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        for (part, next, _) in positions {
            let before = |event: &&super::Stored| event.offset < next.unwrap_or(0);
            self.at.insert(*part, inner.log[part].iter().take_while(before).count());
            self.paused.remove(part);
        }
        self.fail(&mut inner, cluster.rules.faults.other, "begin")
    }

    fn release(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        for part in parts {
            self.at.remove(part);
            self.paused.remove(part);
            inner.given_up(*part, self.me);
        }
        self.fail(&mut inner, cluster.rules.faults.other, "give up")
    }

    fn ends(&mut self) -> Vec<End> {
        let cluster = Arc::clone(&self.cluster);
        let inner = cluster.lock();
        let end = |(part, at): (&TopicPartition, &usize)| {
            // Each partition ends with a transaction's marker.
            let log = &inner.log[part];
            let offset = log.last().map_or(0, |last| last.offset + 1) + 1;
            End { part: *part, offset, is_read: *at == log.len() }
        };
        self.at.iter().map(end).collect()
    }

    fn refused(&self, events: &[Incoming], outbox: &Outbox) -> Vec<Refused> {
        let why = |message: &Outgoing| {
            let event = &events[message.event as usize];
            let large = self.is_too_large(message, event);
            match self.cluster.rules.brokers_refuse {
                true => self.refused.get(&(event.part, event.offset)).filter(|_| large).cloned(),
                false => large.then(|| "too large".to_owned()),
            }
        };
        let messages = outbox.messages.iter().enumerate();
        messages.filter_map(|(message, of)| Some(Refused { message, text: why(of)? })).collect()
    }

    fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        self.check_name()?;
        self.fail(&mut inner, cluster.rules.faults.send, "send")?;
        if batch != self.last_batch {
            assert!(batch > self.last_batch, "batch numbers ascend");
            inner.calls.push(Call::Sent(events.iter().map(|event| (event.part, event.offset)).collect()));
        }
        self.last_batch = batch;
        let mut records = Vec::new();
        for message in &outbox.messages {
            let event = &events[message.event as usize];
            if self.is_too_large(message, event) {
                assert!(cluster.rules.brokers_refuse, "{:?} was known to be refused", message.to);
                let known =
                    self.refused.insert((event.part, event.offset), "too large for the brokers".into());
                assert!(known.is_none(), "{:?} was refused before", message.to);
                return Err(Trouble::Abort("refused".into()));
            }
            records.push(self.record(event, message, outbox));
        }
        if self.exactly_once() {
            self.transaction.extend(records);
        } else {
            let most = cluster.rules.delay;
            let looks = if cluster.rules.slow { most } else { inner.rng.random_range(0..=most) };
            match self.underway.back_mut() {
                Some((last, _, all)) if *last == batch => all.extend(records),
                _ => self.underway.push_back((batch, looks, records)),
            }
        }
        Ok(())
    }

    fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        self.fail(&mut inner, cluster.rules.faults.arrived, "arrived")?;
        while let Some((batch, looks, records)) = self.underway.front_mut() {
            if *looks > 0 && (wait.is_zero() || cluster.rules.slow) {
                *looks -= 1;
                break;
            }
            inner.visible.append(records);
            self.arrived = *batch;
            self.underway.pop_front();
        }
        Ok(self.arrived)
    }

    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        self.settle(&mut inner);
        self.check_name()?;
        let failed = self.fail(&mut inner, cluster.rules.faults.commit, "commit");
        if failed.is_err() {
            // Whether the commit succeeded all the same is known only after a rebuild.
            let is_one = matches!(failed, Err(Trouble::Rebuild(_))) && inner.rng.random_bool(0.5);
            if is_one && self.owns(&inner, positions) {
                self.make_durable(&mut inner, positions);
            }
            return failed;
        }
        if !self.owns(&inner, positions) {
            let text = "not of this generation".to_owned();
            self.recovered = false;
            return Err(if self.exactly_once() { Trouble::Abort(text) } else { Trouble::Later(text) });
        }
        if wait || self.exactly_once() {
            self.make_durable(&mut inner, positions);
        } else {
            self.handed = positions.to_vec();
        }
        if std::mem::take(&mut self.doubtful) {
            return Err(Trouble::Rebuild("no answer to a commit".into()));
        }
        let moved = positions.iter().map(|(part, next, text)| (*part, next.unwrap_or(0), text.clone()));
        inner.calls.push(Call::Committed(moved.collect()));
        self.recovered = true;
        Ok(())
    }

    fn abort(&mut self, rebuild: bool) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        self.check_name()?;
        inner.calls.push(Call::Aborted { rebuild });
        self.scatter(&mut inner);
        if inner.fails(&cluster.rules, cluster.rules.faults.abort) {
            return Err(Trouble::Rebuild("abort".into()));
        }
        Ok(())
    }

    fn rewind(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        if inner.fails(&cluster.rules, cluster.rules.faults.abort) {
            return Err(Trouble::Rebuild("read again".into()));
        }
        for (part, next, _) in positions {
            if let Some(at) = self.at.get_mut(part) {
                let before = |event: &&super::Stored| event.offset < next.unwrap_or(0);
                *at = inner.log[part].iter().take_while(before).count();
            }
        }
        self.paused.clear();
        Ok(())
    }

    fn pause(&mut self, parts: &[TopicPartition], paused: bool) -> Result<(), Trouble> {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        self.fail(&mut inner, cluster.rules.faults.other, "pause")?;
        let received = inner.received;
        inner.calls.push(Call::Paused { parts: parts.to_vec(), paused, received });
        for part in parts {
            if paused {
                self.paused.insert(*part);
            } else {
                self.paused.remove(part);
            }
        }
        Ok(())
    }
}

impl Drop for Twin {
    /// Ends the process, be it in a panic: what it had not committed is lost, and others go on.
    fn drop(&mut self) {
        let cluster = Arc::clone(&self.cluster);
        let mut inner = cluster.lock();
        inner.failed |= std::thread::panicking();
        self.scatter(&mut inner);
        drop(inner);
        cluster.leave(self.me);
    }
}
