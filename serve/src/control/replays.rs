//! Replays that were asked for over the API: one at a time, each on a thread of its own.
//!
//! A replay is answered by the models and the settings as they are when it begins, and leaves histories as they are. What it answers
//! is in the index under its number.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use burnrec_data::calendar::date_time;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Control, Refusal};
use crate::clock::{Clock, SystemClock};
use crate::engine::{Engine, Replaying};
use crate::kafka::{Range, replay_by};
use crate::metrics::OutcomeLabels;
use crate::settings::{Run, Settings};

/// How many are known.
const KEPT: usize = 100;

/// What the groups and the transactions of these replays are called, after the name of the service's group and before that of the
/// instance.
const GROUP: &str = "replay-api";

/// A replay.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// Its number: when it was asked for, in Unix milliseconds.
    pub replay: u64,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: String,
    /// What is answered again.
    pub of: String,
    /// `running`, `done`, `stopped` or `failed`.
    pub state: &'static str,
    /// How its events ended, once it has ended itself: outcome, reason or type, and how many.
    pub ends: Vec<Value>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The replays of this instance since it started.
#[derive(Default)]
pub struct Replays {
    all: Mutex<VecDeque<Replay>>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Replays {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Replay>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns them, the newest first.
    pub fn all(&self) -> Vec<Replay> {
        self.lock().iter().rev().cloned().collect()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Stops the one that runs: what it has answered is committed.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // What it came to is among the replays.
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Control {
    /// Stops the replay that runs.
    pub fn stop_replays(&self) {
        self.replays.stop();
    }

    /// Begins a replay of a range, which `of` names.
    ///
    /// # Errors
    /// When another runs.
    pub fn replay(self: &Arc<Self>, range: Range, of: String, by: &str) -> Result<Replay, Refusal> {
        let now_ms = SystemClock.unix_ms();
        let mut all = self.replays.lock();
        if let Some(running) = all.iter().find(|of| of.state == "running") {
            let text = format!("replay {} of {} runs; expected one at a time", running.replay, running.of);
            return Err(Refusal::Conflict(text));
        }
        let last = all.back().map_or(0, |last| last.replay);
        let new = Replay {
            replay: (now_ms as u64).max(last + 1),
            by: by.to_owned(),
            at: date_time(now_ms / 1000),
            of,
            state: "running",
            ends: Vec::new(),
            error: None,
        };
        let (control, number) = (Arc::clone(self), new.replay);
        let run = move || {
            let ended = catch_unwind(AssertUnwindSafe(|| control.run_replay(&range, number)));
            let panicked = |_| Err("a panic; its message stands in the log".to_owned());
            control.replay_ended(number, ended.unwrap_or_else(panicked));
        };
        let thread = std::thread::Builder::new().name("replay".into()).spawn(run);
        let thread =
            thread.map_err(burnrec_data::Error::io("start a thread for", std::path::Path::new("a replay")));
        let thread = thread.map_err(crate::Error::from)?;
        all.push_back(new.clone());
        if all.len() > KEPT {
            all.pop_front();
        }
        drop(all);
        *self.replays.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(new)
    }

    /// Answers a range by the models and the version of the config that answer now; returns how its events ended.
    fn run_replay(&self, range: &Range, number: u64) -> Result<BTreeMap<OutcomeLabels, u64>, String> {
        let live = self.engine.models.live();
        let version = live.settings.version;
        let tables = {
            let known = self.known();
            let answers = known.versions.iter().find(|of| of.version == version);
            answers.map(|of| of.config.clone())
        };
        let config = tables.map_or_else(|| self.running.clone(), |tables| self.running.with(tables));
        let engine = |config: &_, mut replaying: Replaying| {
            replaying.number = Some(number);
            // Routes and tenants are those of the topic that is replayed, and quotas are lifted.
            let settings = Settings::open(config, version, Run::Running)?;
            let engine = self.engine.beside(config, settings, &live, replaying);
            let index = self.engine.tracer.iter().map(|tracer| &tracer.index);
            Ok(index.fold(engine, Engine::with_index))
        };
        let name = format!("{GROUP}-{}", self.instance);
        replay_by(&config, range, &name, &engine, &|| self.replays.is_stopped())
            .map_err(|error| error.to_string())
    }

    fn replay_ended(&self, number: u64, ended: Result<BTreeMap<OutcomeLabels, u64>, String>) {
        let end = |(of, n): (OutcomeLabels, u64)| json!({ "outcome": of.outcome, "of": of.of, "count": n });
        let (state, ends, error) = match ended {
            Ok(ends) => (if self.replays.is_stopped() { "stopped" } else { "done" }, ends, None),
            Err(error) => ("failed", BTreeMap::new(), Some(error)),
        };
        let mut all = self.replays.lock();
        if let Some(of) = all.iter_mut().find(|of| of.replay == number) {
            (of.state, of.error) = (state, error);
            of.ends = ends.into_iter().map(end).collect();
        }
    }
}
