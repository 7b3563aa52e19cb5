//! The thread that collects events in blocks and writes these.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::block::Block;
use super::ids::IdHash;
use super::record::Batch;
use super::store::{Sizes, Store};
use crate::Result;
use crate::clock::{Clock, SystemClock};
use crate::config::ProvenanceConfig;
use crate::metrics::Metrics;

/// How long an event waits until it is on disk: what a `kill -9` takes from the index at most.
const WAIT: Duration = Duration::from_secs(1);

/// How often an index that gets no events looks whether some have become too old.
const IDLE: Duration = Duration::from_secs(60);

/// A block that has so many events when it is written is not written again; a smaller one takes the next events.
const LEAST: usize = 1 << 12;

/// A block that began so long ago is not written again either, so that it becomes too old as a whole.
const OLD_MS: i64 = 600_000;

/// At so many full blocks these are written, however soon that is.
const FULL_BLOCKS: usize = 8;

/// What the thread is told.
pub enum Message {
    /// These events are committed.
    Batches(Vec<Batch>),
    /// Tell when all before is on disk.
    Flush(SyncSender<()>),
    /// Write all, and end.
    Stop,
}

/// Collects events and writes them.
pub struct Writer {
    store: Arc<Store>,
    hours: u32,
    bytes: u64,
    metrics: Arc<Metrics>,
    queued: Arc<AtomicUsize>,
    sizes: Sizes,
    /// The number of the block that is being filled.
    number: u64,
    block: Block,
    /// Blocks that are full and not written.
    full: Vec<(u64, Block)>,
    /// Since when something is not written.
    since: Option<Instant>,
    looked: Instant,
}

impl Writer {
    /// Goes on where the store ends.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(
        store: &Arc<Store>,
        config: &ProvenanceConfig,
        metrics: &Arc<Metrics>,
        queued: &Arc<AtomicUsize>,
    ) -> Result<Self> {
        let sizes = store.sizes()?;
        Ok(Self {
            store: Arc::clone(store),
            hours: config.hours,
            bytes: config.bytes,
            metrics: Arc::clone(metrics),
            queued: Arc::clone(queued),
            number: sizes.next(),
            sizes,
            block: Block::default(),
            full: Vec::new(),
            since: None,
            looked: Instant::now(),
        })
    }

    /// Runs until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let wait = self.since.map_or(IDLE, |since| WAIT.saturating_sub(since.elapsed()));
            let mut flushed = None;
            match receiver.recv_timeout(wait) {
                Ok(Message::Batches(batches)) => batches.into_iter().for_each(|batch| self.add(batch)),
                Ok(Message::Flush(done)) => flushed = Some(done),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.write(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let is_due = self.since.is_some_and(|since| since.elapsed() >= WAIT || flushed.is_some());
            if is_due || self.full.len() >= FULL_BLOCKS || self.looked.elapsed() >= IDLE {
                self.write();
            }
            // Who asked may be gone.
            if let Some(done) = flushed {
                let _ = done.try_send(());
            }
        }
    }

    fn add(&mut self, batch: Batch) {
        if self.block.is_full() {
            self.next_block(true);
        }
        self.queued.fetch_sub(batch.weight(), Ordering::Relaxed);
        self.since.get_or_insert_with(Instant::now);
        self.block.add(batch);
    }

    fn next_block(&mut self, is_to_write: bool) {
        let block = std::mem::take(&mut self.block);
        if is_to_write {
            self.full.push((self.number, block));
        }
        self.number += 1;
    }

    fn write(&mut self) {
        let (now_ms, mut full) = (SystemClock.unix_ms(), std::mem::take(&mut self.full));
        let (store, sizes, block, number) = (&self.store, &mut self.sizes, &mut self.block, self.number);
        let new = full.iter().map(|(_, block)| block.events.len()).sum::<usize>();
        let written = store.write(sizes, now_ms - i64::from(self.hours) * 3_600_000, self.bytes, |erased| {
            let last = (!block.events.is_empty()).then_some((number, &mut *block));
            let all = full.iter_mut().map(|(number, block)| (*number, block)).chain(last);
            let all = all.map(|(number, block)| {
                without(block, erased);
                (number, block.encode())
            });
            all.collect()
        });
        self.looked = Instant::now();
        self.since = None;
        match written {
            Ok(()) => {
                self.metrics.warn("provenance", None);
                self.metrics.provenance.bytes.set(self.sizes.bytes as i64);
                let first = self.block.events.first();
                if first
                    .is_some_and(|first| self.block.events.len() >= LEAST || first.at_ms < now_ms - OLD_MS)
                {
                    self.next_block(false);
                }
            }
            Err(error) => {
                tracing::error!(%error, "events are missing in the index");
                self.metrics.provenance.missed.inc_by(new as u64);
                self.metrics.warn("provenance", Some(error.to_string()));
                // What is in the block being filled is tried again with the next events.
            }
        }
    }
}

/// Takes out of a block who was erased, up to that moment.
fn without(block: &mut Block, erased: &[(IdHash, i64)]) {
    if !erased.is_empty() {
        let erased: HashMap<IdHash, i64> = erased.iter().copied().collect();
        block.remove(|event| erased.get(&event.user).is_some_and(|at_ms| event.at_ms <= *at_ms));
    }
}
