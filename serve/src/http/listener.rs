//! The socket, plain or with TLS.

use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_native_tls::native_tls::{self, Identity};
use tokio_native_tls::{TlsAcceptor, TlsStream};

use crate::config::HttpConfig;
use crate::{Error, Result};

/// A socket that listens, with TLS if the config asks for it.
pub struct Listening {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
}

impl Listening {
    /// Binds the address of the config.
    ///
    /// # Errors
    /// When the address is in use, or the certificate cannot be read.
    pub async fn bind(config: &HttpConfig) -> Result<Self> {
        let fail = |action: String| move |source| Error::Http { action, source };
        let tls = match &config.tls {
            None => None,
            Some(path) => {
                let bytes = std::fs::read(path).map_err(fail(format!("read {}", path.display())))?;
                let made = Identity::from_pkcs12(&bytes, &config.tls_password)
                    .and_then(native_tls::TlsAcceptor::new)
                    .map_err(|error| {
                        let expected =
                            "a PKCS#12 file with a certificate and its key, and its http.tls_password";
                        Error::config("http.tls", format!("{}: {error}", path.display()), expected)
                    })?;
                Some(TlsAcceptor::from(made))
            }
        };
        let socket =
            TcpListener::bind(config.listen).await.map_err(fail(format!("listen on {}", config.listen)))?;
        let address = socket.local_addr().map_err(fail("find its own address".into()))?;
        Ok(Self { socket, tls, address })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Answers until `stop` comes.
    pub(super) async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        let fail = |source| Error::Http { action: "go on".into(), source };
        match self.tls {
            None => {
                let socket = self.socket.tap_io(|stream| {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                });
                axum::serve(socket, router).with_graceful_shutdown(stop).await.map_err(fail)
            }
            Some(tls) => {
                let socket = Handshakes::new(self.socket, tls, self.address);
                axum::serve(socket, router).with_graceful_shutdown(stop).await.map_err(fail)
            }
        }
    }
}

/// Accepts connections whose TLS handshake is done. Handshakes run concurrently, so that one that hangs delays no
/// other.
struct Handshakes {
    done: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Handshakes {
    fn new(mut socket: TcpListener, tls: TlsAcceptor, address: SocketAddr) -> Self {
        let (ready, done) = mpsc::channel(64);
        tokio::spawn(async move {
            while !ready.is_closed() {
                let (stream, peer) = Listener::accept(&mut socket).await;
                let (tls, ready) = (tls.clone(), ready.clone());
                tokio::spawn(async move {
                    let limit = std::time::Duration::from_secs(10);
                    match tokio::time::timeout(limit, tls.accept(stream)).await {
                        // An error means that the service stops.
                        Ok(Ok(stream)) => drop(ready.send((stream, peer)).await),
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "the handshake took too long"),
                    }
                });
            }
        });
        Self { done, address }
    }
}

impl Listener for Handshakes {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.done.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}
