//! The client against a server in this process that keeps what it is asked. `python/tests/interchange/` holds it to MLflow's
//! own server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use burnrec::interchange::mlflow::{Run, Server, Status, Tracked, metric_name, params, write_mlflow_model};
use burnrec::train::record::EpochRecord;
use burnrec::train::run_dir::Unwatched;
use burnrec::train::tune::{TrialOutcome, TrialRecord};
use burnrec::{Begin, DeviceChoice, Metric, Phase, Recommender, TrainConfig, Training};
use serde_json::{Value, json};

use crate::common::free_address;
use crate::{prepared, ratings, small};

/// What was asked: the call, the token, the object.
#[derive(Clone, Debug)]
struct Asked {
    call: String,
    bearer: Option<String>,
    object: Value,
}

/// A server that answers each call by a function of the call and of how often it was called before.
struct Fake {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    fn start(answer: impl Fn(&Asked, usize) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let kept = Arc::clone(&asked);
        // The thread ends with the process of the tests.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let request = read(&stream);
                let before = {
                    let mut kept = kept.lock().expect("no panic");
                    let before = kept.iter().filter(|other| other.call == request.call).count();
                    kept.push(request.clone());
                    before
                };
                let (status, body) = answer(&request, before);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).expect("an answer");
            }
        });
        Self { address, asked }
    }

    fn server(&self) -> Server {
        Server::new(&self.address, None).expect("an address")
    }

    fn asked(&self, call: &str) -> Vec<Asked> {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|asked| asked.call.starts_with(call)).cloned().collect()
    }

    /// Returns all metrics that were logged, as key, value and step, in the order of the calls.
    fn metrics(&self) -> Vec<(String, f64, u64)> {
        let of = |asked: &Asked| asked.object["metrics"].as_array().cloned().unwrap_or_default();
        let metric = |metric: &Value| {
            let key = metric["key"].as_str().expect("a key").to_owned();
            (key, metric["value"].as_f64().expect("a value"), metric["step"].as_u64().expect("a step"))
        };
        self.asked("runs/log-batch").iter().flat_map(of).map(|found| metric(&found)).collect()
    }

    fn status(&self) -> Vec<Value> {
        self.asked("runs/update").iter().map(|asked| asked.object["status"].clone()).collect()
    }
}

fn read(stream: &TcpStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length, mut bearer) = (String::new(), 0, None);
    reader.read_line(&mut line).expect("a request");
    let path = line.split(' ').nth(1).expect("a path").to_owned();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("a header");
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().expect("a length"),
            "authorization" => bearer = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let call = path.strip_prefix("/api/2.0/mlflow/").expect("a call of MLflow").to_owned();
    Asked { call, bearer, object: serde_json::from_slice(&body).unwrap_or_default() }
}

/// Answers as MLflow does, with one experiment, `there`.
fn mlflow(asked: &Asked, before: usize) -> (u16, String) {
    let answer = match asked.call.as_str() {
        "experiments/get-by-name?experiment_name=there" => {
            json!({ "experiment": { "experiment_id": "3", "lifecycle_stage": "active" } })
        }
        "experiments/get-by-name?experiment_name=gone" => {
            json!({ "experiment": { "experiment_id": "4", "lifecycle_stage": "deleted" } })
        }
        call if call.starts_with("experiments/get-by-name") => {
            let refused = json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No Experiment" });
            return (404, refused.to_string());
        }
        "experiments/create" => json!({ "experiment_id": "5" }),
        "runs/create" => json!({ "run": { "info": { "run_id": format!("run{before}") } } }),
        "runs/log-batch" | "runs/update" => json!({}),
        call => panic!("{call}"),
    };
    (200, answer.to_string())
}

