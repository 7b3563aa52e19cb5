//! The keys of `[http]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::{Error, Result};

/// The most requests that a config may let be scored at once over HTTP: each has a thread.
const MOST_SCORING: usize = 1000;

/// The HTTP server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// The address; anything but a loopback one needs a token or TLS.
    pub listen: SocketAddr,
    /// The token that `Authorization: Bearer …` must carry for everything but `/health/live` and the page `/`.
    pub token: Option<Secret>,
    /// A file of named tokens with roles, in place of the one token; `burnrec ctl token` makes it. It is read again when it
    /// changes.
    pub tokens: Option<PathBuf>,
    /// A PEM file with the certificate, and those that it was signed by. It is read again when it changes.
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key, likewise.
    pub tls_key: Option<PathBuf>,
    /// The password of the private key, if it has one.
    pub tls_password: Option<Secret>,
    /// The names that the service is called by behind a proxy. Without a token, only requests to loopback names and to
    /// these are answered.
    pub hosts: Vec<String>,
    /// The most connections that are open at once; others wait.
    pub connections: usize,
    /// How long a client may take for a TLS handshake, for the head of a request and for its body, and how long a
    /// connection may be idle, in milliseconds.
    pub read_timeout_ms: u64,
    /// The most requests that are scored at once; others wait for their turn.
    pub scoring_requests: usize,
    /// How long a request may wait for its turn, in milliseconds; then it is answered 503 with the reason `busy`.
    pub scoring_wait_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token: None,
            tokens: None,
            tls_certificate: None,
            tls_key: None,
            tls_password: None,
            hosts: Vec::new(),
            connections: 512,
            read_timeout_ms: 30_000,
            scoring_requests: 8,
            scoring_wait_ms: 1000,
        }
    }
}

impl HttpConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self) -> Result<()> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => return Err(Error::config("http.tls_key", "none", "the certificate's key")),
            (None, Some(_)) => {
                return Err(Error::config("http.tls_certificate", "none", "the key's certificate"));
            }
            (None, None)
                if !self.listen.ip().is_loopback() && self.token.is_none() && self.tokens.is_none() =>
            {
                let expected = "a loopback address such as 127.0.0.1:8080, or http.token, http.tokens or \
                                http.tls_certificate beside it";
                return Err(Error::config("http.listen", self.listen, expected));
            }
            _ => {}
        }
        if self.token.as_ref().is_some_and(|token| token.reveal().trim().is_empty()) {
            return Err(Error::config("http.token", "an empty text", "a secret"));
        }
        if let (Some(_), Some(tokens)) = (&self.token, &self.tokens) {
            return Err(Error::config("http.tokens", tokens.display(), "none beside http.token"));
        }
        if self.connections == 0 {
            return Err(Error::config("http.connections", 0, "at least 1"));
        }
        if self.read_timeout_ms == 0 {
            return Err(Error::config("http.read_timeout_ms", 0, "at least 1"));
        }
        if !(1..=MOST_SCORING).contains(&self.scoring_requests) {
            let expected = format!("1 to {MOST_SCORING}");
            return Err(Error::config("http.scoring_requests", self.scoring_requests, expected));
        }
        Ok(())
    }
}
