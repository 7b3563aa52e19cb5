//! What happened to events: an index of the last hours that is searched by user, item, source, id, time, outcome and model.
//!
//! ```text
//! a batch is answered ─► Tracer: its events in columns ─► committed ─► Index: a channel ─► Writer: blocks ─► Store: one redb file
//! ```
//!
//! A worker hands over what it has committed and goes on: it never waits for the index. Where more than [`MOST_QUEUED`] events wait,
//! further ones are counted as missed. An event is one row of a block of some ten thousand, so that none of it is a look-up in a
//! tree; a search leaves out blocks by their times, their facts and a filter of the hashes of ids in them.

mod block;
mod filter;
mod ids;
mod person;
mod record;
mod search;
mod store;
mod tracer;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use ids::{IdHash, IdHasher};
pub use person::{erase_user, user_events};
pub use record::{Batch, Facts, ModelFacts, Row, Trace, Traces};
pub use search::{Found, Page, Query, Source, Wanted, moment};
pub use tracer::Tracer;

use crate::clock::{Clock, SystemClock};
use crate::config::ProvenanceConfig;
use crate::metrics::Metrics;
use crate::{Error, Result};
use store::Store;
use writer::{Message, Writer};

/// The most events that wait for the index: about 40 MB.
pub const MOST_QUEUED: usize = 1 << 19;

/// How long a search waits for what was committed before it.
const FLUSHED: Duration = Duration::from_secs(10);

/// The index of a service.
pub struct Index {
    store: Arc<Store>,
    config: ProvenanceConfig,
    metrics: Arc<Metrics>,
    /// How much waits, by [`Batch::weight`].
    queued: Arc<AtomicUsize>,
    sender: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The number of the next request over HTTP, which is in no topic.
    http: AtomicI64,
}

impl Index {
    /// Opens the index of a config, and starts its thread.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(config: &ProvenanceConfig, metrics: &Arc<Metrics>) -> Result<Arc<Self>> {
        let store = Arc::new(Store::open(&config.dir)?);
        let (sender, receiver) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let writer = Writer::new(&store, config, metrics, &queued)?;
        let run = move || writer.run(&receiver);
        let thread = std::thread::Builder::new().name("provenance".into()).spawn(run);
        let thread = thread.map_err(burnrec_data::Error::io("start a thread for", &config.dir))?;
        Ok(Arc::new(Self {
            store,
            config: config.clone(),
            metrics: Arc::clone(metrics),
            queued,
            sender,
            thread: Mutex::new(Some(thread)),
            // In microseconds, so that no number comes again after a restart.
            http: AtomicI64::new(SystemClock.unix_ms() * 1000),
        }))
    }

    /// Returns where it is.
    pub fn dir(&self) -> &Path {
        &self.config.dir
    }

    /// Returns the hashes of ids by the key of this index.
    pub fn ids(&self) -> &IdHasher {
        &self.store.ids
    }

    /// Takes events that are committed; counts them as missed where too many wait.
    pub fn take(&self, batches: Vec<Batch>) {
        let n: usize = batches.iter().map(|batch| batch.rows.len()).sum();
        if n == 0 {
            return;
        }
        let weight: usize = batches.iter().map(Batch::weight).sum();
        let room = |queued: usize| (queued + weight <= MOST_QUEUED).then_some(queued + weight);
        let has_room = self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok();
        if !has_room || self.sender.send(Message::Batches(batches)).is_err() {
            self.missed(n);
        }
    }

    /// Counts events that are not in the index.
    pub fn missed(&self, n: usize) {
        self.metrics.provenance.missed.inc_by(n as u64);
    }

    /// Returns the number of the next request over HTTP.
    fn next_http(&self) -> i64 {
        self.http.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns for how many hours it has events, the bytes of these, and how many events are not in it.
    #[cfg(feature = "http")]
    pub(crate) fn status(&self) -> serde_json::Value {
        let counts = &self.metrics.provenance;
        serde_json::json!({
            "hours": self.config.hours, "bytes": counts.bytes.get(), "missed": counts.missed.get(),
        })
    }

    /// Waits until all that was taken before is on disk.
    ///
    /// # Errors
    /// When it is not within ten seconds.
    pub fn flush(&self) -> Result<()> {
        let (done, waits) = sync_channel(1);
        // Without its thread, all that it took is on disk.
        if self.sender.send(Message::Flush(done)).is_err() {
            return Ok(());
        }
        match waits.recv_timeout(FLUSHED) {
            Ok(()) | Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Ok(()),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                let found = format!("no word of its thread for {FLUSHED:?}");
                Err(Error::Stop { by: "provenance".into(), found })
            }
        }
    }

    /// Searches what was committed before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn search(&self, query: &Query) -> Result<Page> {
        self.flush()?;
        let hours = i64::from(self.config.hours) * 3_600_000;
        search::search(&self.store.read()?, query, SystemClock.unix_ms() - hours)
    }

    /// Writes what was taken, and ends.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // An error is that it has ended by itself.
            drop(self.sender.send(Message::Stop));
            drop(thread.join());
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.close();
    }
}