#[test]
fn a_training_run_is_there_with_its_settings_epochs_and_scores() {
    let fake = Fake::start(mlflow);
    let server = Server::new(&format!("{}/", fake.address), Some("secret".into())).expect("an address");
    let mut run = Run::begin(&server, "there", "als", &[("burnrec.run", "runs/als".into())]).expect("a run");
    let config: TrainConfig =
        "model = 'als'\ndim = 4\nepochs = 3\nearly_stopping = { patience = 2 }".parse().expect("a config");
    run.params(&serde_json::to_value(config.to_table()).expect("JSON")).expect("parameters");
    let data = prepared(ratings());
    let folder = tempfile::tempdir().expect("a folder");
    let training = Training::new(config).device(DeviceChoice::Cpu);
    let mut watch = Tracked { run: &mut run, next: &mut Unwatched };
    let record =
        training.watched(folder.path(), Begin::New, &data, None, &mut watch).expect("a model").record;
    run.record(&record).expect("the record");
    run.end(Status::Finished).expect("the end");

    let all = fake.asked("");
    assert!(all.iter().all(|asked| asked.bearer.as_deref() == Some("Bearer secret")), "{all:?}");
    let created = &fake.asked("runs/create")[0].object;
    assert_eq!((&created["experiment_id"], &created["run_name"]), (&json!("3"), &json!("als")));
    let tags = created["tags"].as_array().expect("tags");
    assert!(tags.contains(&json!({ "key": "burnrec.run", "value": "runs/als" })), "{tags:?}");
    let params: Vec<Value> = fake
        .asked("runs/log-batch")
        .iter()
        .filter_map(|asked| asked.object["params"].as_array().cloned())
        .flatten()
        .collect();
    for (key, value) in [("model", "als"), ("dim", "4"), ("early_stopping.patience", "2")] {
        assert!(params.contains(&json!({ "key": key, "value": value })), "{key} in {params:?}");
    }
    let metrics = fake.metrics();
    let value = |key: &str, step: u64| {
        metrics.iter().find(|(other, _, at)| other == key && *at == step).map(|found| found.1)
    };
    let epochs = std::fs::read_to_string(folder.path().join("record.jsonl")).expect("epochs");
    let epochs: Vec<EpochRecord> =
        epochs.lines().map(|line| serde_json::from_str(line).expect("an epoch")).collect();
    assert!(epochs.iter().any(|epoch| epoch.phase == Phase::Refit));
    for epoch in &epochs {
        let name = if epoch.phase == Phase::Refit { "refit" } else { "epoch" };
        assert_eq!(value(&format!("{name}/seconds"), epoch.epoch.into()), Some(epoch.seconds));
        let ndcg = epoch.valid.as_ref().and_then(|valid| valid.value(Metric::Ndcg(10)));
        assert_eq!(value(&format!("{name}/ndcg_at_10"), epoch.epoch.into()), ndcg);
    }
    let test = record.metrics.test.value(Metric::Ndcg(10)).expect("a score");
    let logged = value("test/ndcg_at_10", record.epochs.into()).expect("a metric");
    assert!((logged - test).abs() < 1e-12, "{logged} and {test}");
    assert_eq!(value("parameters", record.epochs.into()), Some(record.parameters as f64));
    assert_eq!(fake.status(), ["FINISHED"]);
}

#[test]
fn metrics_go_in_batches_of_a_thousand() {
    let fake = Fake::start(mlflow);
    let mut run = Run::begin(&fake.server(), "there", "many", &[]).expect("a run");
    for step in 0..2500 {
        run.metric("loss", f64::from(step), u64::from(step as u32));
    }
    run.metric("loss", f64::NAN, 2500);
    run.end(Status::Killed).expect("the end");
    let sizes: Vec<usize> = fake
        .asked("runs/log-batch")
        .iter()
        .filter_map(|asked| asked.object["metrics"].as_array().map(Vec::len))
        .collect();
    assert!(sizes.iter().all(|&size| size <= 1000), "{sizes:?}");
    let steps: Vec<u64> = fake.metrics().iter().map(|metric| metric.2).collect();
    assert_eq!(steps, (0..2500).collect::<Vec<u64>>(), "each once, in order, and none that is no number");
    assert_eq!(fake.status(), ["KILLED"]);
}

#[test]
fn an_experiment_is_made_and_a_search_is_a_run_with_runs_in_it() {
    let fake = Fake::start(mlflow);
    let run = Run::begin(&fake.server(), "new one", "tune", &[]).expect("a run");
    assert_eq!(fake.asked("experiments/create")[0].object, json!({ "name": "new one" }));
    let scored = TrialOutcome::Scored { value: 0.25, epoch: 3, folds: Vec::new() };
    let trial = TrialRecord {
        number: 1,
        settings: json!({ "dim": 8 }),
        outcome: scored,
        curve: vec![0.125, 0.25],
        stopped: false,
        seconds: 0.5,
    };
    run.trial(&trial, "ndcg_at_10").expect("a trial");
    let failed = TrialOutcome::Failed { failed: "diverged".into() };
    run.trial(&TrialRecord { number: 2, outcome: failed, ..trial }, "ndcg_at_10").expect("a trial");
    run.end(Status::Finished).expect("the end");
    let created = fake.asked("runs/create");
    assert_eq!(created[0].object["experiment_id"], "5");
    for child in &created[1..] {
        let tags = child.object["tags"].as_array().expect("tags");
        assert!(tags.contains(&json!({ "key": "mlflow.parentRunId", "value": "run0" })), "{tags:?}");
    }
    assert_eq!(fake.status(), ["FINISHED", "FAILED", "FINISHED"]);
    assert!(fake.metrics().contains(&("best_so_far/ndcg_at_10".into(), 0.125, 1)));
    assert!(fake.metrics().contains(&("valid/ndcg_at_10".into(), 0.25, 3)));
}

