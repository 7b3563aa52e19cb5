//! A job server, asked as clients of Apache Livy ask it.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Folder, free_address};

/// The longest time that a test waits for what must come.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A job server, which is killed when the test ends.
pub struct Jobs {
    child: Child,
    address: String,
    dir: PathBuf,
}

impl Jobs {
    /// Starts it on a free port, with more lines of its config.
    pub fn start(folder: &Folder, more: &str) -> Self {
        let address = free_address();
        let text = format!(
            "dir = {:?}\nroot = {:?}\nmemory_mb = 4000\n{more}\n[http]\nlisten = '{address}'",
            folder.path("jobs"),
            folder.path("")
        );
        let config = folder.file("jobs.toml", text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_burnrec"));
        // A job that got this one too would refuse it: it is no key of its config.
        command.env("BURNREC__SECONDS", "100");
        let child = command.arg("jobs").arg(config).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let (child, address) = (child.expect("the program starts"), address.to_string());
        let jobs = Self { child, address, dir: folder.path("jobs") };
        let end = Instant::now() + LIMIT;
        while TcpStream::connect(&jobs.address).is_err() {
            assert!(Instant::now() < end, "it does not listen");
        }
        jobs
    }

    /// Sends a request; returns the status, the head and the JSON of the answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(text.as_bytes()).expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("an answer");
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Submits a job; returns its number.
    #[track_caller]
    pub fn submit(&self, job: &Value) -> u64 {
        let (status, head, body) = self.ask("POST", "/batches", &job.to_string());
        assert_eq!(status, 201, "{body}");
        let id = body["id"].as_u64().expect("a number");
        assert!(head.to_ascii_lowercase().contains(&format!("location: /batches/{id}")), "{head}");
        id
    }

    /// Returns the word of a job's state.
    pub fn state(&self, id: u64) -> String {
        let (_, _, body) = self.ask("GET", &format!("/batches/{id}/state"), "");
        assert_eq!(body["id"], id);
        body["state"].as_str().expect("a state").to_owned()
    }

    /// Waits until a job is in one of these states; returns it.
    #[track_caller]
    pub fn until(&self, id: u64, there: &[&str]) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let state = self.state(id);
            if there.contains(&state.as_str()) {
                return state;
            }
            assert!(Instant::now() < end, "job {id} is {state}, expected {there:?}");
        }
    }

    /// Reads the log as Airflow's hook does, in pages up to the total.
    pub fn log(&self, id: u64) -> Vec<String> {
        let (mut from, mut lines) = (0, Vec::new());
        loop {
            let (_, _, page) = self.ask("GET", &format!("/batches/{id}/log?from={from}&size=100"), "");
            lines.extend(
                page["log"]
                    .as_array()
                    .expect("lines")
                    .iter()
                    .map(|line| line.as_str().expect("a text").to_owned()),
            );
            from += 100;
            if from > page["total"].as_u64().expect("a total") {
                return lines;
            }
        }
    }

    /// Kills the supervisor of a job by SIGKILL.
    pub fn kill_supervisor(&self, id: u64) {
        let line = format!("burnrec job {}", self.dir.join(format!("{id:06}")).display());
        Command::new("pkill").args(["-9", "-f", &line]).status().expect("pkill");
    }

    /// Kills the server by SIGKILL; jobs go on.
    pub fn kill(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("killed");
        std::mem::forget(self);
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
