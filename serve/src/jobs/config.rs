//! The config of the job server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use croner::Cron;
use serde::{Deserialize, Serialize};

use super::store::Job;
use crate::clock::{Clock, SystemClock};
use crate::config::HttpConfig;
use crate::{Error, Result};

/// The commands that a job may be.
pub const COMMANDS: [&str; 7] = ["train", "tune", "bench", "retrain", "drain", "replay", "score"];

/// Where jobs are kept, how many run, and what each may take.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsConfig {
    /// The directory of the jobs.
    pub dir: PathBuf,
    /// The directory that jobs run in; their arguments name nothing outside it.
    pub root: PathBuf,
    /// How many jobs run at once.
    pub at_once: usize,
    /// How many may wait; more are refused.
    pub queue: usize,
    /// How many that have ended are kept, with their logs.
    pub keep: usize,
    /// How long a job may run, in seconds; it may ask for less.
    pub seconds: u64,
    /// How much memory the processes of a job may hold, in MiB; it may ask for less.
    pub memory_mb: u64,
    /// How long a log gets, in MiB: the older half goes first.
    pub log_mb: u64,
    /// The HTTP server.
    pub http: HttpConfig,
    /// Jobs that come by themselves, by name.
    pub schedules: BTreeMap<String, Schedule>,
}

/// A job that comes by itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// When, in UTC, as cron has it: `0 3 * * *`.
    pub cron: String,
    /// The command.
    pub file: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            dir: "jobs".into(),
            root: ".".into(),
            at_once: 1,
            queue: 100,
            keep: 200,
            seconds: 24 * 3600,
            memory_mb: 8192,
            log_mb: 64,
            http: HttpConfig { listen: ([127, 0, 0, 1], 8998).into(), ..HttpConfig::default() },
            schedules: BTreeMap::new(),
        }
    }
}

impl JobsConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self) -> Result<()> {
        self.http.validate()?;
        let counts = [
            ("at_once", self.at_once as u64),
            ("seconds", self.seconds),
            ("memory_mb", self.memory_mb),
            ("log_mb", self.log_mb),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return Err(Error::config(key, 0, "at least 1"));
        }
        for (name, schedule) in &self.schedules {
            let key = |of: &str| format!("schedules.{name}.{of}");
            schedule
                .parse()
                .map_err(|why| Error::config(key("cron"), format!("{:?}", schedule.cron), why))?;
            check_command(&schedule.file)
                .map_err(|expected| Error::config(key("file"), format!("{:?}", schedule.file), expected))?;
            if let Some(arg) = schedule.args.iter().find(|arg| leaves_root(arg)) {
                return Err(Error::config(key("args"), format!("{arg:?}"), INSIDE));
            }
        }
        Ok(())
    }
}

impl JobsConfig {
    /// Returns the job of a command with its arguments, submitted now, with no name and all that a job may take.
    pub(super) fn job(&self, file: String, args: Vec<String>) -> Job {
        Job {
            id: 0,
            name: None,
            file,
            args,
            root: self.root.clone(),
            seconds: self.seconds,
            memory_mb: self.memory_mb,
            log_mb: self.log_mb,
            submitted_ms: SystemClock.unix_ms(),
            due: None,
        }
    }
}

/// What an argument must be.
pub const INSIDE: &str = "no path that is absolute or has `..`: jobs stay within their root";

impl Schedule {
    /// Reads when it comes.
    ///
    /// # Errors
    /// What is expected in place of what stands there.
    pub fn parse(&self) -> Result<Cron, String> {
        self.cron
            .parse()
            .map_err(|error| format!("five fields as cron has them, such as 0 3 * * * ({error})"))
    }
}

/// Checks that a job is a command that it may be.
///
/// # Errors
/// What is expected.
pub fn check_command(file: &str) -> Result<(), String> {
    if COMMANDS.contains(&file) { Ok(()) } else { Err(format!("one of {}", COMMANDS.join(", "))) }
}

/// Returns whether an argument sets what programs or libraries are started or loaded: settings of librdkafka and steps of one's own,
/// which the config alone says.
pub fn starts_programs(arg: &str) -> bool {
    // A backslash may stand for any character in a key.
    let is_escaped = arg.contains('=') && arg.contains('\\');
    is_escaped
        || arg
            .split(['=', '.', ',', '{', '}', '"', '\'', ' '])
            .any(|part| ["librdkafka", "steps"].contains(&part))
}

/// Returns whether an argument, or what it sets a key to, names a path that is absolute or goes up.
pub fn leaves_root(arg: &str) -> bool {
    let is_up = |path: &str| path.starts_with(['/', '~']) || path.split(['/', '\\']).any(|part| part == "..");
    // What a value holds may be a path too: KEY=VALUE, a list, a text in quotes.
    arg.split(['=', ',', '[', ']', '{', '}', '"', '\'', ' ']).any(is_up)
}
