//! A run of a tracking server.
//!
//! It begins before training, so that a server that does not answer is an error by then. What is measured later is kept and sent
//! in batches: a server that fails in between loses nothing of a run that trains, and is asked again when the run ends.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use burnrec_models::Phase;
use burnrec_train::checkpoints::Manifest;
use burnrec_train::device::AutoDevice;
use burnrec_train::evaluate::Scores;
use burnrec_train::record::{EpochRecord, RunRecord};
use burnrec_train::run_dir::Watch;
use burnrec_train::tune::{TrialOutcome, TrialRecord};
use serde_json::{Value, json};

use super::Server;
use super::names::{metric_name, params};
use crate::{Error, Result};

/// The most metrics that a call of `runs/log-batch` may have.
const MOST_METRICS: usize = 1000;
/// The most parameters, or tags, of a call.
const MOST_PARAMS: usize = 100;
/// How long metrics are kept for the next batch.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// How long a server that failed is left alone.
const PAUSE: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// To its end.
    Finished,
    /// By an error.
    Failed,
    /// By a signal.
    Killed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Killed => "KILLED",
        }
    }
}

/// A run that has begun on a tracking server.
pub struct Run {
    server: Server,
    experiment: String,
    id: String,
    /// Metrics that wait for the next batch.
    waiting: Vec<Value>,
    /// When the next batch is sent.
    next: Instant,
    /// How long metrics are kept.
    kept_for: Duration,
}

impl Run {
    /// Begins a run in an experiment, which is created where there is none of the name. `tags` are set beside those that say
    /// who runs it and which burnrec.
    ///
    /// # Errors
    /// When the server does not answer or refuses, or the experiment was deleted.
    pub fn begin(server: &Server, experiment: &str, name: &str, tags: &[(&str, String)]) -> Result<Self> {
        Self::create(server, &experiment_id(server, experiment)?, name, tags)
    }

