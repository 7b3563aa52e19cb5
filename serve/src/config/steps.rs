//! The keys of `[steps.NAME]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::{Error, Result};

/// The most bytes of a step's name.
const MOST_NAME: usize = 64;

/// Names that other stages have in rejects and metrics.
const TAKEN: [&str; 6] = ["queue", "decode", "score", "filter", "sink", "http"];

/// A step of one's own: an external process, or one that the program has registered under this name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// The program of the process and its arguments; without it the step is one that the program has registered.
    #[serde(default)]
    pub command: Vec<String>,
    /// Where the step is.
    pub place: Place,
    /// How many processes work side by side.
    #[serde(default = "one")]
    pub processes: usize,
    /// How many lines a process has at most that it has not answered.
    #[serde(default = "lines")]
    pub lines: usize,
    /// How long a process may take for an event, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How much longer a process may take for its first event, as it starts, in milliseconds.
    #[serde(default = "start_ms")]
    pub start_ms: u64,
    /// What to do where the step fails.
    #[serde(default)]
    pub failures: Failure,
}

/// Where a step of one's own is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// After decoding, before ids are looked up and scored.
    BeforeScore,
    /// After scoring, joining and filtering, before the reply is written.
    AfterScore,
}

fn one() -> usize {
    1
}

fn lines() -> usize {
    8
}

fn timeout_ms() -> u64 {
    1000
}

fn start_ms() -> u64 {
    10_000
}

impl StepConfig {
    /// Returns how long a process may take for an event.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Returns how much longer it may take for its first event.
    pub fn start(&self) -> Duration {
        Duration::from_millis(self.start_ms)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self, name: &str) -> Result<()> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MOST_NAME || !name.chars().all(is_of_name) {
            let expected = format!("a name of 1 to {MOST_NAME} letters, digits, - and _");
            return Err(Error::config("steps", format!("{name:?}"), expected));
        }
        if TAKEN.contains(&name) {
            return Err(Error::config("steps", name, "a name that no stage has"));
        }
        let field = |key: &str| format!("steps.{name}.{key}");
        if self.command.first().is_some_and(String::is_empty) {
            return Err(Error::config(field("command"), "an empty program", "a program with its arguments"));
        }
        let (processes, lines) = (self.processes as u64, self.lines as u64);
        let bounds = [
            ("processes", processes, 256),
            ("lines", lines, 4096),
            ("timeout_ms", self.timeout_ms, 3_600_000),
        ];
        let most = 3_600_000;
        if self.start_ms > most {
            return Err(Error::config(field("start_ms"), self.start_ms, format!("0 to {most}")));
        }
        match bounds.into_iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
            Some((key, value, most)) => Err(Error::config(field(key), value, format!("1 to {most}"))),
            None => Ok(()),
        }
    }
}
