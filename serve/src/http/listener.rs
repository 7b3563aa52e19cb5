//! The socket, and its connections: how many there are, how long a client may keep one waiting, and whose certificate each has.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::certificate::Certificate;
use super::tls::{Accepted, Tls};
use crate::config::HttpConfig;
use crate::{Error, Result};

/// How long the socket rests after an error, such as that the process has too many open files.
const REST: Duration = Duration::from_millis(100);

/// How often it is looked whether connections that are open depend on files that are others now.
const LOOK: Duration = Duration::from_secs(1);

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
            () = look(self.tls.as_deref()) => {}
            () = stop => {}
        }
        drop((self.socket, stopped));
        stopping.send_replace(true);
        stopping.closed().await;
    }
}

/// Reads files again that have changed, although no new connection asks for it; never ends.
async fn look(tls: Option<&Tls>) {
    let Some(tls) = tls.filter(|tls| tls.asks_clients()) else { return std::future::pending().await };
    loop {
        sleep(LOOK).await;
        drop(tls.current());
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
    let Some(tls) = tls else { return answer(stream, None, router, read_timeout, asked(&mut stopped)).await };
    let handshake = tokio::select! {
        done = timeout(read_timeout, tls.accept(stream)) => done,
        () = asked(&mut stopped) => return,
    };
    match handshake {
        Ok(Ok(Accepted { stream, certificate, mut changed })) => {
            let holds = certificate.is_some();
            let ends = async {
                tokio::select! {
                    () = asked(&mut stopped) => {}
                    // Whether the certificate is still good, the next handshake finds. An error means that the server is gone.
                    _ = changed.changed(), if holds => {}
                }
            };
            answer(stream, certificate, router, read_timeout, ends).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "the TLS handshake failed"),
        Err(_) => tracing::debug!("the TLS handshake took too long"),
    }
}

/// Waits until the service is asked to stop.
async fn asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop as well.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Answers until the client ends the connection, or until `ends` does and the request that is there is answered.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    certificate: Option<Arc<Certificate>>,
    router: Router,
    read_timeout: Duration,
    ends: impl Future<Output = ()>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(Arc::clone(certificate));
        }
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Counts from the answer before, so that it ends idle connections as well.
        .header_read_timeout(read_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}