    /// Begins a run within this one.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn begin_child(&self, name: &str, tags: &[(&str, String)]) -> Result<Self> {
        let tags = [tags, &[("mlflow.parentRunId", self.id.clone())]].concat();
        Self::create(&self.server, &self.experiment, name, &tags)
    }

    fn create(server: &Server, experiment: &str, name: &str, tags: &[(&str, String)]) -> Result<Self> {
        let user = std::env::var("USER").ok().map(|user| ("mlflow.user", user));
        let own = [
            ("mlflow.source.name", "burnrec".to_owned()),
            ("burnrec.version", env!("CARGO_PKG_VERSION").into()),
        ];
        let all = own.iter().chain(tags).chain(&user);
        let run = json!({
            "experiment_id": experiment,
            "run_name": name,
            "start_time": now(),
            "tags": all.map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>(),
        });
        let answer = server.post("runs/create", &run)?;
        let id = answer["run"]["info"]["run_id"].as_str();
        let id =
            id.ok_or_else(|| server.failed("no run.info.run_id", "the id of the run that was created"))?;
        Ok(Self {
            server: server.clone(),
            experiment: experiment.to_owned(),
            id: id.to_owned(),
            waiting: Vec::new(),
            next: Instant::now() + KEPT_FOR,
            kept_for: KEPT_FOR,
        })
    }

    /// Sets how long metrics are kept for the next batch, 5 s by default.
    pub fn sent_every(self, kept_for: Duration) -> Self {
        Self { next: Instant::now() + kept_for, kept_for, ..self }
    }

    /// Returns the id that the server gave the run.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sets the run's parameters: settings, those in a table by the path of their keys.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn params(&self, settings: &Value) -> Result<()> {
        let params: Vec<Value> =
            params(settings).iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        params.chunks(MOST_PARAMS).try_for_each(|params| self.log_batch("params", params))
    }

    /// Sets tags.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn tags(&self, tags: &[(&str, String)]) -> Result<()> {
        let tags: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        self.log_batch("tags", &tags)
    }

    /// Logs a metric. It is sent with others, at the latest when the run ends; one that is not finite is left out, as not all
    /// servers take it.
    pub fn metric(&mut self, key: &str, value: f64, step: u64) {
        if value.is_finite() {
            self.waiting.push(json!({ "key": key, "value": value, "timestamp": now(), "step": step }));
        }
        if Instant::now() >= self.next {
            // What fails now is sent when the run ends.
            let pause = if self.send().is_ok() { self.kept_for } else { PAUSE };
            self.next = Instant::now() + pause;
        }
    }

    /// Logs the scores of a holdout as `NAME/METRIC`.
    pub fn scores(&mut self, name: &str, scores: &Scores, step: u64) {
        for (&metric, score) in &scores.metrics {
            self.metric(&format!("{name}/{}", metric_name(metric)), score.value, step);
        }
    }

    /// Logs an epoch: its metrics on valid, loss and pace under `epoch/`, those of the final fit under `refit/`.
    pub fn epoch(&mut self, epoch: &EpochRecord) {
        let name = if epoch.phase == Phase::Refit { "refit" } else { "epoch" };
        let step = u64::from(epoch.epoch);
        if let Some(valid) = &epoch.valid {
            self.scores(name, valid, step);
        }
        let loss = epoch.loss.map(|loss| ("loss".to_owned(), loss));
        let parts = epoch.loss_parts.iter().map(|(part, loss)| (format!("loss_{part}"), *loss));
        let pace = [("seconds", epoch.seconds), ("samples_per_second", epoch.samples_per_second)];
        let pace = pace.map(|(key, value)| (key.to_owned(), value));
        for (key, value) in loss.into_iter().chain(parts).chain(pace) {
            self.metric(&format!("{name}/{key}"), value, step);
        }
    }

    /// Logs what a training run came to: its scores under `valid/` and `test/`, times, memory, and the device as a tag.
    ///
    /// # Errors
    /// When the server does not answer or refuses; the metrics then wait for the end of the run.
    pub fn record(&mut self, record: &RunRecord) -> Result<()> {
        let step = u64::from(record.epochs);
        self.scores("valid", &record.metrics.valid, step);
        self.scores("test", &record.metrics.test, step);
        for (key, value) in [
            ("epochs", f64::from(record.epochs)),
            ("fit_seconds", record.fit_seconds),
            ("total_seconds", record.total_seconds),
            ("peak_memory_bytes", record.peak_memory_bytes as f64),
            ("parameters", record.parameters as f64),
        ] {
            self.metric(key, value, step);
        }
        self.tags(&[
            ("burnrec.device", record.device.clone()),
            ("burnrec.protocol", record.metrics.test.protocol.clone()),
        ])
    }

    /// Logs a trial of a search as a run within this one, whole: its settings, the best value on valid so far by evaluation, the
    /// value it came to.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn trial(&self, trial: &TrialRecord, metric: &str) -> Result<()> {
        let stopped = trial.stopped.to_string();
        let mut run =
            self.begin_child(&format!("trial {}", trial.number), &[("burnrec.stopped", stopped)])?;
        run.params(&trial.settings)?;
        for (at, value) in trial.curve.iter().enumerate() {
            run.metric(&format!("best_so_far/{metric}"), *value, at as u64 + 1);
        }
        run.metric("seconds", trial.seconds, 0);
        let status = match &trial.outcome {
            TrialOutcome::Scored { value, epoch, .. } => {
                run.metric(&format!("valid/{metric}"), *value, u64::from(*epoch));
                run.metric("epochs", f64::from(*epoch), 0);
                Status::Finished
            }
            TrialOutcome::Failed { failed } => {
                run.tags(&[("burnrec.failed", failed.clone())])?;
                Status::Failed
            }
        };
        run.end(status)
    }

    /// Sends what waits, and says how the run ended.
    ///
    /// # Errors
    /// When the server does not answer or refuses.
    pub fn end(mut self, status: Status) -> Result<()> {
        self.send()?;
        let end = json!({ "run_id": self.id, "status": status.name(), "end_time": now() });
        self.server.post("runs/update", &end).map(|_| ())
    }

    /// Sends what waits, in batches; what is refused waits on.
    fn send(&mut self) -> Result<()> {
        while !self.waiting.is_empty() {
            let n = self.waiting.len().min(MOST_METRICS);
            self.log_batch("metrics", &self.waiting[..n])?;
            self.waiting.drain(..n);
        }
        Ok(())
    }

    fn log_batch(&self, what: &str, values: &[Value]) -> Result<()> {
        self.server.post("runs/log-batch", &json!({ "run_id": self.id, what: values })).map(|_| ())
    }
}

/// Logs the epochs of a run to a tracking server, and tells another of them.
pub struct Tracked<'a> {
    /// The run.
    pub run: &'a mut Run,
    /// The other.
    pub next: &'a mut dyn Watch,
}

impl Watch for Tracked<'_> {
    fn begun(&mut self, resumed: Option<&Manifest>, device: &str, auto: Option<&AutoDevice>) {
        self.next.begun(resumed, device, auto);
    }

    fn epoch(&mut self, epoch: &EpochRecord) {
        self.next.epoch(epoch);
        self.run.epoch(epoch);
    }
}

/// Returns the id of an experiment, and creates it where there is none.
fn experiment_id(server: &Server, name: &str) -> Result<String> {
    let id = |object: &Value| {
        let id = object["experiment_id"].as_str().map(str::to_owned);
        id.ok_or_else(|| server.failed("no experiment_id", "the id of the experiment"))
    };
    match server.get("experiments/get-by-name", ("experiment_name", name)) {
        Ok(answer) if answer["experiment"]["lifecycle_stage"] == "deleted" => {
            let found = format!("the experiment {name:?}, which was deleted");
            Err(server.failed(found, "another one, or to restore it in MLflow"))
        }
        Ok(answer) => id(&answer["experiment"]),
        Err(Error::MlflowRefused { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {
            id(&server.post("experiments/create", &json!({ "name": name }))?)
        }
        Err(error) => Err(error),
    }
}

/// Returns the milliseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
