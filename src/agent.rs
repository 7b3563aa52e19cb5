//! How calls of HTTP are made.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{ClientCert, RootCerts, TlsConfig, TlsProvider};

/// Whom a client trusts, and how it shows who it is.
#[derive(Default)]
pub struct Certificates {
    /// The CAs that it trusts; those of the system by default.
    pub trusted: Option<RootCerts>,
    /// Its own certificate.
    pub own: Option<ClientCert>,
}

/// Returns a client whose calls take at most `wait`. It returns answers of every status.
pub fn agent(wait: Duration, certificates: Certificates) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::NativeTls)
        .root_certs(certificates.trusted.unwrap_or(RootCerts::PlatformVerifier))
        .client_cert(certificates.own)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(wait))
        .http_status_as_error(false)
        .build()
        .into()
}
