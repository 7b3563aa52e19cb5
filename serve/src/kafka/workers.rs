//! The workers: threads with a flow each, in one group.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{KafkaTransport, TopicLimits, topics};
use crate::config::ServeConfig;
use crate::engine::Engine;
use crate::flow::{Flow, FlowOptions};
use crate::health::Health;
use crate::metrics::Metrics;
use crate::{Error, Result};

/// Threads that consume, score and produce.
pub struct Workers {
    threads: Vec<JoinHandle<Result<()>>>,
    /// How long a stop may take.
    drain: Duration,
}

impl Workers {
    /// Starts the workers. When one cannot go on, it sets `stop`, and all end.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        config: &ServeConfig,
        limits: &TopicLimits,
        engine: &Arc<Engine>,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let Some(kafka) = config.kafka.clone() else {
            return Ok(Self { threads: Vec::new(), drain: Duration::ZERO });
        };
        topics::watch(&kafka, config.ttl(), metrics, stop);
        let mut threads = Vec::new();
        let ready = Arc::new(Ready::default());
        for worker in 0..kafka.workers {
            let ready = Arc::clone(&ready);
            let options = FlowOptions::new(worker, &kafka);
            let (kafka, limits, engine) = (kafka.clone(), limits.clone(), Arc::clone(engine));
            let (metrics, health, stop) = (Arc::clone(metrics), Arc::clone(health), Arc::clone(stop));
            let name = format!("worker {worker}");
            health.bad(&name, "no partitions assigned yet");
            let run = move || {
                let end = Ends(Arc::clone(&stop));
                let (counts, sign) = (Arc::clone(&metrics), Arc::clone(&stop));
                let transport = KafkaTransport::open(&kafka, worker, limits, health, counts, sign)?;
                ready.wait(kafka.workers);
                transport.join()?;
                let mut flow = Flow::new(engine, metrics, options, transport);
                let result = flow.run(&stop);
                flow.into_transport().close();
                drop(end);
                result
            };
            let thread = std::thread::Builder::new().name(name).spawn(run);
            threads.push(thread.map_err(|source| Error::Http { action: "start a worker".into(), source })?);
        }
        Ok(Self { threads, drain: Duration::from_millis(kafka.drain_timeout_ms) })
    }

    /// Waits until all workers have ended, up to `kafka.drain_timeout_ms` from now; returns the first error. A call to
    /// brokers that do not answer may take longer: a worker in such a call is left behind, and ends with the process.
    ///
    /// # Errors
    /// When a worker could not go on.
    pub fn join(self) -> Result<()> {
        let deadline = Instant::now() + self.drain;
        let mut ends = Vec::new();
        for thread in self.threads {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                let name = thread.thread().name().unwrap_or_default().to_owned();
                tracing::warn!(name, "did not end in time; what it has not committed is read again");
                continue;
            }
            let stop = |_| Error::Stop {
                by: "failures.worker".into(),
                found: "a panic; its message stands above".into(),
            };
            ends.push(thread.join().map_err(stop).and_then(|result| result));
        }
        ends.into_iter().collect()
    }
}

/// Lets workers that are ready at about the same time join their group together: a worker that joins later takes over
/// partitions that the first ones read already.
#[derive(Default)]
struct Ready(Mutex<usize>, Condvar);

impl Ready {
    /// Waits for all workers, but only a moment, so that a late one does not hold the others up.
    fn wait(&self, all: usize) {
        const MOMENT: Duration = Duration::from_secs(1);
        let Self(ready, changed) = self;
        let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
        *ready += 1;
        changed.notify_all();
        drop(changed.wait_timeout_while(ready, MOMENT, |ready| *ready < all));
    }
}

/// Stops the others when a worker ends, however it ends.
struct Ends(Arc<AtomicBool>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
