//! Jobs over REST, as clients of Apache Livy submit, watch and end them.

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use common::jobs::{Jobs, LIMIT};
use common::{Folder, burnrec};
use serde_json::{Value, json};

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
    jobs.kill_supervisor(lost);
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
    for (body, words) in [
        (r#"{ "file": "serve" }"#, "file: found \"serve\", expected one of train, tune"),
        (
            r#"{ "file": "train", "conf": "burnrec.seconds=5" }"#,
            "conf: found \"burnrec.seconds=5\", expected an object",
        ),
        (r#"{ "file": "drain", "args": ["a.toml", "--set", "kafka={librdkafka={a='b'}}"] }"#, "args: found"),
        (r#"{ "file": "drain", "args": ["a.toml", "--set=kafka.\"librdkafk\\u0061\".a=b"] }"#, "args: found"),
        (r#"{ "file": "replay", "args": ["a.toml", "--set", "steps.x.command=['sh']"] }"#, "args: found"),
        (r#"{ "file": "train", "conf": { "burnrec.seconds": 101 } }"#, "conf.burnrec.seconds: found 101"),
        ("{", "expected a JSON object"),
    ] {
        let (status, _, answer) = jobs.ask("POST", "/batches", body);
        let message = answer["msg"].as_str().expect("a message");
        assert!(
            status == 400 && message.starts_with("Rejected, ") && message.contains(words),
            "{body}: {status} {message}"
        );
    }
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
