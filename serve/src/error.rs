//! What can go wrong with the service as a whole. What is wrong with one message is a [`crate::Reject`].

#[cfg(feature = "kafka")]
use rdkafka::error::KafkaError;

/// An error that names the setting or the topic, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has an impossible value.
    #[error("{field}: found {found}, expected {expected}")]
    Config {
        /// The key in the file.
        field: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// A model cannot be served.
    #[error("models.{name}: {source}")]
    Model {
        /// The name in the config.
        name: String,
        /// Why not.
        source: burnrec_models::Error,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Data(#[from] burnrec_data::Error),
    /// Kafka refused something.
    #[cfg(feature = "kafka")]
    #[error("Kafka: cannot {action}: {source}{}", hint(source))]
    Kafka {
        /// What was tried.
        action: String,
        /// Why not.
        source: KafkaError,
    },
    /// Kafka does not have what the config names.
    #[error("Kafka: found {found}, expected {expected}")]
    Topics {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// Events are gone that nobody had read.
    #[error("Kafka: {found}; kafka.on_data_loss = \"go-on\" reads on without them")]
    DataLoss {
        /// What is gone.
        found: String,
    },
    /// Another process runs under this one's name.
    #[error(
        "fenced: another process has taken the name instance = {instance:?} of group {group:?}; give each its own"
    )]
    Fenced {
        /// The group.
        group: String,
        /// The name.
        instance: String,
    },
    /// The index of events cannot be read or written.
    #[error("provenance: cannot {action}: {source}")]
    Index {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: Box<redb::Error>,
    },
    /// The HTTP server cannot run.
    #[error("http: cannot {action}: {source}")]
    Http {
        /// What was tried.
        action: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A failure that the config says to stop at.
    #[error("stopped, as {by}.then says: {found}")]
    Stop {
        /// The table of the config that says so.
        by: String,
        /// What failed.
        found: String,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes the error of a setting with an impossible value.
    pub fn config(field: impl Into<String>, found: impl ToString, expected: impl Into<String>) -> Self {
        Self::Config { field: field.into(), found: found.to_string(), expected: expected.into() }
    }

    /// Returns what `map_err` on a Kafka operation takes.
    #[cfg(feature = "kafka")]
    pub fn kafka(action: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { action: action.into(), source }
    }
}

/// Returns a hint at the remedy, for the most frequent causes.
#[cfg(feature = "kafka")]
fn hint(source: &KafkaError) -> &'static str {
    use rdkafka::types::RDKafkaErrorCode as Code;
    match source.rdkafka_error_code() {
        Some(
            Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut,
        ) => "; is kafka.bootstrap right, and is the broker running?",
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
            "; check sasl.username, sasl.password and sasl.mechanism in [kafka.librdkafka]"
        }
        Some(Code::SSL) => "; check the certificates and ssl.ca.location in [kafka.librdkafka]",
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
            "; create the topic first"
        }
        _ => "",
    }
}
