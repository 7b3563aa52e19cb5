//! The scoring service: events in, replies out, each event answered at least once or exactly once.
//!
//! ```text
//! source ─► queue ─► decode ─► score ─► join, filter ─► sink          (and from each stage ─► rejects)
//!                            │                        │
//!                       before-score             after-score            (steps of one's own: [`step`])
//! ```
//!
//! ```no_run
//! # #[cfg(feature = "http")] {
//! use burnrec_serve::{ServeConfig, Service};
//!
//! let config: ServeConfig = "[http]\nlisten = '127.0.0.1:8080'\n[models.main]\nrun = 'runs/als'".parse()?;
//! let service = Service::open(config)?;
//! println!("serving on {}", service.address().1);
//! service.run(&|| false)?;
//! # }
//! # Ok::<(), burnrec_serve::Error>(())
//! ```
//!
//! [`Engine::answer`] is the pure core: a batch of events to a batch of messages. [`flow`] moves events through it and
//! keeps the guarantee. The outside world is behind two features, both on by default: `kafka` (the module [`kafka`], a
//! transport of the flow) and `http` (the module [`http`]). Without either, the engine and the flow are left.

#![deny(missing_docs)]

pub mod clock;
pub mod config;
#[cfg(feature = "http")]
pub mod control;
pub mod engine;
pub mod error;
pub mod event;
pub mod event_files;
pub mod flow;
mod fnv;
pub mod health;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
pub mod jobs;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod message;
pub mod metrics;
mod model;
pub mod outbox;
mod outcome;
pub mod progress;
pub mod provenance;
pub mod reject;
pub mod served;
#[cfg(any(feature = "http", feature = "kafka"))]
pub mod service;
pub mod settings;
pub mod state;
pub mod step;
pub mod tenants;

pub use config::ServeConfig;
pub use engine::Engine;
pub use error::{Error, Result};
pub use message::Kind;
pub use reject::Reject;
#[cfg(any(feature = "http", feature = "kafka"))]
pub use service::Service;
pub use step::Step;

/// Returns the version of the Kafka client library that is linked.
#[cfg(feature = "kafka")]
pub fn kafka_client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