#[test]
fn what_a_failing_server_did_not_take_is_sent_at_the_end() {
    let fake = Fake::start(|asked, before| match asked.call.as_str() {
        "runs/log-batch" if before == 0 => (500, "down".into()),
        _ => mlflow(asked, before),
    });
    let run = Run::begin(&fake.server(), "there", "flaky", &[]).expect("a run");
    // The first batch is due at once, and fails.
    let mut run = run.sent_every(Duration::ZERO);
    run.metric("loss", 0.5, 1);
    run.metric("loss", 0.25, 2);
    assert_eq!(fake.asked("runs/log-batch").len(), 1, "the server is left alone for a while");
    run.end(Status::Finished).expect("the end");
    let sent = &fake.asked("runs/log-batch")[1].object["metrics"];
    assert_eq!((&sent[0]["value"], &sent[1]["value"]), (&json!(0.5), &json!(0.25)));
    assert_eq!(fake.status(), ["FINISHED"]);
}

#[test]
fn a_server_that_is_none_is_an_error_that_says_what_is_there() {
    let begin = |server: &Server| Run::begin(server, "there", "x", &[]).err().expect("an error").to_string();
    let free = free_address();
    let nobody = Server::new(&format!("http://{free}"), Some("secret".into())).expect("an address");
    let error = begin(&nobody);
    assert!(error.starts_with(&format!("http://{free}: found no answer")), "{error}");
    assert!(!error.contains("secret"));
    for (status, body, expected) in [
        (
            200,
            "<html>",
            "found status 200 and no object of MLflow, expected an answer of an MLflow tracking server",
        ),
        (404, "<html>", "found status 404"),
        (401, "{}", "MLFLOW_TRACKING_TOKEN"),
        (
            400,
            r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"no"}"#,
            "MLflow refuses with status 400, INVALID_PARAMETER_VALUE: no",
        ),
        (200, r#"{"experiment":{}}"#, "found no experiment_id"),
    ] {
        let fake = Fake::start(move |_, _| (status, body.into()));
        let error = begin(&fake.server());
        assert!(error.contains(expected), "{error}");
    }
    let fake = Fake::start(mlflow);
    let error = Run::begin(&fake.server(), "gone", "x", &[]).err().expect("deleted").to_string();
    assert!(error.contains("found the experiment \"gone\", which was deleted"), "{error}");
    for address in ["localhost:5000", "http://", "http://me:secret@host", "file:///tmp/mlruns"] {
        let error = Server::new(address, None).err().expect("no address").to_string();
        assert!(error.starts_with("mlflow: found ") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn names_are_those_that_servers_take() {
    assert_eq!(metric_name(Metric::Ndcg(10)), "ndcg_at_10");
    assert_eq!(metric_name(Metric::Auc), "auc");
    let settings = json!({ "a": { "b": "x", "c": [1, 2] }, "d": null, "e": {} });
    let expected = [("a.b", "x"), ("a.c", "[1,2]"), ("d", "null"), ("e", "{}")];
    assert_eq!(params(&settings), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(params(&json!({ "long": "é".repeat(7000) }))[0].1.chars().count(), 6000);
}

#[test]
fn a_run_becomes_a_model_of_mlflow_and_stays_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (run, model) = (folder.path().join("run"), folder.path().join("model"));
    small("model = 'als'\ndim = 4\nepochs = 1").save(&run).expect("a run");
    write_mlflow_model(&run, &model).expect("a model");
    let text = std::fs::read_to_string(model.join("MLmodel")).expect("a file");
    assert!(
        text.contains("\n  python_function:\n") && text.contains("    loader_module: burnrec.mlflow\n"),
        "{text}"
    );
    let inputs =
        text.lines().find_map(|line| line.strip_prefix("  inputs: '")?.strip_suffix('\'')).expect("inputs");
    let inputs: Value = serde_json::from_str(inputs).expect("JSON");
    assert_eq!(inputs[1], json!({ "name": "item", "type": "long", "required": false }));
    let [copy, own] = [model, run].map(|dir| Recommender::open(dir).expect("a run"));
    assert_eq!(copy.record, own.record);
    let user = own.users.vocab().id(0).to_string();
    assert_eq!(copy.recommend(&user, 5).expect("items"), own.recommend(&user, 5).expect("items"));
}
