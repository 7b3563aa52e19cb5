//! The versions in a compacted topic, for all instances of a group:
//!
//! | key | value |
//! |---|---|
//! | `version/00000007/WRITER-3` | the version, as in the file; 3 is the writer's third try to make one |
//! | `instance/NAME` | what answers at an instance ([`Instance`]), said anew now and then |
//!
//! Two instances may write the next version at the same time, each under a key of its own. The order of the topic decides: the
//! first of a number counts, for all who read it, and whoever wrote the other learns it from the topic and takes it back. A number
//! whose version a build cannot read is taken all the same: those who can read it have it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::host::host;
use super::{Control, Instance, Version};
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
    /// The number of the next version, and why it cannot be read.
    Unreadable(u64, String),
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
    /// How often this instance tried to make a version.
    tries: AtomicU64,
    /// What this instance said last of itself, and when.
    beat: Mutex<Option<(Instant, u64, Option<String>)>>,
    /// When that last came back.
    heard: Mutex<Instant>,
}

/// How far the versions are read.
#[derive(Default)]
struct Reading {
    newest: u64,
    /// The key of each version that counts.
    keys: BTreeMap<u64, String>,
}

/// What a record of a version turns out to be.
#[derive(Debug)]
enum Heard {
    /// The next version.
    Next(Box<Version>),
    /// The next version, and why it cannot be read.
    Unreadable(u64, String),
    /// A version whose number another had taken before.
    Late { writer: String },
    /// Read before, or forgotten, or no version.
    Nothing,
}

impl Heard {
    fn said(self) -> Option<Said> {
        match self {
            Self::Next(version) => Some(Said::Version(version)),
            Self::Unreadable(number, why) => Some(Said::Unreadable(number, why)),
            Self::Late { .. } | Self::Nothing => None,
        }
    }
}

impl Reading {
    fn hear(&mut self, key: &str, value: Option<&[u8]>) -> Heard {
        let number = key.strip_prefix(VERSION).and_then(|of| of.split_once('/')?.0.parse::<u64>().ok());
        let (Some(number), Some(value)) = (number, value) else { return Heard::Nothing };
        if number <= self.newest {
            // The topic may be read anew from its beginning: what counted goes on to count.
            return match self.keys.get(&number) {
                Some(counts) if counts != key => Heard::Late { writer: writer(key).to_owned() },
                _ => Heard::Nothing,
            };
        }
        self.newest = number;
        self.keys.insert(number, key.to_owned());
        match serde_json::from_slice(value) {
            Ok(version) => Heard::Next(Box::new(version)),
            Err(error) => Heard::Unreadable(number, error.to_string()),
        }
    }
}

