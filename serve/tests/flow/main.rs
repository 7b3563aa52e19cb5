//! The flow over an in-memory twin of Kafka.

mod bad;
mod bench;
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod failures;
mod order;
mod pace;
mod partitions;
mod routes;
mod sink;
mod storm;
mod tenants;
mod twin;
mod users;
