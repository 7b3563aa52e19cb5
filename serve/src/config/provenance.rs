//! The keys of `[provenance]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The most items of an event that a config may let it be found by.
const MOST_ITEMS: usize = 1000;

/// The least bytes of an index: room for some blocks.
const LEAST_BYTES: u64 = 64 << 20;

/// The index of what happened to events.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProvenanceConfig {
    /// The directory of the index: each service has its own.
    pub dir: PathBuf,
    /// For how many hours events are found.
    pub hours: u32,
    /// The most bytes of the index on disk, of which its events have half; beyond it the oldest go.
    pub bytes: u64,
    /// By how many of its items an event is found: the first that it asks about, and the best of its reply.
    pub items: usize,
    /// The most bytes that are kept of a request over HTTP; those of Kafka are read again from their topic.
    pub input_bytes: usize,
}

impl Default for ProvenanceConfig {
    fn default() -> Self {
        Self { dir: "provenance".into(), hours: 24, bytes: 2 << 30, items: 10, input_bytes: 1024 }
    }
}

impl ProvenanceConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self) -> Result<()> {
        if self.hours == 0 {
            return Err(Error::config("provenance.hours", 0, "at least 1"));
        }
        if self.bytes < LEAST_BYTES {
            return Err(Error::config("provenance.bytes", self.bytes, format!("at least {LEAST_BYTES}")));
        }
        if self.items > MOST_ITEMS {
            return Err(Error::config("provenance.items", self.items, format!("at most {MOST_ITEMS}")));
        }
        Ok(())
    }
}
