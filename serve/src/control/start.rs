//! How control begins: which version a service starts with.
//!
//! The newest version goes on. Where the config file has changed since, so that no version was made from what it says, the file
//! becomes the next version. A file that an earlier version was made from does not come back by a restart: several instances may
//! be started with it at different times, and each would undo what was changed since. What a file says is what differs from the
//! defaults, so that it is the same for the next build.
//!
//! Where the newest version cannot be opened here, the newest that can be answers, and the service says so and tries again.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use burnrec_data::calendar::date_time;
use burnrec_data::write::lock_dir;
use burnrec_models::saved::short_manifest_hash;
use serde_json::Value;

use super::audit::Audit;
use super::file_log::FileLog;
#[cfg(feature = "kafka")]
use super::topic_log::{Said, TopicLog};
use super::version::{self, keep_newest};
use super::{Act, Control, Instance, Known, Log, RecordBytes, Version, not_taken_up, table_hash};
#[cfg(feature = "kafka")]
use super::{CONFIRMED, topic_log};
use crate::clock::{Clock, SystemClock};
use crate::config::{Changeable, ControlConfig, ServeConfig};
use crate::engine::Engine;
use crate::http::tokens::hashed;
use crate::metrics::Metrics;
use crate::settings::{Run, Settings};
use crate::{Error, Result};

/// How many config files are known again.
const FILES: usize = 100;

/// The log of a service that is about to start.
pub struct Opened {
    /// The config to start with: the file's, with what the version has in place of it.
    pub config: ServeConfig,
    log: Log,
    audit: Audit,
    versions: Vec<Version>,
    instances: BTreeMap<String, Instance>,
    /// The version that is made of the file, if it has changed.
    new: Option<Version>,
    /// Whether the table is another than the version was made with.
    other_table: bool,
    /// The last version that this build cannot read, if it is the newest.
    unreadable: Option<u64>,
    /// The version to start with, where it is not the newest, and why.
    behind: Option<(Version, String)>,
    lock: std::fs::File,
}

impl Known {
    /// Adds the next version, and drops the oldest of too many.
    pub(super) fn push(&mut self, version: Version) {
        self.versions.push(version);
        keep_newest(&mut self.versions);
    }
}

impl Opened {
    /// Reads the versions of a config that has a table `[control]`.
    ///
    /// # Errors
    /// When the directory is another service's, or the versions cannot be read.
    pub fn open(config: &ServeConfig, control: &ControlConfig) -> Result<Self> {
        let lock = lock_dir(&control.dir)?;
        let audit = Audit::open(&control.dir)?;
        let Read { log, versions, instances, unreadable } = read(config, control)?;
        let found = table_hash(config)?;
        let tables = config.changeable();
        let file = hashed(said(&tables).to_string().as_bytes())[..12].to_owned();
        let start = |before: Option<&Version>, act, config: crate::config::Changeable, table_hash| {
            let run = before.map_or(Run::Running, |before| before.run);
            let mut files = before.map(|before| before.files.clone()).unwrap_or_default();
            if files.last() != Some(&file) {
                files.retain(|known| *known != file);
                files.push(file.clone());
                files.drain(..files.len().saturating_sub(FILES));
            }
            let changes = before
                .map(|before| before.changes_to(&config, run, Option::as_ref(&table_hash)))
                .unwrap_or_default();
            Version {
                version: before.map_or(0, |before| before.version) + 1,
                at: date_time(SystemClock.unix_ms() / 1000),
                by: "config file".to_owned(),
                note: String::new(),
                act,
                run,
                changes,
                table_hash,
                files,
                config,
            }
        };
        let newest = versions.last();
        let is_new = !newest.is_some_and(|newest| newest.files.contains(&file));
        let (mut new, mut other_table) = (None, false);
        if let Some(newest) = newest.filter(|_| !is_new) {
            let now = table_hash(&config.with(newest.config.clone()))?;
            other_table = now != newest.table_hash;
            if other_table && matches!(log, Log::File(_)) {
                // The one service here has another table now.
                new = Some(start(Some(newest), Act::Start, newest.config.clone(), now));
                other_table = false;
            }
            if newest.files.last() != Some(&file) {
                tracing::warn!(
                    version = newest.version,
                    "the config file is one that an earlier version was made from, and does not take its place; \
                     `burnrec ctl put` does"
                );
            }
        } else {
            new = Some(start(newest, Act::Start, tables, found));
        }
        let (config, behind) = match &new {
            Some(new) => {
                let config = config.with(new.config.clone());
                config.validate()?;
                (config, None)
            }
            None => newest_that_opens(config, &versions)?,
        };
        Ok(Self { config, log, audit, versions, instances, unreadable, new, other_table, behind, lock })
    }

