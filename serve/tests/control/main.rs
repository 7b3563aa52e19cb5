//! Control while the service runs: versions of the config over HTTP, and who may make them.

mod bench;
mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod events;
mod hostile;
mod issuer;
mod job_server;
mod oidc;
mod pki;
mod roles;
#[path = "../common/running.rs"]
mod running;
mod tenants;
mod versions;
