//! Releases: the versions of a model in one directory, one of which is promoted and served.
//!
//! ```text
//! DIR/000001/              a saved run; its name is the number of the release
//! DIR/000002/
//! DIR/promoted -> 000002   what a service opens: the release that is promoted
//! DIR/log.jsonl            a line for each act: who, when, which release, with which scores
//! ```
//!
//! The log is written first and the link and the directories follow it, each by one rename, so that a crash leaves a directory
//! that the next act puts in order, and a service sees one whole release or the other.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use burnrec_data::calendar::{date_time, unix_ms};
use burnrec_data::write::{LOCK, list_dir, lock_dir, sync_dir};
use burnrec_data::{Error as DataError, Id};
use burnrec_models::saved::{self, short_manifest_hash};
use burnrec_models::{DeviceChoice, Recommender};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::metrics::Metric;
use crate::record::RunRecord;

const LOG: &str = "log.jsonl";
const PROMOTED: &str = "promoted";

/// What was done with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// It was added.
    Publish,
    /// It serves from now on.
    Promote,
    /// It serves again, in place of the one that was promoted after it.
    Rollback,
    /// It was removed.
    Prune,
    /// It was written again without a user.
    Erase,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When, in UTC: `2026-11-27T20:40:12Z`.
    pub at: String,
    /// Who.
    pub by: String,
    /// What.
    pub act: Act,
    /// With which release.
    #[serde(flatten)]
    pub facts: Facts,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What is known of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its number.
    pub release: u32,
    /// The first 12 hex digits of the SHA-256 of its manifest, as the service names the model.
    pub hash: String,
    /// The value of the `model` key.
    pub model: String,
    /// Its scores on test, where it was trained and judged by burnrec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<Metric, f64>,
}

/// Who does something, and why.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The name of a person or a job.
    pub name: &'a str,
    /// A reason, or nothing.
    pub note: &'a str,
}

/// A release that is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Release {
    /// How it was published.
    pub published: LogEntry,
    /// Whether it is the one that serves.
    pub promoted: bool,
}

/// A directory of releases.
#[derive(Clone, Debug)]
pub struct Releases {
    dir: PathBuf,
}

impl Releases {
    /// Names a directory of releases; the first [`Releases::publish`] makes it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Adds a saved run as a release, which serves nothing until it is promoted; returns its number. The run is opened and checked
    /// first, and copied: what becomes of its directory is of no matter afterwards. The parts of a blend stay where they are.
    ///
    /// # Errors
    /// When the run cannot be opened, or the directory is of something else or cannot be written.
    pub fn publish(&self, run: &Path, by: By<'_>) -> Result<u32> {
        let recommender = Recommender::open_on(run, DeviceChoice::Cpu)?;
        let mut scores = BTreeMap::new();
        if !recommender.record.is_null() {
            let test = RunRecord::of(&recommender)?.metrics.test;
            scores.extend(test.metrics.into_iter().map(|(metric, score)| (metric, score.value)));
        }
        let mut change = Change::begin_new(&self.dir)?;
        let release = change.log.iter().map(|entry| entry.facts.release).max().unwrap_or(0) + 1;
        let path = self.path(release);
        recommender.save(&path)?;
        sync_dir(&self.dir)?;
        let hash = short_manifest_hash(&path)?;
        let model = recommender.kind().to_owned();
        change.add(Act::Publish, by, Facts { release, hash, model, scores })?;
        Ok(release)
    }

    /// Serves a release from now on.
    ///
    /// # Errors
    /// When there is no such release, or the directory cannot be written.
    pub fn promote(&self, release: u32, by: By<'_>) -> Result<()> {
        let mut change = Change::begin(&self.dir)?;
        let facts = change.facts(release)?;
        change.add(Act::Promote, by, facts)
    }

