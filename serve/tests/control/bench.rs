//! A service that is controlled.

use std::path::PathBuf;

use burnrec_serve::http::tokens::{Role, issue};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{self, config};
use crate::running::{Running, request};

/// A controlled service with a token of each role, and its directory.
pub struct Bench {
    folder: TempDir,
    pub tokens: Vec<(Role, String)>,
    pub service: Option<Running>,
}

/// The part of the config that may change, as it is at the start.
pub const START: &str =
    "models.main.run = \"RUN\"\nmodels.other.run = \"OTHER\"\n[[routes]]\nmodels = { main = 1, other = 0 }\n";

pub const SCORE: &str = r#"{"user":7,"items":[101,102]}"#;

impl Bench {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("tokens.toml");
        let token = |role: Role| (role, issue(&path, role.name(), &[role], None).expect("a token"));
        let tokens = Role::ALL.map(token).into();
        let mut bench = Self { folder, tokens, service: None };
        bench.start(START, "");
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a config of a part that may change, and more of what may not.
    pub fn text(&self, part: &str, more: &str) -> String {
        format!(
            "http.listen = \"127.0.0.1:0\"\ncontrol.http.listen = \"127.0.0.1:0\"\ncontrol.dir = {:?}\n\
             control.http.tokens = {:?}\n{more}\n{part}",
            self.path("control"),
            self.path("tokens.toml")
        )
    }

    /// Starts the service, or another in its place.
    pub fn start(&mut self, part: &str, more: &str) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
        self.service = Some(Running::new(config(&self.text(part, more))));
    }

    pub fn service(&self) -> &Running {
        self.service.as_ref().expect("it runs")
    }

    pub fn token(&self, role: Role) -> &str {
        &self.tokens.iter().find(|(of, _)| *of == role).expect("each has one").1
    }

    /// Calls as an administrator; returns the status and the answer.
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.call_by(self.token(Role::Admin), method, path, "", body)
    }

    pub fn call_by(&self, token: &str, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let headers = format!("Authorization: Bearer {token}\r\n{headers}");
        let body = filled(body);
        let (status, _, answer) = self.service().control(&request(method, path, &headers, &body));
        (status, serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}")))
    }

    /// Puts a config that must be taken; returns its version.
    #[track_caller]
    pub fn put(&self, part: &str) -> u64 {
        let (status, answer) = self.call("PUT", "/v1/config", part);
        assert_eq!(status, 200, "{answer}");
        answer["version"].as_u64().expect("a number")
    }

    /// Returns the number of the version that answers.
    pub fn version(&self) -> u64 {
        self.call("GET", "/v1/status", "").1["version"].as_u64().expect("a number")
    }

    /// Returns the model that answers a user.
    pub fn model(&self) -> String {
        let (status, reply) = self.service().post("/v1/score", SCORE);
        assert_eq!(status, 200, "{reply}");
        reply["model"].as_str().expect("a name").to_owned()
    }
}

/// Puts the paths of runs into a text.
pub fn filled(text: &str) -> String {
    let (run, other) = (common::als_run(), common::als_run().with_file_name("other"));
    text.replace("RUN", &run.display().to_string()).replace("OTHER", &other.display().to_string())
}
