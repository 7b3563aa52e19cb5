//! How control begins: which version a service starts with.
//!
//! The newest version goes on. Where the config file has changed since, so that no version was made from what it says, the file
//! becomes the next version. A file that an earlier version was made from does not come back by a restart: several instances may
//! be started with it at different times, and each would undo what was changed since. What a file says is what differs from the
//! defaults, so that it is the same for the next build.
//!
//! Where the newest version cannot be opened here, the newest that can be answers, and the service says so and tries again.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use burnrec_data::calendar::date_time;
use burnrec_data::write::lock_dir;
use burnrec_models::saved::short_manifest_hash;
use serde_json::Value;

#[cfg(feature = "kafka")]
use super::CONFIRMED;
use super::audit::Audit;
use super::file_log::FileLog;
use super::host::host;
#[cfg(feature = "kafka")]
use super::topic_log::TopicLog;
use super::version;
use super::{Act, Control, Known, Log, RecordBytes, Version, not_taken_up, table_hash};
use crate::clock::{Clock, SystemClock};
use crate::config::{Changeable, ControlConfig, ServeConfig};
use crate::engine::Engine;
use crate::http::tokens::hashed;
use crate::metrics::Metrics;
use crate::settings::Run;
use crate::{Error, Result};

/// How many config files are known again.
const FILES: usize = 100;

/// The log of a service that is about to start.
pub struct Opened {
    /// The config to start with: the file's, with what the version has in place of it.
    pub config: ServeConfig,
    log: Log,
    audit: Audit,
    known: Known,
    /// Whether the flow runs.
    run: Run,
    /// The version that is made of the file, if it has changed.
    new: Option<Version>,
    lock: std::fs::File,
}

impl Opened {
    /// Reads the versions of a config that has a table `[control]`.
    ///
    /// # Errors
    /// When the directory is another service's, or the versions cannot be read.
    pub fn open(config: &ServeConfig, control: &ControlConfig) -> Result<Self> {
        let lock = lock_dir(&control.dir)?;
        let audit = Audit::open(&control.dir)?;
        let (log, mut known) = read(config, control)?;
        let tables = config.changeable();
        let file = hashed(said(&tables).to_string().as_bytes())[..12].to_owned();
        let newest = known.versions.last();
        let (config, applied, run, new) = match newest.filter(|newest| newest.files.contains(&file)) {
            None => {
                config.validate()?;
                let new = of_file(newest, file, tables, table_hash(config)?);
                (config.clone(), new.version, new.run, Some(new))
            }
            Some(newest) => {
                if newest.files.last() != Some(&file) {
                    tracing::warn!(
                        version = newest.version,
                        "the config file is one that an earlier version was made from, and does not take its place; \
                         `burnrec ctl put` does"
                    );
                }
                let Found { config, version, table_hash, trouble } =
                    newest_that_opens(config, &known.versions)?;
                let has_table = table_hash == version.table_hash;
                // The one service of a file has another table now.
                let is_new = !has_table && trouble.is_none() && matches!(log, Log::File(_));
                let new = is_new.then(|| of_file(Some(version), file, version.config.clone(), table_hash));
                let applied = new.as_ref().unwrap_or(version).version;
                let (applied, run) = (if has_table || is_new { applied } else { 0 }, version.run);
                // What cannot be read is newer than what cannot be opened.
                known.trouble = known.trouble.take().or(trouble);
                (config, applied, run, new)
            }
        };
        known.applied = applied;
        Ok(Self { config, log, audit, known, run, new, lock })
    }

    /// Returns the number of the version to start with, 0 if it is none as it was made, and whether the flow runs.
    pub fn start(&self) -> (u64, Run) {
        (self.known.applied, self.run)
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
        let instance = self.config.kafka.as_ref().and_then(|kafka| kafka.instance.clone());
        let instance = instance.unwrap_or_else(|| format!("{}-{}", host(), std::process::id()));
        let mut known = self.known;
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
            audit: Arc::new(self.audit),
            #[cfg(feature = "kafka")]
            replays: Default::default(),
            instance,
            known: Mutex::new(known),
            changed: Condvar::new(),
            changing: Mutex::default(),
            opened: Mutex::default(),
            _lock: self.lock,
        })
    }
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

/// Makes the next version, of what a config file says.
fn of_file(
    before: Option<&Version>,
    file: String,
    config: Changeable,
    table_hash: Option<String>,
) -> Version {
    let run = before.map_or(Run::Running, |before| before.run);
    let mut files = before.map(|before| before.files.clone()).unwrap_or_default();
    files.retain(|known| *known != file);
    files.push(file);
    files.drain(..files.len().saturating_sub(FILES));
    let changes = before.map(|before| before.changes_to(&config, run, table_hash.as_ref()));
    Version {
        version: before.map_or(0, |before| before.version) + 1,
        at: date_time(SystemClock.unix_ms() / 1000),
        by: "config file".to_owned(),
        note: String::new(),
        act: Act::Start,
        run,
        changes: changes.unwrap_or_default(),
        table_hash,
        files,
        config,
    }
}

/// The newest version that can be opened here.
struct Found<'a> {
    config: ServeConfig,
    version: &'a Version,
    /// The hash of its table as it is now.
    table_hash: Option<String>,
    /// Why it is not the newest.
    trouble: Option<String>,
}

fn newest_that_opens<'a>(config: &ServeConfig, versions: &'a [Version]) -> Result<Found<'a>> {
    let mut first = None;
    for version in versions.iter().rev() {
        let config = config.with(version.config.clone());
        match opens(&config) {
            Ok(table_hash) => {
                let newest = versions.last().map_or(0, |of| of.version);
                let trouble = first.map(|error| not_taken_up(newest, version.version, &error));
                trouble.iter().for_each(|trouble| tracing::error!("{trouble}"));
                return Ok(Found { config, version, table_hash, trouble });
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    let error = first.expect("there is a version, as the config file is none that is new");
    tracing::error!(%error, "no version of the config goes with this config file");
    Err(error)
}

/// Looks whether the table and the models of a config are there; returns the hash of the table.
fn opens(config: &ServeConfig) -> Result<Option<String>> {
    config.validate()?;
    for (name, entry) in &config.models {
        short_manifest_hash(&entry.run).map_err(|source| Error::Model { name: name.clone(), source })?;
    }
    table_hash(config)
}

/// Reads the versions, and what instances say.
fn read(config: &ServeConfig, control: &ControlConfig) -> Result<(Log, Known)> {
    #[cfg(feature = "kafka")]
    if let (Some(topic), Some(kafka)) = (&control.topic, &config.kafka) {
        let (log, all) = TopicLog::open(kafka, topic)?;
        let mut known = Known::new(Vec::new());
        known.hear(all);
        return Ok((Log::Topic(Box::new(log)), known));
    }
    let _ = config;
    let (log, versions) = FileLog::open(&control.dir)?;
    Ok((Log::File(log), Known::new(versions)))
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
        known.hear(log.take());
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
