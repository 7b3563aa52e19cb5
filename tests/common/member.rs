//! Instances of a service that are controlled while they run.

#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::kafka::{Kafka, Serving, until};
use super::{Ran, burnrec, free_address};

/// The longest time that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(60);

/// An instance of a group, with the address by which it is controlled.
pub struct Member {
    pub serving: Serving,
    /// The address of control.
    pub at: String,
    /// The file of the token.
    pub token: PathBuf,
}

impl Member {
    /// Starts it under its name, with a token that may do everything.
    pub fn start(kafka: &Kafka, name: &str, config: &Path) -> Self {
        let at = free_address().to_string();
        let (dir, tokens) = (kafka.folder.path(name), kafka.folder.path("tokens.toml"));
        let token = kafka.folder.path("token");
        if !token.exists() {
            let made = burnrec("ctl token ops --role admin --tokens {}", &[&tokens]).ok();
            kafka.folder.file("token", made);
        }
        let sets = [
            format!("kafka.instance={name}"),
            format!("control.dir={}", dir.display()),
            format!("control.http.listen={at}"),
            format!("control.http.tokens={}", tokens.display()),
        ];
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let serving = Serving::start(&kafka.folder, name, config, &sets);
        Self { serving, at: format!("http://{at}"), token }
    }

    /// Runs `burnrec ctl`.
    pub fn ctl(&self, line: &str) -> Ran {
        let line = format!("ctl --at {} --token-file {{}} --json {line}", self.at);
        burnrec(&line, &[&self.token])
    }

    /// Returns what `burnrec ctl status` says.
    pub fn status(&self) -> Value {
        self.ctl("status").json()
    }

    /// Waits until a version answers here.
    #[track_caller]
    pub fn answers(&self, version: u64) {
        until(&format!("version {version} answers"), LIMIT, || self.status()["version"] == version);
    }
}
