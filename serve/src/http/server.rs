//! The HTTP server as a whole: its runtime, its socket, its start and its stop.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Listening;
use crate::config::HttpConfig;
use crate::{Error, Result};

/// Threads for what blocks beside scoring, such as a reload.
const OTHER_BLOCKING: usize = 4;

/// How long a stop waits for connections that are open.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A server that has bound its address and does not answer yet.
pub struct Server {
    runtime: Runtime,
    listening: Listening,
}

/// A server that answers.
pub struct Serving {
    runtime: Runtime,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Server {
    /// Binds the address of the config.
    ///
    /// # Errors
    /// When the address is in use, the certificate cannot be read, or threads cannot be started.
    pub fn open(config: &HttpConfig) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(config.scoring_requests + OTHER_BLOCKING)
            .enable_all()
            .build()
            .map_err(|source| Error::Http { action: "start".into(), source })?;
        let listening = runtime.block_on(Listening::bind(config))?;
        Ok(Self { runtime, listening })
    }

    /// Returns the scheme and the address.
    pub fn address(&self) -> (&'static str, SocketAddr) {
        (self.listening.scheme(), self.listening.address())
    }

    /// Begins to answer.
    pub fn start(self, router: Router) -> Serving {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = self.runtime.spawn(self.listening.serve(router, async {
            // An error means that the sender was dropped, which is a stop as well.
            let _ = stopped.await;
        }));
        Serving { runtime: self.runtime, task, stop }
    }
}

impl Serving {
    /// Returns whether it has ended by itself, which only a failure makes it do.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Takes no more requests and answers those that are there; connections that stay open are cut.
    ///
    /// # Errors
    /// When the server had failed.
    pub fn stop(self) -> Result<()> {
        drop(self.stop);
        let task = self.task;
        let ended = self.runtime.block_on(async { tokio::time::timeout(LAST_ANSWERS, task).await });
        self.runtime.shutdown_background();
        match ended {
            Ok(Err(panic)) => {
                let source = std::io::Error::other(panic);
                Err(Error::Http { action: "go on".into(), source })
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}
