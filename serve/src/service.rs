//! The service as a whole: opened, run, stopped. The crate's features say whether requests come by Kafka, HTTP or both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::config::ServeConfig;
#[cfg(feature = "http")]
use crate::control::{self, Control, Opened};
use crate::engine::Engine;
use crate::health::Health;
#[cfg(feature = "http")]
use crate::http::access::Access;
#[cfg(feature = "http")]
use crate::http::{self, App, Server};
#[cfg(feature = "kafka")]
use crate::kafka::{self, TopicLimits, Workers};
use crate::metrics::Metrics;
use crate::provenance::Index;
use crate::{Error, Result};

/// How often model directories are looked at for a new manifest.
const LOOK: Duration = Duration::from_secs(1);

/// A service that is ready to run.
pub struct Service {
    config: ServeConfig,
    /// The engine that answers.
    pub engine: Arc<Engine>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    health: Arc<Health>,
    /// How large messages to the topics may be.
    #[cfg(feature = "kafka")]
    topics: TopicLimits,
    #[cfg(feature = "http")]
    server: Server,
    #[cfg(feature = "http")]
    access: Access,
    /// The versions of the config, and the server by which they are made.
    #[cfg(feature = "http")]
    control: Option<(Arc<Control>, Arc<Access>, Server)>,
}

impl Service {
    /// Opens models and table, checks the topics at the brokers, and binds the HTTP address.
    ///
    /// # Errors
    /// When one of these fails, or the config asks for what this build leaves out.
    pub fn open(config: ServeConfig) -> Result<Self> {
        check_features(&config)?;
        #[cfg(feature = "http")]
        let (opened, config) = match &config.control {
            Some(control) => {
                let opened = Opened::open(&config, control)?;
                let config = opened.config.clone();
                (Some(opened), config)
            }
            None => (None, config),
        };
        #[cfg(feature = "http")]
        let (version, run) = opened.as_ref().map(Opened::start).unwrap_or_default();
        #[cfg(not(feature = "http"))]
        let (version, run) = Default::default();
        let engine = Engine::open_at(&config, version, run)?;
        #[cfg(feature = "kafka")]
        let (engine, topics) = match &config.kafka {
            Some(kafka) => {
                tracing::info!(bootstrap = kafka.bootstrap, "waits for the brokers to tell of the topics");
                let topics = kafka::check(kafka, config.ttl())?;
                (engine.with_record_bytes(topics.record_bytes(kafka, &config.limits)?), topics)
            }
            None => (engine, TopicLimits::default()),
        };
        let metrics = Arc::<Metrics>::default();
        let index = config.provenance.as_ref().map(|of| Index::open(of, &metrics)).transpose()?;
        let engine = index.iter().fold(engine, Engine::with_index);
        let engine = Arc::new(engine);
        #[cfg(feature = "http")]
        let control = match (opened, &config.control) {
            (Some(opened), Some(of)) => {
                #[cfg(feature = "kafka")]
                let record_bytes = {
                    let (kafka, topics) = (config.kafka.clone(), topics.clone());
                    let bytes = move |limits: &_| match &kafka {
                        Some(kafka) => topics.record_bytes(kafka, limits),
                        None => Ok(usize::MAX),
                    };
                    Box::new(bytes) as control::RecordBytes
                };
                #[cfg(not(feature = "kafka"))]
                let record_bytes = Box::new(|_: &_| Ok(usize::MAX)) as control::RecordBytes;
                let server = Server::open(&of.http)?;
                let control = opened.control(Arc::clone(&engine), Arc::clone(&metrics), record_bytes)?;
                Some((Arc::new(control), Arc::new(Access::open(&of.http)?), server))
            }
            _ => None,
        };
        Ok(Self {
            #[cfg(feature = "kafka")]
            topics,
            #[cfg(feature = "http")]
            server: Server::open(&config.http)?,
            #[cfg(feature = "http")]
            access: Access::open(&config.http)?,
            #[cfg(feature = "http")]
            control,
            config,
            engine,
            metrics,
            health: Arc::default(),
        })
    }

    /// Returns the scheme and the address of the server by which the service is controlled, if it is.
    #[cfg(feature = "http")]
    pub fn control_address(&self) -> Option<(&'static str, std::net::SocketAddr)> {
        self.control.as_ref().map(|(_, _, server)| server.address())
    }

