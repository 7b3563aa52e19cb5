//! Control while the service runs: versions of the config over HTTP, and who may make them.

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod roles;
#[path = "../common/running.rs"]
mod running;
mod tenants;
mod versions;
