//! Holds what is in deploy/ to the program: the configs and variables of the manifests, the metrics of rules and dashboard, the
//! health check of the image. `deploy/check.py` runs the linters.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use burnrec::serve::Kind;
use burnrec::serve::metrics::{Elsewhere, Metrics, ModelLabels, PartitionLabels, QueueLevel};
use burnrec::serve::outbox::EventOutcome;
use common::kafka::{Serving, get};
use common::{Folder, burnrec, trained};
use serde_json::Value;

/// The labels that Prometheus adds, by deploy/prometheus/prometheus.yaml.
const SCRAPED: [&str; 3] = ["namespace", "job", "instance"];

/// What the names of metrics begin with, and those of what rules record.
const STARTS: [&str; 4] = ["burnrec_", "burnrec:", "kafka_", "process_"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// Returns a file of deploy/ without lines that are comments.
fn text(name: &str) -> String {
    let path = path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    code.map(|line| format!("{line}\n")).collect()
}

/// Returns the names of the series that the service exports, each with its labels, after all that is counted has happened.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::default();
    metrics.ended(&EventOutcome::Replied(Kind::Score));
    metrics.trouble("a test", false);
    metrics.http("/v1/score", 200, Duration::ZERO);
    metrics.queues(0, std::iter::once(QueueLevel { events: 1, bytes: 1, fill: 0.5 }));
    let of = PartitionLabels { topic: "requests".to_owned(), partition: 0 };
    metrics.lags_of("worker 0", BTreeMap::from([(of.clone(), 1)]));
    metrics.lost(of, 1, "a test".to_owned());
    let model = ModelLabels { model: "main".to_owned(), version: "1".to_owned() };
    let written = metrics.text(Elsewhere { replies: vec![(model, 1)], ..Elsewhere::default() }, None);
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in written.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        all.entry(name.to_owned()).or_default().extend(labels.map(|(label, _)| label.to_owned()));
    }
    all
}

/// Returns the metrics that a text names, each with the labels in the braces that follow it.
fn named(text: &str) -> Vec<(&str, Vec<&str>)> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let end = word.find(|char: char| !is_part(char)).unwrap_or(word.len());
        let name = &word[..end];
        rest = &word[end..];
        if STARTS.iter().any(|start| name.starts_with(start)) {
            let braces = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let labels = braces.map_or("", |(labels, _)| labels).split(',');
            let labels = labels.filter_map(|label| label.split_once(['=', '!']));
            found.push((name, labels.map(|(label, _)| label.trim()).collect()));
        }
    }
    found
}

/// Adds all texts of a JSON value, a line each.
fn add_texts(value: &Value, all: &mut String) {
    match value {
        Value::String(text) => {
            all.push_str(text);
            all.push('\n');
        }
        Value::Array(values) => values.iter().for_each(|value| add_texts(value, all)),
        Value::Object(values) => values.values().for_each(|value| add_texts(value, all)),
        _ => {}
    }
}

#[test]
fn rules_and_dashboard_name_what_is_exported() {
    let exported = exported();
    let rules = text("prometheus/rules.yaml");
    let recorded: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let dashboard: Value = serde_json::from_str(&text("grafana/burnrec.json")).expect("JSON");
    let mut queries = String::new();
    add_texts(&dashboard, &mut queries);
    let tests = text("prometheus/rules-test.yaml");
    for (file, text) in [("rules.yaml", &rules), ("rules-test.yaml", &tests), ("burnrec.json", &queries)] {
        let named = named(text);
        assert!(named.len() > 15, "{file}: only {named:?}");
        for (name, labels) in named.into_iter().filter(|(name, _)| !recorded.contains(name)) {
            let Some(known) = exported.get(name) else {
                panic!("{file}: found {name}, expected one of {:?}", exported.keys());
            };
            for label in labels.into_iter().filter(|label| !SCRAPED.contains(label)) {
                assert!(known.contains(label), "{file}: {name} has the labels {known:?}, and no {label}");
            }
        }
        let labels: BTreeSet<&str> = exported.values().flatten().map(String::as_str).chain(SCRAPED).collect();
        let lists = text.split(" by (").skip(1).filter_map(|rest| rest.split_once(')'));
        for label in lists.flat_map(|(list, _)| list.split(", ")) {
            assert!(labels.contains(label), "{file}: no series has the label {label}");
        }
    }
}