    /// Serves the release again that was promoted before the present one; returns its number. The next rollback goes to the one
    /// before that.
    ///
    /// # Errors
    /// When there is none, or the directory cannot be written.
    pub fn rollback(&self, by: By<'_>) -> Result<u32> {
        let mut change = Change::begin(&self.dir)?;
        let [.., before, _] = promotions(&change.log)[..] else {
            let expected = "two releases that were promoted, the present one and one to go back to";
            return Err(DataError::malformed(self.dir.join(LOG), "none but the present one", expected).into());
        };
        let facts = change.facts(before)?;
        change.add(Act::Rollback, by, facts)?;
        Ok(before)
    }

    /// Removes all releases but the newest `keep`, the one that is promoted and the one that a rollback would serve; returns the
    /// numbers of those removed.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn prune(&self, keep: usize, by: By<'_>) -> Result<Vec<u32>> {
        let mut change = Change::begin(&self.dir)?;
        let held: Vec<u32> = promotions(&change.log).into_iter().rev().take(2).collect();
        let old = published(&change.log).into_values().rev().skip(keep);
        let old: Vec<Facts> =
            old.map(|entry| entry.facts).filter(|facts| !held.contains(&facts.release)).collect();
        let numbers = old.iter().map(|facts| facts.release).collect();
        old.into_iter().try_for_each(|facts| change.add(Act::Prune, by, facts))?;
        Ok(numbers)
    }

    /// Writes all releases that have a user again without the user, as [`saved::erase_user`] does; returns their numbers. Their new
    /// hashes are in the log, who the user was is not.
    ///
    /// # Errors
    /// When a release cannot be read or written; those before it are then without the user.
    pub fn erase(&self, user: Id<'_>, by: By<'_>) -> Result<Vec<u32>> {
        let mut change = Change::begin(&self.dir)?;
        let mut erased = Vec::new();
        for (release, entry) in published(&change.log) {
            let path = self.path(release);
            if saved::erase_user(&path, user)? {
                erased.push(release);
            }
            // Also one that was written by a call that was stopped before it could say so.
            let hash = short_manifest_hash(&path)?;
            if hash != entry.facts.hash {
                change.add(Act::Erase, by, Facts { hash, ..entry.facts })?;
            }
        }
        Ok(erased)
    }

    /// Returns the releases that are there, by number.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn list(&self) -> Result<Vec<Release>> {
        let log = self.log()?;
        let promoted = promotions(&log).last().copied();
        let release =
            |published: LogEntry| Release { promoted: promoted == Some(published.facts.release), published };
        Ok(published(&log).into_values().map(release).collect())
    }

    /// Returns all that was ever done here, in order.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<Vec<LogEntry>> {
        Ok(read_log(&self.dir)?.0)
    }

    /// Returns the number of the release that is promoted, if one is.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn promoted(&self) -> Result<Option<u32>> {
        Ok(promotions(&self.log()?).last().copied())
    }

    /// Returns the directory of a release, which is a run directory.
    pub fn path(&self, release: u32) -> PathBuf {
        self.dir.join(folder(release))
    }
}

/// A change of a directory of releases, while no other process changes it.
struct Change {
    dir: PathBuf,
    log: Vec<LogEntry>,
    file: File,
    _lock: File,
}

impl Change {
    /// Begins a change, and puts in order what a crash left.
    fn begin(dir: &Path) -> Result<Self> {
        read_log(dir)?;
        Self::of(dir)
    }

    /// Begins the change that may be the first.
    fn begin_new(dir: &Path) -> Result<Self> {
        if dir.is_dir()
            && !dir.join(LOG).exists()
            && list_dir(dir)?.iter().any(|entry| !entry.ends_with(LOCK))
        {
            let expected = "a directory of releases, or a new one";
            return Err(DataError::malformed(dir, format!("no {LOG} in it"), expected).into());
        }
        Self::of(dir)
    }

    fn of(dir: &Path) -> Result<Self> {
        let lock = lock_dir(dir)?;
        let path = dir.join(LOG);
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let file = open.map_err(DataError::io("write", &path))?;
        let (log, end) = read_log(dir)?;
        // What a crash cut short was never done.
        file.set_len(end as u64).map_err(DataError::io("write", &path))?;
        let change = Self { dir: dir.to_owned(), log, file, _lock: lock };
        change.settle()?;
        Ok(change)
    }