/// Returns who wrote the version of a key.
fn writer(key: &str) -> &str {
    let of = key.rsplit_once('/').map_or("", |(_, of)| of);
    of.rsplit_once('-').map_or("", |(writer, _)| writer)
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
            tries: AtomicU64::new(0),
            beat: Mutex::default(),
            heard: Mutex::new(Instant::now()),
        };
        let said = all.into_iter().filter_map(|record| log.hear(record)).collect();
        Ok((log, said))
    }

    /// Returns the topic's name.
    pub fn topic(&self) -> &str {
        &self.name
    }

    /// Returns a key for a version that this instance is about to write: another at each try.
    pub fn key(&self, version: u64) -> String {
        format!("{VERSION}{version:08}/{}-{}", self.writer, self.tries.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes a version under a key of its own. Whether it counts is known when it is read.
    ///
    /// # Errors
    /// When it is not even taken.
    pub fn append(&self, key: &str, version: &Version) -> Result<()> {
        let value = serde_json::to_vec(version).expect("a version has only string keys");
        self.put(key, Some(&value))
    }

    /// Returns whether the record of a key is the one that counts of its number.
    pub fn counts(&self, number: u64, key: &str) -> bool {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        reading.keys.get(&number).is_some_and(|counts| counts == key)
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
        let Some(name) = key.strip_prefix(INSTANCE) else {
            let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            let heard = reading.hear(&key, value.as_deref());
            drop(reading);
            if let Heard::Late { writer } = &heard
                && *writer == self.writer
            {
                self.forget(&key);
            }
            return heard.said();
        };
        let instance: Option<Instance> = value.and_then(|value| serde_json::from_slice(&value).ok());
        Some(Said::Instance(name.to_owned(), instance))
    }

    /// Takes up what others say, and says what answers here.
    pub fn look(&self, control: &Control) {
        let all = self.take();
        if all.iter().any(|said| matches!(said, Said::Instance(name, _) if *name == control.instance)) {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        if !all.is_empty() {
            let has_version = all.iter().any(|said| matches!(said, Said::Version(_)));
            let mut known = control.known();
            known.hear(all);
            let oldest = known.versions.first().map_or(0, |version| version.version);
            drop(known);
            if has_version {
                self.prune(oldest);
                control.changed.notify_all();
            }
        }
        control.catch_up();
        let silent = self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let (version, trouble) = {
            let mut known = control.known();
            known.cut_off = (silent > GONE).then(|| {
                format!(
                    "{} brings nothing back for {} s: versions of the config that others make are not known",
                    self.name,
                    silent.as_secs()
                )
            });
            control.metrics.warn("control", known.troubles());
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

    /// Forgets the versions before the oldest that is kept, if this instance wrote the newest.
    fn prune(&self, oldest: u64) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = reading.keys.last_key_value().is_some_and(|(_, key)| writer(key) == self.writer);
        while let Some(entry) = reading.keys.first_entry().filter(|entry| *entry.key() < oldest) {
            let key = entry.remove();
            if is_own {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServeConfig;
    use crate::control::Act;
    use crate::settings::Run;

    fn value(number: u64) -> Vec<u8> {
        let config: ServeConfig = "models.main.run = 'r'".parse().unwrap();
        let version = Version {
            version: number,
            at: String::new(),
            by: String::new(),
            note: String::new(),
            act: Act::Put,
            run: Run::Running,
            changes: Vec::new(),
            table_hash: None,
            files: Vec::new(),
            config: config.changeable(),
        };
        serde_json::to_vec(&version).unwrap()
    }

    #[test]
    fn the_first_of_a_number_counts_however_often_it_is_read() {
        let mut reading = Reading::default();
        let mut hear = |key: &str, value: Option<&[u8]>| format!("{:?}", reading.hear(key, value));
        let (one, two) = (value(1), value(2));
        assert!(hear("version/00000001/a-7-1-0", Some(&one)).starts_with("Next"));
        assert!(hear("version/00000002/a-7-1-1", Some(&two)).starts_with("Next"));
        // Another instance, and another try of the same, were later.
        assert_eq!(hear("version/00000002/b-8-1-0", Some(&two)), "Late { writer: \"b-8-1\" }");
        assert_eq!(hear("version/00000002/a-7-1-2", Some(&two)), "Late { writer: \"a-7-1\" }");
        // Read anew from the beginning, what counts is not forgotten.
        for key in ["version/00000001/a-7-1-0", "version/00000002/a-7-1-1"] {
            assert_eq!(hear(key, Some(&one)), "Nothing");
        }
        for key in ["version/00000002/b-8-1-0", "version/x/a-7-1-0", "version/3", "instance/a"] {
            assert_eq!(hear(key, None), "Nothing");
        }
        // Of a newer build: its number is taken.
        let newer = String::from_utf8(value(3)).unwrap().replace("\"flow\":{", "\"flow\":{\"new_key\":1,");
        let found = hear("version/00000003/c-9-1-0", Some(newer.as_bytes()));
        assert!(found.starts_with("Unreadable(3,") && found.contains("new_key"), "{found}");
        assert_eq!(hear("version/00000003/a-7-1-3", Some(&value(3))), "Late { writer: \"a-7-1\" }");
        assert!(hear("version/00000004/a-7-1-4", Some(&value(4))).starts_with("Next"));
    }
}