#[test]
fn the_program_takes_the_configs_and_the_variables_of_the_manifests() {
    for overlay in ["base", "production"] {
        let manifests =
            ["base", overlay].map(|of| text(&format!("kubernetes/{of}/statefulset.yaml"))).concat();
        let names = manifests.lines().filter_map(|line| line.trim().strip_prefix("- name: "));
        let variables: BTreeSet<&str> = names.filter(|name| name.starts_with("BURNREC__")).collect();
        assert!(variables.contains("BURNREC__KAFKA__INSTANCE"), "{variables:?}");
        let given: String = variables.iter().map(|name| format!("{name}=given ")).collect();
        let config = path(&format!("kubernetes/{overlay}/serve.toml"));
        let shown = burnrec(&format!("{given}check {{}}"), &[&config]).ok();
        assert!(shown.contains("instance = \"given\""), "{overlay}: {shown}");
        burnrec("check {}", &[&config]).fails(&["http.token"]);
    }
}

#[test]
fn an_instance_has_the_time_to_drain() {
    let manifest = text("kubernetes/base/statefulset.yaml");
    let seconds =
        manifest.lines().find_map(|line| line.trim().strip_prefix("terminationGracePeriodSeconds: "));
    let grace_ms = 1000 * seconds.expect("a grace period").parse::<i64>().expect("seconds");
    for overlay in ["base", "production"] {
        let config: toml::Table =
            toml::from_str(&text(&format!("kubernetes/{overlay}/serve.toml"))).expect("TOML");
        let drain_ms = config["kafka"]["drain_timeout_ms"].as_integer().expect("milliseconds");
        // Open connections have 5 s more, on each of two listeners.
        assert!(grace_ms > drain_ms + 2 * 5000, "{overlay}: {grace_ms} ms for a drain of {drain_ms} ms");
    }
}

#[test]
fn probes_and_the_health_check_of_the_image_tell_what_the_service_answers() {
    let dockerfile = std::fs::read_to_string(path("../Dockerfile")).expect("the Dockerfile");
    let manifest = text("kubernetes/base/statefulset.yaml");
    assert!(dockerfile.contains("COPY deploy/health.sh /usr/local/bin/burnrec-health\n"), "{dockerfile}");
    assert!(dockerfile.contains("CMD [\"burnrec-health\", \"live\"]"), "{dockerfile}");
    assert!(manifest.contains("command: [burnrec-health, ready]"), "{manifest}");

    let folder = Folder::new();
    let run = trained(&folder, "--users 30 --items 40 --rows 600", "popularity.toml", "");
    let config = folder.file("serve.toml", format!("models.main.run = {run:?}\nhttp.token = \"abc\"\n"));
    let serving = Serving::start(&folder, "health", &config, &[]);
    let is_ok = |path: &str| get(&serving.http, path).is_some_and(|reply| reply.starts_with("HTTP/1.1 200"));
    serving.until("the service answers", || is_ok("/health/live"));
    // Of a probe over HTTP, which has no token.
    let paths: Vec<&str> = manifest.lines().filter_map(|line| line.trim().strip_prefix("path: /")).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths.iter().all(|path| is_ok(&format!("/{path}"))), "{paths:?}");
    let address = serving.http.clone();
    let is_well = |what: &str, token: &str| {
        let mut script = Command::new(path("health.sh"));
        script.arg(what).env("BURNREC__HTTP__LISTEN", &address).env("BURNREC__HTTP__TOKEN", token);
        let ran = script.env_remove("BURNREC_TOKEN").output().expect("bash starts");
        (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    assert_eq!(is_well("live", ""), (true, String::new()));
    assert_eq!(is_well("ready", "abc"), (true, String::new()));
    let (well, said) = is_well("ready", "wrong");
    assert!(!well && said.contains("no-token") && !said.contains("wrong"), "{said}");
    assert_eq!(serving.stop(), Some(0));
    assert!(!is_well("live", "").0, "it has ended");
}
