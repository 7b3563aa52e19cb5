//! Control while the service runs: its config in numbered versions, which are checked whole, taken up whole, looked at,
//! compared and rolled back, by an HTTP listener of its own (`api`) for those whose token lets them.
//!
//! ```text
//! a config ─► draft: what cannot change? ─► opened: models, table ─► the log ─► taken up between two batches
//!                                                                     │
//!                        a file in control.dir, or the compacted topic control.topic, which every instance follows
//! ```
//!
//! A version holds all that may change ([`Changeable`]), so that the newest one alone is enough to go on from. What the log
//! says is what runs: an instance that cannot take it up says so, goes on with what it has, and tries again.

mod api;
mod ask;
pub(crate) mod audit;
mod draft;
mod file_log;
mod host;
mod known;
#[cfg(feature = "kafka")]
mod replays;
mod start;
#[cfg(feature = "kafka")]
mod topic_log;
mod version;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burnrec_data::calendar::date_time;
use burnrec_data::hash;
use serde::{Deserialize, Serialize};

pub(crate) use api::router;
pub use ask::{Asked, Outcome, Refusal};
pub use start::Opened;
pub use version::{Act, Change, Version};

use crate::clock::{Clock, SystemClock};
use crate::config::{Changeable, Limits, Role, ServeConfig};
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::served::Served;
use crate::settings::{Run, Settings};
use crate::{Error, Result};
use audit::Audit;
use file_log::FileLog;
use known::Known;
#[cfg(feature = "kafka")]
use topic_log::TopicLog;

/// How long a change waits until it is known which version it became.
const CONFIRMED: Duration = Duration::from_secs(10);

/// How long after a version could not be taken up it is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Returns the most bytes of a record of the state topic under some limits.
pub type RecordBytes = Box<dyn Fn(&Limits) -> Result<usize> + Send + Sync>;

/// Where versions are kept.
enum Log {
    File(FileLog),
    #[cfg(feature = "kafka")]
    Topic(Box<TopicLog>),
}

/// What an instance says of itself to the others.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Instance {
    /// The version that answers.
    pub version: u64,
    /// When it said so, in Unix milliseconds.
    pub at_ms: i64,
    /// Why it is not the newest.
    pub trouble: Option<String>,
}

/// A version that was checked and opened.
struct Ready {
    settings: Settings,
    models: Vec<Served>,
    record_bytes: usize,
}

/// A version that is opened and written, and may not count yet.
struct Begun {
    /// The key of its record.
    key: String,
    /// The version that answered while it was opened, whose models are not opened again.
    base: u64,
    ready: Ready,
}

/// The versions of a running service's config.
pub struct Control {
    running: ServeConfig,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    record_bytes: RecordBytes,
    log: Log,
    /// Where calls are written down.
    pub(crate) audit: Arc<Audit>,
    /// The replays that were asked for.
    #[cfg(feature = "kafka")]
    replays: replays::Replays,
    /// The name of this instance.
    instance: String,
    known: Mutex<Known>,
    /// Told when a version is known, and when one is taken up.
    changed: Condvar,
    /// Held by the one change at a time.
    changing: Mutex<()>,
    /// The version that this instance has opened already, to be taken up when the topic has it.
    opened: Mutex<Option<Begun>>,
    _lock: std::fs::File,
}

impl Control {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the newest version that is known, and the one that answers.
    pub fn versions(&self) -> (u64, u64) {
        let known = self.known();
        (known.newest().version, known.applied)
    }

    /// Puts a config in place of the present one.
    ///
    /// # Errors
    /// When it is refused; nothing of it is taken up then.
    pub fn put(&self, text: &str, is_json: bool, asked: &Asked<'_>) -> Result<Outcome, Refusal> {
        self.change(Act::Put, asked, |known| {
            Ok((draft::read(text, is_json, &self.running)?, known.newest().run))
        })
    }

