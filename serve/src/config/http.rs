//! The keys of `[http]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{OidcConfig, Secret};
use crate::{Error, Result};

/// The most requests that a config may let be scored at once over HTTP: each has a thread.
const MOST_SCORING: usize = 1000;

/// Whether clients bring a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// One that is brought must be good; who brings none brings a token.
    Optional,
    /// Who brings none gets no connection.
    Required,
}

/// The HTTP server.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// The address; anything but a loopback one needs a token or TLS.
    pub listen: SocketAddr,
    /// The token that `Authorization: Bearer …` must carry for everything but `/health/live` and the page `/`.
    pub token: Option<Secret>,
    /// A file of named tokens and client certificates with roles, in place of the one token; `burnrec ctl token` and
    /// `burnrec ctl certificate` make it. It is read again when it changes.
    pub tokens: Option<PathBuf>,
    /// Bearer tokens of an OpenID Connect provider, beside the named ones or without any.
    pub oidc: Option<OidcConfig>,
    /// A PEM file with the certificate, and those that it was signed by. It is read again when it changes.
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key, likewise.
    pub tls_key: Option<PathBuf>,
    /// The password of the private key, if it has one.
    pub tls_password: Option<Secret>,
    /// A PEM file with the CAs that sign the certificates of clients, whose names are in `tokens`. It is read again when it changes.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must bring one; `optional` by default.
    pub client_certificates: Option<ClientCertificates>,
    /// A PEM file with the lists of revoked certificates (CRL) of all these CAs. It is read again when it changes.
    pub client_crl: Option<PathBuf>,
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
            oidc: None,
            tls_certificate: None,
            tls_key: None,
            tls_password: None,
            client_ca: None,
            client_certificates: None,
            client_crl: None,
            hosts: Vec::new(),
            connections: 512,
            read_timeout_ms: 30_000,
            scoring_requests: 8,
            scoring_wait_ms: 1000,
        }
    }
}

impl HttpConfig {
    /// Returns whether callers have names, with roles.
    pub fn names_callers(&self) -> bool {
        self.tokens.is_some() || self.oidc.is_some()
    }

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
                if !self.listen.ip().is_loopback() && self.token.is_none() && !self.names_callers() =>
            {
                let expected = "a loopback address such as 127.0.0.1:8080, or http.token, http.tokens, http.oidc or \
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
        if let (Some(_), Some(_)) = (&self.token, &self.oidc) {
            return Err(Error::config("http.oidc", "a table", "none beside http.token"));
        }
        if let Some(oidc) = &self.oidc {
            oidc.validate()?;
        }
        self.validate_client_certificates()?;
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

    fn validate_client_certificates(&self) -> Result<()> {
        let beside = [
            ("http.client_certificates", self.client_certificates.is_some()),
            ("http.client_crl", self.client_crl.is_some()),
        ];
        match (&self.client_ca, beside.into_iter().find(|(_, is_there)| *is_there)) {
            (None, Some((key, _))) => Err(Error::config(key, "a value", "none without http.client_ca")),
            (None, None) => Ok(()),
            (Some(ca), _) if self.tls_certificate.is_none() => {
                Err(Error::config("http.client_ca", ca.display(), "http.tls_certificate beside it"))
            }
            (Some(_), _) if self.tokens.is_none() => {
                let expected =
                    "a file that says what clients with a certificate may do: `burnrec ctl certificate`";
                Err(Error::config("http.tokens", "none", expected))
            }
            (Some(_), _) => Ok(()),
        }
    }
}