    /// Returns the number of the version to start with, and whether the flow runs.
    pub fn start(&self) -> (u64, Run) {
        if let Some((version, _)) = &self.behind {
            return (version.version, version.run);
        }
        let version = self.new.as_ref().or(self.versions.last());
        match version {
            Some(version) if !self.other_table => (version.version, version.run),
            Some(version) => (0, version.run),
            None => (0, Run::Running),
        }
    }

    /// Begins, with the engine that was opened for that version.
    ///
    /// # Errors
    /// When a version that is made of the config file cannot be written down.
    pub fn control(
        self,
        engine: Arc<Engine>,
        metrics: Arc<Metrics>,
        record_bytes: RecordBytes,
    ) -> Result<Control> {
        let (applied, _) = self.start();
        let instance = self.config.kafka.as_ref().and_then(|kafka| kafka.instance.clone());
        let instance = instance.unwrap_or_else(|| format!("{}-{}", host(), std::process::id()));
        let mut known = Known {
            versions: self.versions,
            applied,
            trouble: self.behind.map(|(_, trouble)| trouble),
            cut_off: None,
            unreadable: self.unreadable.unwrap_or_default(),
            tried: Instant::now(),
            instances: self.instances,
        };
        if let Some(new) = self.new {
            match &self.log {
                Log::File(log) => {
                    log.append(&new, || known.versions.clone())?;
                    known.push(new);
                }
                #[cfg(feature = "kafka")]
                Log::Topic(log) => begin(log, &new, &mut known, &engine)?,
            }
        }
        Ok(Control {
            running: self.config,
            engine,
            metrics,
            record_bytes,
            log: self.log,
            audit: self.audit,
            instance,
            known: Mutex::new(known),
            changed: Condvar::new(),
            changing: Mutex::default(),
            opened: Mutex::default(),
            _lock: self.lock,
        })
    }
}

/// Returns the name of this machine.
pub(super) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "host".to_owned() } else { name.trim().to_owned() }
}

/// Returns what tables say: all that differs from the defaults.
fn said(tables: &Changeable) -> Value {
    without(version::value(tables), &version::value(&Changeable::default())).unwrap_or(Value::Null)
}

