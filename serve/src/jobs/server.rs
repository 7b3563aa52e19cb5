//! The job server as a whole: its socket, its runner, its start and its stop.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use burnrec_data::write::lock_dir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::config::JobsConfig;
use super::livy::{Api, router};
use super::runner::Runner;
use super::store::Store;
use crate::http::Listening;
use crate::{Error, Result};

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A server that has bound its address.
pub struct JobServer {
    config: JobsConfig,
    store: Store,
    program: Vec<OsString>,
    own: Vec<String>,
    runtime: Runtime,
    listening: Listening,
    /// Keeps another server from the same jobs.
    _alone: std::fs::File,
}

impl JobServer {
    /// Opens the directory of jobs and binds the address; `program` are the words that start this program, before any argument, and
    /// `own` the environment variables that are of the server alone, which no job gets.
    ///
    /// # Errors
    /// When the config is wrong, another server has the directory, or the address is in use.
    pub fn open(config: JobsConfig, program: Vec<OsString>, own: Vec<String>) -> Result<Self> {
        config.validate()?;
        let alone = lock_dir(&config.dir)?;
        let root = &config.root;
        let root = root
            .canonicalize()
            .map_err(|error| Error::config("root", format!("{} ({error})", root.display()), "a directory"))?;
        let config = JobsConfig { root, ..config };
        let start = |source| Error::Http { action: "start".into(), source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(start)?;
        let listening = runtime.block_on(Listening::bind(&config.http))?;
        let store = Store::open(&config.dir)?;
        Ok(Self { config, store, program, own, runtime, listening, _alone: alone })
    }

    /// Returns the scheme and the address.
    pub fn address(&self) -> (&'static str, SocketAddr) {
        (self.listening.scheme(), self.listening.address())
    }

    /// Runs until `asked` returns true. Jobs that run go on, and are found again at the next start.
    ///
    /// # Errors
    /// When the jobs cannot be read or written.
    pub fn run(self, asked: &(dyn Fn() -> bool + Sync)) -> Result<()> {
        let mut runner = Runner::new(self.config.clone(), self.store.clone(), self.program, self.own)?;
        let api = Arc::new(Api::new(self.config, self.store)?);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = self.runtime.spawn(self.listening.serve(router(api), async {
            // An error means that the sender was dropped, which is a stop as well.
            let _ = stopped.await;
        }));
        while !asked() && !task.is_finished() {
            runner.step()?;
            std::thread::sleep(LOOK);
        }
        drop(stop);
        let ended = self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), task).await });
        if ended.is_err() {
            tracing::warn!("connections that stay open are cut");
        }
        Ok(())
    }
}