    /// Returns what is known of a release that is there.
    fn facts(&self, release: u32) -> Result<Facts> {
        let there = published(&self.log);
        if let Some(entry) = there.get(&release) {
            return Ok(entry.facts.clone());
        }
        let all: Vec<String> = there.keys().map(u32::to_string).collect();
        let expected = match all.is_empty() {
            true => "one that was published: none is there".to_owned(),
            false => format!("one of {}", all.join(", ")),
        };
        Err(DataError::setting("release", release.to_string(), expected).into())
    }

    /// Writes an act into the log, and does what it says.
    fn add(&mut self, act: Act, by: By<'_>, facts: Facts) -> Result<()> {
        let at = date_time(unix_ms() / 1000);
        let entry = LogEntry { at, by: by.name.to_owned(), act, facts, note: by.note.to_owned() };
        let line = serde_json::to_string(&entry).expect("an entry has only string keys and finite numbers");
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.sync_data());
        written.map_err(DataError::io("write", self.dir.join(LOG)))?;
        self.log.push(entry);
        self.settle()
    }

    /// Lets the link and the directories be what the log says.
    fn settle(&self) -> Result<()> {
        let link = self.dir.join(PROMOTED);
        let promoted = promotions(&self.log).last().map(|release| PathBuf::from(folder(*release)));
        if let Some(promoted) = promoted.filter(|to| fs::read_link(&link).ok().as_ref() != Some(to)) {
            let new = self.dir.join("_promoted");
            let _ = fs::remove_file(&new); // Left there by a crash, or not there.
            symlink(promoted, &new)
                .and_then(|()| fs::rename(&new, &link))
                .map_err(DataError::io("write", &link))?;
            sync_dir(&self.dir)?;
        }
        let there = published(&self.log);
        for path in list_dir(&self.dir)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let release = name.parse().ok().filter(|release| folder(*release) == name);
            if release.is_some_and(|release| !there.contains_key(&release)) {
                fs::remove_dir_all(&path).map_err(DataError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn folder(release: u32) -> String {
    format!("{release:06}")
}

/// Reads the log, and where its last whole line ends.
fn read_log(dir: &Path) -> Result<(Vec<LogEntry>, usize)> {
    let path = dir.join(LOG);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(DataError::malformed(dir, format!("no {LOG}"), "a directory of releases").into());
        }
        text => text.map_err(DataError::io("read", &path))?,
    };
    let end = text.rfind('\n').map_or(0, |at| at + 1);
    let entry = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| DataError::Malformed {
            path: path.clone(),
            line: Some(at as u64 + 1),
            found: error.to_string(),
            expected: "an act as `burnrec release` writes it".to_owned(),
        })
    };
    let log: Result<Vec<LogEntry>, DataError> = text[..end].lines().enumerate().map(entry).collect();
    Ok((log?, end))
}

/// Returns the releases that are there, by number, each with how it was published.
fn published(log: &[LogEntry]) -> BTreeMap<u32, LogEntry> {
    let mut there = BTreeMap::<u32, LogEntry>::new();
    for entry in log {
        match entry.act {
            Act::Publish => drop(there.insert(entry.facts.release, entry.clone())),
            Act::Prune => drop(there.remove(&entry.facts.release)),
            Act::Erase => {
                if let Some(known) = there.get_mut(&entry.facts.release) {
                    known.facts = entry.facts.clone();
                }
            }
            Act::Promote | Act::Rollback => {}
        }
    }
    there
}

/// Returns the releases to which a rollback goes, one after the other from the end; the last one is promoted.
fn promotions(log: &[LogEntry]) -> Vec<u32> {
    let mut stack = Vec::new();
    for entry in log {
        let release = entry.facts.release;
        match entry.act {
            Act::Publish | Act::Erase => {}
            Act::Promote => {
                stack.retain(|before| *before != release);
                stack.push(release);
            }
            Act::Rollback => {
                while stack.last().is_some_and(|last| *last != release) {
                    stack.pop();
                }
            }
            Act::Prune => stack.retain(|before| *before != release),
        }
    }
    stack
}
