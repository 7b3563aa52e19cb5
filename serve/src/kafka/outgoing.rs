//! What a message of the outbox is on the wire.

use super::sizes::alone;
use crate::config::KafkaConfig;
use crate::event::Incoming;
use crate::outbox::{Outbox, Outgoing, To};

/// Returns the topic of a config that messages go to, unless their events name it.
pub fn topic_of(config: &KafkaConfig, to: To) -> Option<&str> {
    match to {
        To::Replies => Some(&config.replies),
        To::Rejects => Some(&config.rejects),
        To::Shadow => config.shadow.as_deref(),
        To::State => config.state.as_deref(),
        To::Receipts => config.receipts.as_deref(),
        To::Requests => None,
    }
}

/// Returns whether a message has no headers and its topic stands in the config.
pub fn is_plain(event: &Incoming, message: &Outgoing) -> bool {
    message.headers.is_empty() && kept(event, message).is_empty() && message.to != To::Requests
}

/// Returns the key of a message: the event's own, unless it has another.
pub fn key<'a>(event: &'a Incoming, message: &Outgoing, outbox: &'a Outbox) -> Option<&'a [u8]> {
    match &message.key {
        Some(range) => Some(&outbox.bytes[range.clone()]),
        None => event.key(),
    }
}

/// Returns the value of a message: the event's payload, unless it has another.
pub fn value<'a>(event: &'a Incoming, message: &Outgoing, outbox: &'a Outbox) -> Option<&'a [u8]> {
    outbox.value(message).or(event.payload().filter(|_| message.value.is_none()))
}

/// Returns the bytes of a message in a batch of its own.
pub fn size(event: &Incoming, message: &Outgoing) -> usize {
    let key = message.key.as_ref().map_or(event.key().map(<[u8]>::len), |range| Some(range.len()));
    let value = message.value.as_ref().map_or(event.payload().map(<[u8]>::len), |range| Some(range.len()));
    let kept = kept(event, message).iter().map(|(name, value)| (name.len(), value.as_ref().map(Vec::len)));
    let own = message.headers.iter().map(|(name, value)| (name.len(), Some(value.len())));
    alone(key, value, kept.chain(own))
}

/// Returns the headers of the event that a message keeps: none in the state topic.
pub fn kept<'a>(event: &'a Incoming, message: &Outgoing) -> &'a [(String, Option<Vec<u8>>)] {
    if message.to == To::State { &[] } else { &event.headers }
}
