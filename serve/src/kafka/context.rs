//! What every client of librdkafka is given to call back: it brings the SASL OAUTHBEARER token, and passes the rest on to
//! the listener of that client.

use std::ops::Deref;

use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;

use super::token;

/// What one client does with what librdkafka tells it.
pub trait Listener: Send + Sync + 'static {
    /// Hears an error that librdkafka goes on to retry.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "Kafka client");
    }

    /// Hears a line of librdkafka's log.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        DefaultClientContext.log(level, facility, text);
    }

    /// Hears the statistics, where they are asked for.
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