/// Returns a value without what is null or is the same in `defaults`; none if nothing is left.
fn without(value: Value, defaults: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(object) => {
            let kept = object.into_iter().filter_map(|(key, value)| {
                let left = without(value, defaults.get(&key).unwrap_or(&Value::Null))?;
                Some((key, left))
            });
            let kept: serde_json::Map<String, Value> = kept.collect();
            // An entry without keys is one: a model has a name.
            (!kept.is_empty() || defaults.is_null()).then_some(Value::Object(kept))
        }
        Value::Array(array) => {
            let kept: Vec<Value> =
                array.into_iter().filter_map(|value| without(value, &Value::Null)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        value => (value != *defaults).then_some(value),
    }
}

/// Returns the config of the newest version that can be opened here; where it is not the newest, with that version and why.
fn newest_that_opens(
    config: &ServeConfig,
    versions: &[Version],
) -> Result<(ServeConfig, Option<(Version, String)>)> {
    let mut first = None;
    for version in versions.iter().rev() {
        let config = config.with(version.config.clone());
        match (opens(&config, version), first.take()) {
            (Ok(()), None) => return Ok((config, None)),
            (Ok(()), Some(error)) => {
                let trouble =
                    not_taken_up(versions.last().map_or(0, |of| of.version), version.version, &error);
                tracing::error!("{trouble}");
                return Ok((config, Some((version.clone(), trouble))));
            }
            (Err(error), before) => first = before.or(Some(error)),
        }
    }
    let error = first.expect("there is a version, as the config file is none that is new");
    tracing::error!(%error, "no version of the config goes with this config file");
    Err(error)
}

/// Looks whether a version's tables and models are there.
fn opens(config: &ServeConfig, version: &Version) -> Result<()> {
    config.validate()?;
    Settings::open(config, version.version, version.run)?;
    config.models.iter().try_for_each(|(name, entry)| {
        let found = short_manifest_hash(&entry.run);
        found.map(drop).map_err(|source| Error::Model { name: name.clone(), source })
    })
}

/// What a log holds.
struct Read {
    log: Log,
    versions: Vec<Version>,
    instances: BTreeMap<String, Instance>,
    unreadable: Option<u64>,
}

/// Reads the versions, and what instances say.
fn read(config: &ServeConfig, control: &ControlConfig) -> Result<Read> {
    #[cfg(feature = "kafka")]
    if let (Some(topic), Some(kafka)) = (&control.topic, &config.kafka) {
        let (log, all) = TopicLog::open(kafka, topic)?;
        let (mut versions, mut instances, mut unreadable) = (Vec::new(), BTreeMap::new(), None);
        for said in all {
            match said {
                Said::Version(version) => {
                    versions.push(*version);
                    unreadable = None;
                }
                Said::Unreadable(number, why) => {
                    tracing::error!("{}", topic_log::unreadable(number, &why));
                    unreadable = Some(number);
                }
                Said::Instance(name, Some(instance)) => drop(instances.insert(name, instance)),
                Said::Instance(name, None) => drop(instances.remove(&name)),
            }
        }
        keep_newest(&mut versions);
        return Ok(Read { log: Log::Topic(Box::new(log)), versions, instances, unreadable });
    }
    let _ = config;
    let (log, versions) = FileLog::open(&control.dir)?;
    Ok(Read { log: Log::File(log), versions, instances: BTreeMap::new(), unreadable: None })
}

/// Writes the version of the config file, and waits for it, or for that of an instance that was faster.
#[cfg(feature = "kafka")]
fn begin(log: &TopicLog, new: &Version, known: &mut Known, engine: &Engine) -> Result<()> {
    let key = log.key(new.version);
    log.append(&key, new)?;
    let begun = Instant::now();
    let last = |known: &Known| known.versions.last().map_or(0, |newest| newest.version).max(known.unreadable);
    while last(known) < new.version {
        if begun.elapsed() > CONFIRMED {
            return Err(Error::Topics {
                found: format!("no version in {} that was written there", log.topic()),
                expected: format!("version {} within {} s", new.version, CONFIRMED.as_secs()),
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        for said in log.take() {
            match said {
                Said::Version(version) => known.push(*version),
                Said::Unreadable(number, why) => {
                    known.unreadable = number;
                    known.trouble = Some(topic_log::unreadable(number, &why));
                }
                Said::Instance(name, Some(instance)) => drop(known.instances.insert(name, instance)),
                Said::Instance(name, None) => drop(known.instances.remove(&name)),
            }
        }
    }
    if !log.counts(new.version, &key) {
        // Another was faster. What it made is taken up; until then what answers is of no version.
        known.applied = 0;
        engine.models.renumber(0);
        let newest = known.versions.last();
        if let Some(newest) =
            newest.filter(|newest| !new.files.last().is_some_and(|of| newest.files.contains(of)))
        {
            tracing::warn!(
                version = newest.version,
                by = newest.by,
                "the config file is not taken up, as another version was made at the same time; a restart or `burnrec ctl put` does"
            );
        }
    }
    Ok(())
}
