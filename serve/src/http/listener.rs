//! The socket, and its connections: how many there are, and how long a client may keep one waiting.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::tls::Tls;
use crate::config::HttpConfig;
use crate::{Error, Result};

/// How long the socket rests after an error, such as that the process has too many open files.
const REST: Duration = Duration::from_millis(100);

/// A socket that listens, with TLS if the config asks for it.
pub struct Listening {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    address: SocketAddr,
    connections: usize,
    read_timeout: Duration,
}

impl Listening {
    /// Binds the address of the config.
    ///
    /// # Errors
    /// When the address is in use, or the certificate cannot be read.
    pub async fn bind(config: &HttpConfig) -> Result<Self> {
        let fail = |action: String| move |source| Error::Http { action, source };
        let tls = Tls::open(config)?.map(Arc::new);
        let socket =
            TcpListener::bind(config.listen).await.map_err(fail(format!("listen on {}", config.listen)))?;
        let address = socket.local_addr().map_err(fail("find its own address".into()))?;
        let read_timeout = Duration::from_millis(config.read_timeout_ms);
        Ok(Self { socket, tls, address, connections: config.connections, read_timeout })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Answers until `stop` comes, and then until no connection is left: idle ones are closed, requests that are there
    /// are answered.
    pub(crate) async fn serve(self, router: Router, stop: impl Future<Output = ()> + Send + 'static) {
        let places = Arc::new(Semaphore::new(self.connections));
        // The receivers are the connections.
        let (stopping, stopped) = watch::channel(false);
        let accept = async {
            loop {
                // The semaphore is never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let stream = match self.socket.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "a connection is not accepted");
                        sleep(REST).await;
                        continue;
                    }
                };
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                let (tls, router, stopped) = (self.tls.clone(), router.clone(), stopped.clone());
                let read_timeout = self.read_timeout;
                tokio::spawn(async move {
                    connection(stream, tls.as_deref(), router, read_timeout, stopped).await;
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = accept => {}
            () = stop => {}
        }
        drop((self.socket, stopped));
        stopping.send_replace(true);
        stopping.closed().await;
    }
}

/// Answers the requests of a connection.
async fn connection(
    stream: TcpStream,
    tls: Option<&Tls>,
    router: Router,
    read_timeout: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let Some(tls) = tls else { return answer(stream, router, read_timeout, stopped).await };
    let handshake = tokio::select! {
        done = timeout(read_timeout, tls.accept(stream)) => done,
        () = asked(&mut stopped) => return,
    };
    match handshake {
        Ok(Ok(stream)) => answer(stream, router, read_timeout, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, "the TLS handshake failed"),
        Err(_) => tracing::debug!("the TLS handshake took too long"),
    }
}

/// Waits until the service is asked to stop.
async fn asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop as well.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    read_timeout: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Counts from the answer before, so that it ends idle connections as well.
        .header_read_timeout(read_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = asked(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}
