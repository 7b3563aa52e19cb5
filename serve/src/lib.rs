//! The scoring service, as far as it stands: the messages it will read and write.

pub mod message;

/// The version of the Kafka client library that is linked.
pub fn kafka_client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
