//! How calls of HTTP are made.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// Returns a client whose calls take at most `wait`. It trusts the certificates that the system trusts, and returns answers of
/// every status.
pub fn agent(wait: Duration) -> Agent {
    let tls =
        TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(wait))
        .http_status_as_error(false)
        .build()
        .into()
}
