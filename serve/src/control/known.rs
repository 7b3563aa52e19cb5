//! What an instance knows of the versions, and of the other instances.

use std::collections::BTreeMap;
use std::time::Instant;

#[cfg(feature = "kafka")]
use super::topic_log::Said;
use super::version::keep_newest;
use super::{Instance, Version};

/// What is known.
pub struct Known {
    /// The versions, the newest last.
    pub versions: Vec<Version>,
    /// The version that answers.
    pub applied: u64,
    /// Why it is not the newest.
    pub trouble: Option<String>,
    /// Why it is not known whether it is.
    pub cut_off: Option<String>,
    /// The last version that this build cannot read.
    pub unreadable: u64,
    /// When the newest was tried last.
    pub tried: Instant,
    /// The instances of the group by name, this one too.
    pub instances: BTreeMap<String, Instance>,
}

impl Known {
    /// Knows these versions, of which none answers yet.
    pub fn new(versions: Vec<Version>) -> Self {
        Self {
            versions,
            applied: 0,
            trouble: None,
            cut_off: None,
            unreadable: 0,
            tried: Instant::now(),
            instances: BTreeMap::new(),
        }
    }

    /// Returns the newest version.
    pub fn newest(&self) -> &Version {
        self.versions.last().expect("there is a version from the start on")
    }

    /// Returns why the newest version does not answer here, or may not.
    pub fn troubles(&self) -> Option<String> {
        let troubles: Vec<&str> = self.trouble.iter().chain(&self.cut_off).map(String::as_str).collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    /// Adds the next version, and drops the oldest of too many.
    pub fn push(&mut self, version: Version) {
        self.versions.push(version);
        keep_newest(&mut self.versions);
    }

    /// Learns what the topic says, and drops the oldest of too many versions.
    #[cfg(feature = "kafka")]
    pub fn hear(&mut self, all: Vec<Said>) {
        let before = self.versions.len();
        for said in all {
            match said {
                Said::Version(version) => {
                    self.trouble = None;
                    self.versions.push(*version);
                }
                Said::Unreadable(number, why) => {
                    let text = format!(
                        "version {number} of the config cannot be read here, as it is of another build: {why}"
                    );
                    tracing::error!("{text}");
                    (self.unreadable, self.trouble) = (number, Some(text));
                }
                Said::Instance(name, Some(instance)) => drop(self.instances.insert(name, instance)),
                Said::Instance(name, None) => drop(self.instances.remove(&name)),
            }
        }
        if self.versions.len() > before {
            keep_newest(&mut self.versions);
        }
    }
}
