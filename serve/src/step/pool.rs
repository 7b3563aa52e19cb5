//! The processes of a step. A batch takes those that are free, at least one, and gives them back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

use super::process::Process;
use crate::config::StepConfig;
use crate::{Error, Result};

/// How long to wait before a process is started again that had answered; twice as long each time it dies without an answer.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The longest wait.
const MOST_BACK_OFF: Duration = Duration::from_secs(30);

/// A step of external processes.
pub struct Pool {
    /// The step's name.
    pub name: &'static str,
    /// Its settings.
    pub config: StepConfig,
    /// Processes that no batch has.
    free: Mutex<Vec<Worker>>,
    freed: Condvar,
    restarts: Counter,
    lines: AtomicU64,
}

/// A process, or the place of one that is to be started.
pub struct Worker {
    /// The process, if it runs.
    pub process: Option<Process>,
    /// How often it died since it last answered.
    deaths: u32,
    /// Not started before this moment.
    pub next_start: Instant,
}

impl Worker {
    /// Notes an answer.
    pub fn answered(&mut self) {
        self.deaths = 0;
    }
}

impl Pool {
    /// Starts the processes.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn open(name: &'static str, config: StepConfig, restarts: Counter) -> Result<Self> {
        let start = |_| match Process::start(name, &config) {
            Ok(process) => Ok(Worker { process: Some(process), deaths: 0, next_start: Instant::now() }),
            Err(error) => {
                let expected = format!("a program that can be started: {error}");
                Err(Error::config(format!("steps.{name}.command"), format!("{:?}", config.command), expected))
            }
        };
        let free = Mutex::new((0..config.processes).map(start).collect::<Result<_>>()?);
        Ok(Self { name, config, free, freed: Condvar::new(), restarts, lines: AtomicU64::new(1) })
    }

    fn free(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes free processes, at least one.
    pub fn take(&self, most: usize) -> Vec<Worker> {
        let is_none = |free: &mut Vec<Worker>| free.is_empty();
        let waited = self.freed.wait_while(self.free(), is_none);
        let mut free = waited.unwrap_or_else(PoisonError::into_inner);
        // Those that run first: the last ones.
        free.sort_by_key(|worker| worker.process.is_some());
        let left = free.len().saturating_sub(most);
        free.split_off(left)
    }

    /// Takes processes back.
    pub fn give_back(&self, workers: Vec<Worker>) {
        self.free().extend(workers);
        self.freed.notify_all();
    }

    /// Returns the number of the next line.
    pub fn next_line(&self) -> u64 {
        self.lines.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts the process of a worker if it may be started now.
    pub fn start(&self, worker: &mut Worker) {
        if worker.process.as_mut().is_some_and(|process| !process.is_alive()) {
            self.bury(worker, "it ended");
        }
        if worker.process.is_none() && Instant::now() >= worker.next_start {
            match Process::start(self.name, &self.config) {
                Ok(process) => worker.process = Some(process),
                Err(error) => self.bury(worker, &format!("it cannot be started: {error}")),
            }
        }
    }

    /// Kills the process of a worker, which is started again later.
    pub fn bury(&self, worker: &mut Worker, why: &str) {
        if let Some(mut process) = worker.process.take() {
            process.kill();
        }
        let wait = BACK_OFF.saturating_mul(1 << worker.deaths.min(16)).min(MOST_BACK_OFF);
        worker.deaths = worker.deaths.saturating_add(1);
        worker.next_start = Instant::now() + wait;
        self.restarts.inc();
        let wait_ms = wait.as_millis() as u64;
        tracing::warn!(step = self.name, cause = why, wait_ms, "a process is started again");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // All at once are told that nothing more comes; then each is waited for.
        self.free().iter_mut().filter_map(|worker| worker.process.as_mut()).for_each(Process::close);
    }
}