    /// Returns the scheme and the address of the HTTP server.
    #[cfg(feature = "http")]
    pub fn address(&self) -> (&'static str, std::net::SocketAddr) {
        self.server.address()
    }

    /// Runs until `asked` returns true, then answers what was read and stops.
    ///
    /// # Errors
    /// When it cannot go on.
    pub fn run(self, asked: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let stop = Arc::new(AtomicBool::new(false));
        #[cfg(all(feature = "http", feature = "kafka"))]
        let writer = self
            .config
            .kafka
            .as_ref()
            .map(|kafka| kafka::EventWriter::new(kafka, &self.topics))
            .transpose()?;
        #[cfg(feature = "kafka")]
        let workers =
            Workers::start(&self.config, &self.topics, &self.engine, &self.metrics, &self.health, &stop)?;
        #[cfg(feature = "http")]
        let (control, control_access) = self
            .control
            .as_ref()
            .map(|(control, access, _)| (Arc::clone(control), Arc::clone(access)))
            .unzip();
        #[cfg(feature = "http")]
        let app = Arc::new(App {
            engine: Arc::clone(&self.engine),
            access: self.access,
            control_access,
            control: control.clone(),
            metrics: self.metrics,
            health: Arc::clone(&self.health),
            #[cfg(feature = "kafka")]
            writer,
            scoring: Arc::new(tokio::sync::Semaphore::new(self.config.http.scoring_requests)),
            config: self.config,
            since: Instant::now(),
        });
        #[cfg(feature = "http")]
        let controlling =
            self.control.zip(app.config.control.as_ref()).map(|((control, access, server), of)| {
                server.start(control::router(control, access, Arc::clone(&app), of))
            });
        #[cfg(feature = "http")]
        let serving = self.server.start(http::router(app));
        #[cfg(feature = "http")]
        let has_failed =
            || serving.is_finished() || controlling.as_ref().is_some_and(http::Serving::is_finished);
        #[cfg(not(feature = "http"))]
        let has_failed = || false;
        let (mut looked, mut swept) = (Instant::now(), Instant::now());
        while !stop.load(Ordering::Relaxed) && !asked() && !has_failed() {
            std::thread::sleep(Duration::from_millis(20));
            #[cfg(feature = "http")]
            if let Some(control) = &control {
                control.look();
            }
            if looked.elapsed() >= LOOK {
                self.engine.models.look();
                looked = Instant::now();
            }
            if self.engine.looks_for_the_absent().is_some_and(|every| swept.elapsed() >= every) {
                self.engine.forget_the_absent();
                swept = Instant::now();
            }
        }
        self.health.bad("service", "stopping");
        stop.store(true, Ordering::Relaxed);
        #[cfg(feature = "kafka")]
        let worked = workers.join();
        #[cfg(feature = "http")]
        let controlled = controlling.map_or(Ok(()), http::Serving::stop);
        #[cfg(feature = "http")]
        if let Some(control) = &control {
            control.leave();
        }
        #[cfg(feature = "http")]
        let served = serving.stop();
        #[cfg(all(feature = "http", feature = "kafka"))]
        if let Some(control) = &control {
            control.stop_replays();
        }
        if let Some(tracer) = &self.engine.tracer {
            tracer.index.close();
        }
        #[cfg(feature = "kafka")]
        worked?;
        #[cfg(feature = "http")]
        served.and(controlled)?;
        Ok(())
    }
}

/// Checks that the config asks for nothing that this build leaves out.
fn check_features(config: &ServeConfig) -> Result<()> {
    if cfg!(not(feature = "kafka")) && config.kafka.is_some() {
        let expected = "no such table: this build is without the feature kafka";
        return Err(Error::config("kafka", "a table", expected));
    }
    if cfg!(not(feature = "http")) && config.control.is_some() {
        let expected = "no such table: this build is without the feature http";
        return Err(Error::config("control", "a table", expected));
    }
    if cfg!(not(feature = "http")) && config.kafka.is_none() {
        let expected =
            "the table [kafka]: this build is without the feature http, and nothing else brings requests";
        return Err(Error::config("kafka", "none", expected));
    }
    Ok(())
}
