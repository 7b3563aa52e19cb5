//! How control begins: which version a service starts with.
//!
//! The newest version goes on. Where the config file has changed since, so that no version was made from it as it is, the file
//! becomes the next version. A file that an earlier version was made from does not come back by a restart: several instances may
//! be started with it at different times, and each would undo what was changed since.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use burnrec_data::calendar::date_time;
use burnrec_data::write::lock_dir;

use super::audit::Audit;
use super::file_log::FileLog;
#[cfg(feature = "kafka")]
use super::topic_log::{Said, TopicLog};
use super::{Act, CONFIRMED, Control, Instance, KEPT, Known, Log, RecordBytes, Version, table_hash, version};
use crate::Result;
use crate::clock::{Clock, SystemClock};
use crate::config::{ControlConfig, ServeConfig};
use crate::engine::Engine;
use crate::http::tokens::hashed;
use crate::metrics::Metrics;
use crate::settings::Run;

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
    lock: std::fs::File,
}

impl Known {
    /// Adds the next version, and drops the oldest of too many.
    pub(super) fn push(&mut self, version: Version) {
        self.versions.push(version);
        let old = self.versions.len().saturating_sub(KEPT);
        self.versions.drain(..old);
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
        let (log, versions, instances) = read(config, control)?;
        let found = table_hash(config)?;
        let tables = config.changeable();
        let file_hash = hashed(version::value(&tables).to_string().as_bytes())[..12].to_owned();
        let start = |before: Option<&Version>, act, config: crate::config::Changeable, table_hash| {
            let run = before.map_or(Run::Running, |before| before.run);
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
                file_hash: Some(file_hash.clone()),
                config,
            }
        };
        let newest = versions.last();
        let is_new = !versions.iter().any(|version| version.file_hash.as_ref() == Some(&file_hash));
        let (mut new, mut other_table) = (None, false);
        if let Some(newest) = newest.filter(|_| !is_new) {
            let now = table_hash(&config.with(newest.config.clone()))?;
            other_table = now != newest.table_hash;
            if other_table && matches!(log, Log::File(_)) {
                // The one service here has another table now.
                new = Some(start(Some(newest), Act::Start, newest.config.clone(), now));
                other_table = false;
            }
            let last_file = versions.iter().rev().find_map(|version| version.file_hash.as_ref());
            if last_file != Some(&file_hash) {
                tracing::warn!(
                    version = newest.version,
                    "the config file is one that an earlier version was made from, and does not take its place; \
                     `burnrec ctl put` does"
                );
            }
        } else {
            new = Some(start(newest, Act::Start, tables, found));
        }
        let config = match new.as_ref().or(versions.last()) {
            Some(version) => config.with(version.config.clone()),
            None => config.clone(),
        };
        config.validate().inspect_err(|error| {
            tracing::error!(%error, "the newest version of the config does not go with this config file");
        })?;
        Ok(Self { config, log, audit, versions, instances, new, other_table, lock })
    }

    /// Returns the number of the version to start with, and whether the flow runs.
    pub fn start(&self) -> (u64, Run) {
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
            trouble: None,
            tried: Instant::now(),
            instances: self.instances,
        };
        if let Some(new) = self.new {
            match &self.log {
                Log::File(log) => {
                    log.append(&new, &known.versions)?;
                    known.push(new);
                }
                #[cfg(feature = "kafka")]
                Log::Topic(log) => begin(log, &new, &mut known)?,
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

/// Reads the versions, and what instances say.
fn read(
    config: &ServeConfig,
    control: &ControlConfig,
) -> Result<(Log, Vec<Version>, BTreeMap<String, Instance>)> {
    #[cfg(feature = "kafka")]
    if let (Some(topic), Some(kafka)) = (&control.topic, &config.kafka) {
        let (log, all) = TopicLog::open(kafka, topic)?;
        let (mut versions, mut instances) = (Vec::new(), BTreeMap::new());
        for said in all {
            match said {
                Said::Version(version) => versions.push(*version),
                Said::Instance(name, Some(instance)) => drop(instances.insert(name, instance)),
                Said::Instance(name, None) => drop(instances.remove(&name)),
            }
        }
        return Ok((Log::Topic(Box::new(log)), versions, instances));
    }
    let _ = config;
    let (log, versions) = FileLog::open(&control.dir)?;
    Ok((Log::File(log), versions, BTreeMap::new()))
}

/// Writes the version of the config file, and waits for it, or for that of an instance that was faster.
#[cfg(feature = "kafka")]
fn begin(log: &TopicLog, new: &Version, known: &mut Known) -> Result<()> {
    log.append(new)?;
    let begun = Instant::now();
    while known.versions.last().is_none_or(|newest| newest.version < new.version) {
        if begun.elapsed() > CONFIRMED {
            return Err(crate::Error::Topics {
                found: format!("no version in {} that was written there", log.topic()),
                expected: format!("version {} within {} s", new.version, CONFIRMED.as_secs()),
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        for said in log.take() {
            match said {
                Said::Version(version) => known.push(*version),
                Said::Instance(name, Some(instance)) => drop(known.instances.insert(name, instance)),
                Said::Instance(name, None) => drop(known.instances.remove(&name)),
            }
        }
    }
    if !log.made(new.version) {
        // Another was faster: what it made is taken up.
        known.applied = 0;
    }
    Ok(())
}