    /// Takes an earlier version up again, as a new one; by default the last that differs from the present one. Whether the
    /// flow runs or pauses stays as it is.
    ///
    /// # Errors
    /// When there is none, or it cannot be taken up any more.
    pub fn roll_back(&self, to: Option<u64>, asked: &Asked<'_>) -> Result<Outcome, Refusal> {
        self.change(Act::Rollback, asked, |known| {
            let newest = known.newest();
            let differs = |of: &Version| {
                let changes = newest.changes_to(&of.config, newest.run, newest.table_hash.as_ref());
                !changes.is_empty()
            };
            let found = match to {
                Some(to) => known.versions.iter().find(|version| version.version == to),
                None => known.versions.iter().rev().find(|version| differs(version)),
            };
            let missing = || match to {
                Some(to) => missing(&known.versions, to),
                None => Refusal::Missing("no earlier version differs from the present one".to_owned()),
            };
            Ok((found.ok_or_else(missing)?.config.clone(), newest.run))
        })
    }

    /// Lets the flow run, pause or drain.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn set_run(&self, run: Run, asked: &Asked<'_>) -> Result<Outcome, Refusal> {
        let act = match run {
            Run::Running => Act::Resume,
            Run::Paused => Act::Pause,
            Run::Draining => Act::Drain,
        };
        self.change(act, asked, |known| Ok((known.newest().config.clone(), run)))
    }

    fn change(
        &self,
        act: Act,
        asked: &Asked<'_>,
        wanted: impl FnOnce(&Known) -> Result<(Changeable, Run), Refusal>,
    ) -> Result<Outcome, Refusal> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (newest, (tables, run)) = {
            let known = self.known();
            if known.unreadable > known.newest().version {
                return Err(Refusal::Conflict(known.trouble.clone().unwrap_or_default()));
            }
            (known.newest().clone(), wanted(&known)?)
        };
        if let Some(base) = asked.base.filter(|base| *base != newest.version) {
            let text =
                format!("version {} is the newest; expected {base}, which this is based on", newest.version);
            return Err(Refusal::Conflict(text));
        }
        let config = self.running.with(tables);
        config.validate()?;
        let (number, tables) = (newest.version + 1, config.changeable());
        let changes = newest.changes_to(&tables, run, newest.table_hash.as_ref());
        if let Some(change) = changes.iter().find(|change| change.names_files())
            && !asked.by.may(Role::Admin)
        {
            // Before any file is looked at: what an error says of files is not for everybody.
            let text = format!("{} names files; expected the role admin", change.field);
            return Err(Refusal::Forbidden(text));
        }
        let base = self.engine.models.live().settings.version;
        let (ready, table_hash) = self.open(&config, number, run)?;
        let changes = newest.changes_to(&tables, run, table_hash.as_ref());
        if asked.check || changes.is_empty() {
            return Ok(Outcome { version: newest.version, changes });
        }
        let version = Version {
            version: number,
            at: date_time(SystemClock.unix_ms() / 1000),
            by: asked.by.name.clone(),
            note: asked.note.clone(),
            act,
            run,
            changes: changes.clone(),
            table_hash,
            files: newest.files.clone(),
            config: tables,
        };
        self.commit(version, base, ready)?;
        Ok(Outcome { version: number, changes })
    }

    /// Opens what a config names; returns the hash of its table, too.
    fn open(&self, config: &ServeConfig, version: u64, run: Run) -> Result<(Ready, Option<String>)> {
        let record_bytes = (self.record_bytes)(&config.limits)?;
        // The hash first: a table that changes while it is read is then seen to have changed.
        let table_hash = table_hash(config)?;
        let settings = Settings::open(config, version, run)?;
        let models = self.engine.models.open_new(&settings)?;
        Ok((Ready { settings, models, record_bytes }, table_hash))
    }

    /// Writes a version down, and takes it up.
    fn commit(&self, version: Version, base: u64, ready: Ready) -> Result<(), Refusal> {
        #[cfg(not(feature = "kafka"))]
        let _ = base;
        match &self.log {
            Log::File(log) => {
                log.append(&version, || self.known().versions.clone())?;
                self.exchange(ready);
                let mut known = self.known();
                known.applied = version.version;
                known.push(version);
                drop(known);
                self.changed.notify_all();
                Ok(())
            }
            #[cfg(feature = "kafka")]
            Log::Topic(log) => {
                let number = version.version;
                let key = log.key(number);
                let begun = Begun { key: key.clone(), base, ready };
                *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
                log.append(&key, &version)?;
                let known = self.known();
                let waits = |known: &mut Known| {
                    known.newest().version < number || (known.applied < number && known.trouble.is_none())
                };
                let waited = self.changed.wait_timeout_while(known, CONFIRMED, waits);
                let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
                match known.versions.iter().find(|known| known.version == number) {
                    None => Err(Refusal::Unconfirmed(format!(
                        "version {number} did not come back from {} within {} s; look at the versions again before you repeat it",
                        log.topic(),
                        CONFIRMED.as_secs()
                    ))),
                    Some(found) if !log.counts(number, &key) => Err(Refusal::Conflict(format!(
                        "version {number} was made by {} at the same time",
                        found.by
                    ))),
                    Some(_) => Ok(()),
                }
            }
        }
    }

    fn exchange(&self, ready: Ready) {
        let Ready { settings, models, record_bytes } = ready;
        tracing::info!(
            version = settings.version,
            run = settings.run.name(),
            "a version of the config is taken up"
        );
        self.engine.bound_records(record_bytes);
        self.engine.models.change(settings, models);
    }

    /// Follows the versions that other instances make; called again and again while the service runs.
    pub fn look(&self) {
        #[cfg(feature = "kafka")]
        if let Log::Topic(log) = &self.log {
            log.look(self);
        }
    }

    /// Takes up the newest version, if it is not taken up and was not tried just now.
    #[cfg(feature = "kafka")]
    fn catch_up(&self) {
        let newest = {
            let known = self.known();
            let is_due = known.trouble.is_none() || known.tried.elapsed() >= AGAIN;
            if known.newest().version == known.applied || !is_due {
                return;
            }
            known.newest().clone()
        };
        let taken = self.take_up(&newest);
        let mut known = self.known();
        known.tried = Instant::now();
        known.trouble = taken.err().map(|error| not_taken_up(newest.version, known.applied, &error));
        match &known.trouble {
            None => known.applied = newest.version,
            Some(text) => tracing::warn!("{text}"),
        }
        drop(known);
        self.changed.notify_all();
    }

    #[cfg(feature = "kafka")]
    fn take_up(&self, version: &Version) -> Result<()> {
        let answers = self.engine.models.live().settings.version;
        let counts = |key: &str| matches!(&self.log, Log::Topic(log) if log.counts(version.version, key));
        let begun = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begun = begun.filter(|begun| begun.base == answers && counts(&begun.key));
        let ready = match begun {
            Some(begun) => begun.ready,
            None => {
                let config = self.running.with(version.config.clone());
                config.validate()?;
                let (ready, found) = self.open(&config, version.version, version.run)?;
                if found != version.table_hash {
                    let of = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "none".to_owned());
                    let expected =
                        format!("one of the hash {}, as the version was made with", of(&version.table_hash));
                    return Err(Error::config(
                        "table.path",
                        format!("a file of the hash {}", of(&found)),
                        expected,
                    ));
                }
                ready
            }
        };
        self.exchange(ready);
        Ok(())
    }

    /// Says that this instance is there no more.
    pub fn leave(&self) {
        #[cfg(feature = "kafka")]
        if let Log::Topic(log) = &self.log {
            log.leave(&self.instance);
        }
    }
}

/// Says why the newest version does not answer.
fn not_taken_up(newest: u64, answers: u64, error: &Error) -> String {
    format!("version {newest} of the config is not taken up, and version {answers} answers: {error}")
}

fn missing(versions: &[Version], asked: u64) -> Refusal {
    let (first, last) = (versions.first(), versions.last());
    let of = |version: Option<&Version>| version.map_or(0, |version| version.version);
    Refusal::Missing(format!("version {asked}; expected one of {} to {}", of(first), of(last)))
}

/// Returns the first half of the SHA-256 of the file that `table.path` names.
fn table_hash(config: &ServeConfig) -> Result<Option<String>> {
    let hash = config.table.as_ref().map(|table| hash::file(&table.path)).transpose()?;
    Ok(hash.map(|hash| hash[..12].to_owned()))
}
