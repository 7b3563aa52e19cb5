//! The callbacks of every client of librdkafka: they bring the SASL OAUTHBEARER token, and pass the rest on to the
//! listener of that client.

use std::ops::Deref;

use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use super::token;

/// Handles what librdkafka reports to one client.
pub trait Listener: Send + Sync + 'static {
    /// Handles an error that librdkafka retries by itself.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }

    /// Handles a line of librdkafka's log.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        DefaultClientContext.log(level, facility, text);
    }

    /// Handles the statistics, where they are asked for.
    fn stats(&self, _: Statistics) {}
}

/// A listener as the context of a client.
#[derive(Clone, Default)]
pub struct Context<L>(pub L);

impl<L> Deref for Context<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.0
    }
}

impl<L: Listener> ClientContext for Context<L> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> token::Found {
        token::read(config)
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.log(level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.stats(statistics);
    }
}
