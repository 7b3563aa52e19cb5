//! Jobs over REST, as clients of Apache Livy submit, watch and end them.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Folder, burnrec};
use serde_json::{Value, json};

/// The longest time that a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(120);

/// A job server, which is killed when the test ends.
struct Jobs {
    child: Child,
    address: String,
}

impl Jobs {
    fn start(folder: &Folder, more: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("an address")
            .port();
        let text = format!(
            "dir = {:?}\nroot = {:?}\nseconds = 100\nmemory_mb = 4000\n{more}\n[http]\nlisten = '127.0.0.1:{port}'",
            folder.path("jobs"),
            folder.path("")
        );
        let config = folder.file("jobs.toml", text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_burnrec"));
        let child = command.arg("jobs").arg(config).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let jobs = Self { child: child.expect("the program starts"), address: format!("127.0.0.1:{port}") };
        let end = Instant::now() + LIMIT;
        while TcpStream::connect(&jobs.address).is_err() {
            assert!(Instant::now() < end, "it does not listen");
        }
        jobs
    }

    /// Sends a request; returns the status, the head and the JSON of the answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, Value) {
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

    fn submit(&self, job: &Value) -> u64 {
        let (status, head, body) = self.ask("POST", "/batches", &job.to_string());
        assert_eq!(status, 201, "{body}");
        let id = body["id"].as_u64().expect("a number");
        assert!(head.to_ascii_lowercase().contains(&format!("location: /batches/{id}")), "{head}");
        id
    }

    fn state(&self, id: u64) -> String {
        let (_, _, body) = self.ask("GET", &format!("/batches/{id}/state"), "");
        assert_eq!(body["id"], id);
        body["state"].as_str().expect("a state").to_owned()
    }

    fn until(&self, id: u64, there: &[&str]) -> String {
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
    fn log(&self, id: u64) -> Vec<String> {
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

    fn kill(mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("killed");
        std::mem::forget(self);
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Makes prepared data and configs of a run that is short and of one that is long, as paths within the folder.
fn prepared(folder: &Folder) -> [String; 2] {
    let (raw, data) = (folder.path("raw"), folder.path("data"));
    burnrec("synth --users 300 --items 200 --rows 9000 --out {}", &[&raw]).ok();
    burnrec("prepare {} --out {}", &[&raw, &data]).ok();
    folder.file("short.toml", "model = 'ease'\nepochs = 1");
    folder.file("long.toml", "model = 'mf'\nepochs = 100000\nbatch_size = 64");
    ["short.toml".to_owned(), "long.toml".to_owned()]
}

fn train(config: &str, out: &str) -> Value {
    json!({ "file": "train", "args": [config, "--data", "data", "--out", out] })
}

fn run(folder: &Folder, name: &str) -> PathBuf {
    folder.path(name).join("manifest.json")
}

/// Returns whether a process of this program works on a file.
fn is_at_work(on: &str) -> bool {
    std::fs::read_dir("/proc").expect("processes").flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("train") && line.contains(on)
    })
}

#[test]
fn jobs_run_one_after_the_other_and_survive_the_server() {
    let folder = Folder::new();
    let [short, long] = prepared(&folder);
    let jobs = Jobs::start(&folder, "queue = 1");
    let first = jobs.submit(&train(&short, "run-1"));
    assert_eq!(jobs.until(first, &["success", "dead", "error"]), "success", "{:?}", jobs.log(first));
    assert!(run(&folder, "run-1").exists());
    assert!(jobs.log(first).iter().any(|line| line.contains("saved to run-1")), "{:?}", jobs.log(first));

    let second =
        jobs.submit(&json!({ "file": "train", "name": "slow", "args": train(&long, "run-2")["args"] }));
    jobs.until(second, &["running"]);
    let third = jobs.submit(&train(&short, "run-3"));
    assert_eq!(jobs.state(third), "not_started");
    let (status, _, body) =
        jobs.ask("POST", "/batches", &json!({ "file": "train", "name": "slow" }).to_string());
    assert_eq!((status, body["msg"].as_str()), (400, Some("Rejected, Duplicate session name: \"slow\"")));

    let (status, _, body) = jobs.ask("POST", "/batches", &train(&short, "run-4").to_string());
    let message = body["msg"].as_str().expect("a message");
    assert!(
        status == 400 && message.starts_with("Rejected, too many sessions are being created: 1 wait"),
        "{body}"
    );

    // The server is killed, and jobs go on.
    jobs.kill();
    assert!(is_at_work("run-2"));
    let jobs = Jobs::start(&folder, "");
    assert_eq!((jobs.state(second).as_str(), jobs.state(third).as_str()), ("running", "not_started"));
    let (_, _, by_name) = jobs.ask("GET", "/batches/slow", "");
    assert_eq!((by_name["id"].as_u64(), by_name["appId"].is_null()), (Some(second), true));
    let (_, _, all) = jobs.ask("GET", "/batches?from=1&size=1", "");
    assert_eq!((all["total"].as_u64(), all["sessions"][0]["id"].as_u64()), (Some(3), Some(second)), "{all}");

    let (status, _, body) = jobs.ask("DELETE", &format!("/batches/{second}"), "");
    assert_eq!((status, &body), (200, &json!({ "msg": "deleted" })));
    let (status, _, body) = jobs.ask("GET", &format!("/batches/{second}/state"), "");
    assert_eq!(
        (status, body["msg"].as_str()),
        (404, Some(format!("Session '{second}' not found.").as_str()))
    );
    assert_eq!(jobs.until(third, &["success", "dead", "error"]), "success");
    assert!(!is_at_work("run-2") && run(&folder, "run-3").exists() && !run(&folder, "run-2").exists());
}

#[test]
fn a_job_stays_within_its_bounds() {
    let folder = Folder::new();
    let [short, long] = prepared(&folder);
    let jobs = Jobs::start(&folder, "at_once = 3");
    let with = |key: &str, value: Value, out: &str| {
        let mut job = train(&long, out);
        job[key] = value;
        job
    };
    let late = jobs.submit(&with("conf", json!({ "burnrec.seconds": "2" }), "late"));
    let large = jobs.submit(&with("driverMemory", json!("20m"), "large"));
    let failing =
        jobs.submit(&json!({ "file": "train", "args": [short, "--data", "nothing", "--out", "x"] }));
    for (id, why) in [(late, "it ran for more than 2 s"), (large, "MiB, more than 20"), (failing, "")] {
        assert_eq!(jobs.until(id, &["success", "dead", "error", "killed"]), "dead");
        let (_, _, job) = jobs.ask("GET", &format!("/batches/{id}"), "");
        assert!(job["why"].as_str().expect("a text").contains(why), "{job}");
    }
    assert!(jobs.log(failing).iter().any(|line| line.contains("nothing")), "{:?}", jobs.log(failing));

    // A supervisor that is killed takes its job with it, and the job is dead.
    let lost = jobs.submit(&train(&long, "lost"));
    jobs.until(lost, &["running"]);
    let of = format!("{:06}", lost);
    Command::new("pkill").args(["-9", "-f", &format!("burnrec job .*{of}")]).status().expect("pkill");
    assert_eq!(jobs.until(lost, &["success", "dead", "error", "killed"]), "dead");
    let end = Instant::now() + LIMIT;
    while is_at_work("lost") {
        assert!(Instant::now() < end, "the job outlives its supervisor");
    }
}

#[test]
fn what_is_no_job_is_refused() {
    let folder = Folder::new();
    let jobs = Jobs::start(&folder, "");
    for (job, words) in [
        (json!({ "file": "serve" }), "file: found \"serve\", expected one of train, tune"),
        (json!({ "file": "/bin/sh", "args": ["-c", "id"] }), "file: found \"/bin/sh\""),
        (json!({ "args": [] }), "file: found none"),
        (json!({ "file": "train", "args": ["../x"] }), "args: found \"../x\""),
        (json!({ "file": "train", "args": ["--out=/etc"] }), "args: found \"--out=/etc\""),
        (
            json!({ "file": "train", "args": ["--set", "parts=[\"a\", \"/etc\"]"] }),
            "no path that is absolute",
        ),
        (json!({ "file": "train", "args": ["a/../../b"] }), "no path that is absolute"),
        (json!({ "file": "train", "args": "x" }), "args: found \"x\", expected a list"),
        (json!({ "file": "train", "jars": ["x.jar"] }), "jars: found [\"x.jar\"], expected none"),
        (json!({ "file": "train", "shell": true }), "shell: found a key that is not known"),
        (json!({ "file": "train", "driverMemory": "9g" }), "driverMemory: found \"9g\""),
        (json!({ "file": "train", "conf": { "spark.x": "1" } }), "conf: found another key"),
    ] {
        let (status, _, body) = jobs.ask("POST", "/batches", &job.to_string());
        let message = body["msg"].as_str().expect("a message");
        assert!(
            status == 400 && message.starts_with("Rejected, ") && message.contains(words),
            "{job}: {status} {message}"
        );
    }
    let (status, _, body) = jobs.ask("POST", "/batches", "{");
    assert!(
        status == 400 && body["msg"].as_str().is_some_and(|text| text.contains("expected a JSON object")),
        "{body}"
    );
    for (method, path, expected) in [
        ("GET", "/batches/7", 404),
        ("DELETE", "/batches/7", 404),
        ("GET", "/sessions", 404),
        ("PUT", "/batches", 405),
    ] {
        assert_eq!(jobs.ask(method, path, "").0, expected, "{method} {path}");
    }
    let (_, _, none) = jobs.ask("GET", "/batches", "");
    assert_eq!(none, json!({ "from": 0, "total": 0, "sessions": [] }));
    let config = |text: &str| folder.file("bad.toml", text);
    for (text, words) in [
        ("at_once = 0", "at_once: found 0"),
        ("at_once = 1\n[schedules.x]\ncron = 'often'\nfile = 'train'", "schedules.x.cron: found \"often\""),
        ("at_once = 1\n[schedules.x]\ncron = '0 3 * * *'\nfile = 'rm'", "schedules.x.file: found \"rm\""),
        ("at_once = 1\n[http]\nlisten = '0.0.0.0:1'", "http.listen"),
    ] {
        burnrec("jobs {}", &[&config(text)]).fails(&["bad.toml", words]);
        burnrec("check {}", &[Path::new(&config(text))]).fails(&[words]);
    }
}
