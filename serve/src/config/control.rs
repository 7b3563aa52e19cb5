//! The keys of `[control]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{HttpConfig, KafkaConfig};
use crate::{Error, Result};

/// Control of the service while it runs: versions of its config, by an HTTP listener of its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// The directory of the audit log and, without a topic, of the versions.
    pub dir: PathBuf,
    /// A compacted topic of one partition, which keeps the versions for all instances of the group.
    pub topic: Option<String>,
    /// The HTTP server. It needs `tokens` or `oidc`.
    pub http: HttpConfig,
}

impl Default for ControlConfig {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8081));
        Self {
            dir: "control".into(),
            topic: None,
            http: HttpConfig { listen, connections: 64, ..HttpConfig::default() },
        }
    }
}

impl ControlConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self, kafka: Option<&KafkaConfig>) -> Result<()> {
        self.http.validate().map_err(|error| match error {
            Error::Config { field, found, expected } => {
                Error::Config { field: format!("control.{field}"), found, expected }
            }
            other => other,
        })?;
        if !self.http.names_callers() {
            let expected = "a file of named tokens, which `burnrec ctl token` makes, or control.http.oidc";
            return Err(Error::config("control.http.tokens", "none", expected));
        }
        let Some(topic) = &self.topic else { return Ok(()) };
        let Some(kafka) = kafka else {
            return Err(Error::config("control.topic", topic, "no such key without the table [kafka]"));
        };
        let others = [Some(&kafka.replies), Some(&kafka.rejects), kafka.state.as_ref()];
        let more = [kafka.receipts.as_ref(), kafka.shadow.as_ref()];
        let mut taken = kafka.requests.iter().chain(others.into_iter().chain(more).flatten());
        match topic.trim().is_empty() || taken.any(|other| other == topic) {
            true => Err(Error::config("control.topic", topic, "a topic of its own")),
            false => Ok(()),
        }
    }
}
