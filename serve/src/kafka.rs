//! Kafka: the transport of the flow, the start of its workers, and the writer of events that came over HTTP.

mod begin;
mod client;
mod context;
mod counts;
mod deliveries;
mod drain;
mod headers;
mod histories;
mod incoming;
#[cfg(feature = "http")]
mod inputs;
#[cfg(feature = "http")]
mod kept;
mod members;
mod messages;
mod native;
mod outgoing;
mod person;
mod places;
mod produce_batch;
mod producing;
mod refusals;
mod repartition;
mod replay;
mod restore;
mod scope;
mod sizes;
mod tail;
mod token;
mod topics;
mod transaction;
mod transport;
mod upkeep;
mod watch;
mod workers;
#[cfg(feature = "http")]
mod writer;

pub use drain::{Drained, drain};
#[cfg(feature = "http")]
pub use inputs::{Input, inputs};
#[cfg(feature = "http")]
pub use kept::{Kept, KeptTopic};
pub use person::{UserState, erase_user_state, user_state};
pub use repartition::{Moved, repartition};
pub use replay::{Only, Range, replay, replay_by};
pub use sizes::TopicLimits;
pub use topics::check;
pub use transport::KafkaTransport;
pub use workers::Workers;
#[cfg(feature = "http")]
pub use writer::EventWriter;
