//! The versions in a compacted topic, for all instances of a group:
//!
//! | key | value |
//! |---|---|
//! | `version/00000007/WRITER` | the version, as in the file |
//! | `instance/NAME` | what answers at an instance ([`Instance`]), said anew now and then |
//!
//! Two instances may write the next version at the same time, each under a key of its own. The order of the topic decides: the
//! first of a number counts, for all who read it, and whoever wrote the other learns it from the topic and takes it back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::start::host;
use super::{Control, Instance, KEPT, Version};
use crate::Result;
use crate::clock::{Clock, SystemClock};
use crate::config::KafkaConfig;
use crate::kafka::{Kept, KeptTopic};

/// How often an instance says what answers.
const BEAT: Duration = Duration::from_secs(30);

/// After how long without that it is taken for gone.
const GONE: Duration = Duration::from_secs(90);

const VERSION: &str = "version/";
const INSTANCE: &str = "instance/";

/// What a record says.
pub enum Said {
    /// The next version.
    Version(Box<Version>),
    /// What an instance says of itself; nothing when it leaves.
    Instance(String, Option<Instance>),
}

/// The topic, and what this instance wrote into it.
pub struct TopicLog {
    topic: Mutex<KeptTopic>,
    name: String,
    /// The name of this process among those who write versions.
    writer: String,
    reading: Mutex<Reading>,
    /// The last version that this instance made.
    made: AtomicU64,
    beat: Mutex<Option<(Instant, u64, Option<String>)>>,
}

/// How far the topic is read.
#[derive(Default)]
struct Reading {
    newest: u64,
    /// The key of each version that counts.
    keys: BTreeMap<u64, String>,
}

impl TopicLog {
    /// Reads the topic; returns what it says.
    ///
    /// # Errors
    /// When it cannot be read, or a version in it is none.
    pub fn open(config: &KafkaConfig, topic: &str) -> Result<(Self, Vec<Said>)> {
        let (kept, all) = KeptTopic::open(config, topic)?;
        let writer = format!("{}-{}-{}", host(), std::process::id(), SystemClock.unix_ms());
        let log = Self {
            topic: Mutex::new(kept),
            name: topic.to_owned(),
            writer,
            reading: Mutex::default(),
            made: AtomicU64::new(0),
            beat: Mutex::default(),
        };
        let said = all.into_iter().filter_map(|record| log.hear(record)).collect();
        Ok((log, said))
    }

    /// Returns the topic's name.
    pub fn topic(&self) -> &str {
        &self.name
    }

    /// Writes a version. Whether it counts is known when it is read.
    ///
    /// # Errors
    /// When it is not even taken.
    pub fn append(&self, version: &Version) -> Result<()> {
        let key = format!("{VERSION}{:08}/{}", version.version, self.writer);
        let value = serde_json::to_vec(version).expect("a version has only string keys");
        self.put(&key, Some(&value))
    }

    /// Returns whether a version is one that this instance wrote.
    pub fn made(&self, number: u64) -> bool {
        self.made.load(Ordering::Relaxed) == number
    }

    fn put(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        self.topic.lock().unwrap_or_else(PoisonError::into_inner).put(key, value)
    }

    /// Forgets a key; should that fail, it is of no harm.
    fn forget(&self, key: &str) {
        if let Err(error) = self.put(key, None) {
            tracing::debug!(%error, key, "not forgotten");
        }
    }

    /// Returns what came since it was last asked.
    pub fn take(&self) -> Vec<Said> {
        let all = self.topic.lock().unwrap_or_else(PoisonError::into_inner).take();
        all.into_iter().filter_map(|record| self.hear(record)).collect()
    }

    fn hear(&self, (key, value): Kept) -> Option<Said> {
        let key = String::from_utf8(key).ok()?;
        if let Some(name) = key.strip_prefix(INSTANCE) {
            let instance = value.and_then(|value| serde_json::from_slice(&value).ok());
            return Some(Said::Instance(name.to_owned(), instance));
        }
        let (number, writer) = key.strip_prefix(VERSION)?.split_once('/')?;
        let number: u64 = number.parse().ok()?;
        let value = value?;
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if number <= reading.newest {
            drop(reading);
            if writer == self.writer {
                self.forget(&key);
            }
            return None;
        }
        let version: Version = match serde_json::from_slice(&value) {
            Ok(version) => version,
            Err(error) => {
                // Of a newer build, perhaps: this one goes on with the versions that it knows.
                tracing::error!(%error, key, topic = self.name, "a version of the config cannot be read");
                return None;
            }
        };
        reading.newest = number;
        if writer == self.writer {
            self.made.store(number, Ordering::Relaxed);
        }
        reading.keys.insert(number, key);
        Some(Said::Version(Box::new(version)))
    }

    /// Takes up what others say, and says what answers here.
    pub fn look(&self, control: &Control) {
        for said in self.take() {
            let mut known = control.known();
            match said {
                Said::Version(version) => {
                    known.trouble = None;
                    known.push(*version);
                    drop(known);
                    self.prune();
                    control.changed.notify_all();
                }
                Said::Instance(name, Some(instance)) => drop(known.instances.insert(name, instance)),
                Said::Instance(name, None) => drop(known.instances.remove(&name)),
            }
        }
        control.catch_up();
        let (version, trouble) = {
            let mut known = control.known();
            let since = SystemClock.unix_ms() - GONE.as_millis() as i64;
            known.instances.retain(|_, instance| instance.at_ms >= since);
            (known.applied, known.trouble.clone())
        };
        let mut beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        let is_said = beat
            .as_ref()
            .is_some_and(|(at, said, of)| at.elapsed() < BEAT && *said == version && *of == trouble);
        if !is_said {
            let instance = Instance { version, at_ms: SystemClock.unix_ms(), trouble: trouble.clone() };
            let value = serde_json::to_vec(&instance).expect("texts and numbers are JSON");
            if let Err(error) = self.put(&format!("{INSTANCE}{}", control.instance), Some(&value)) {
                tracing::debug!(%error, "not said which version answers");
            }
            *beat = Some((Instant::now(), version, trouble));
        }
    }

    /// Forgets the oldest of too many versions, if this instance wrote the newest.
    fn prune(&self) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = self.made(reading.newest);
        while reading.keys.len() > KEPT {
            if let Some((_, key)) = reading.keys.pop_first()
                && is_own
            {
                self.forget(&key);
            }
        }
    }

    /// Says that an instance is there no more.
    pub fn leave(&self, name: &str) {
        self.forget(&format!("{INSTANCE}{name}"));
        self.topic.lock().unwrap_or_else(PoisonError::into_inner).flush(Duration::from_secs(2));
    }
}
