//! The service as a whole: opened, run, stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::config::ServeConfig;
use crate::engine::Engine;
use crate::health::Health;
use crate::http::{self, App, Listening};
use crate::kafka::{self, EventWriter, Workers};
use crate::metrics::Metrics;
use crate::{Error, Result};

/// How often model directories are looked at for a new manifest.
const LOOK: Duration = Duration::from_secs(1);

/// Threads for what blocks beside scoring, such as a reload.
const OTHER_BLOCKING: usize = 4;

/// A service that is ready to run.
pub struct Service {
    config: ServeConfig,
    /// Answers.
    pub engine: Arc<Engine>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    health: Arc<Health>,
    runtime: tokio::runtime::Runtime,
    listening: Listening,
}

impl Service {
    /// Opens models and table, asks the brokers for the topics, takes the HTTP address.
    ///
    /// # Errors
    /// When one of these fails.
    pub fn open(config: ServeConfig) -> Result<Self> {
        let engine = Arc::new(Engine::open(&config)?);
        if let Some(kafka) = &config.kafka {
            kafka::check(kafka)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(config.http.scoring_requests + OTHER_BLOCKING)
            .enable_all()
            .build()
            .map_err(|source| Error::Http { action: "start".into(), source })?;
        let listening = runtime.block_on(Listening::bind(&config.http))?;
        let (metrics, health) = (Arc::default(), Arc::default());
        Ok(Self { config, engine, metrics, health, runtime, listening })
    }

    /// The address and the scheme of the HTTP side.
    pub fn address(&self) -> (&'static str, SocketAddr) {
        (self.listening.scheme(), self.listening.address())
    }

    /// Runs until `asked` to stop, then finishes what was begun.
    ///
    /// # Errors
    /// When it cannot go on.
    pub fn run(self, asked: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let Self { config, engine, metrics, health, runtime, listening } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = config.kafka.as_ref().map(EventWriter::new).transpose()?;
        let workers = Workers::start(&config, &engine, &metrics, &health, &stop)?;
        let app = App {
            engine: Arc::clone(&engine),
            metrics,
            health: Arc::clone(&health),
            writer,
            scoring: Arc::new(Semaphore::new(config.http.scoring_requests)),
            config,
            since: Instant::now(),
        };
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let http = runtime.spawn(http::serve(listening, app, async {
            // An error is that the sender is gone, which is an end as well.
            let _ = ended.await;
        }));
        let mut looked = Instant::now();
        while !stop.load(Ordering::Relaxed) && !asked() && !http.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
            if looked.elapsed() >= LOOK {
                engine.models.reload();
                looked = Instant::now();
            }
        }
        health.bad("service", "stopping");
        stop.store(true, Ordering::Relaxed);
        let worked = workers.join();
        drop(end);
        let answered = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), http).await });
        runtime.shutdown_background();
        worked?;
        match answered {
            Ok(Ok(result)) => result,
            // Connections that stay open are cut.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}
