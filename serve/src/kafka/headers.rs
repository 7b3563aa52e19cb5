//! Headers of messages, read and written.

use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};

use crate::event::Headers;
use crate::outbox::Outgoing;

/// Returns the headers of a message that was read.
pub fn read(message: &impl Message) -> Headers {
    let owned = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    message.headers().map(|headers| headers.iter().map(owned).collect()).unwrap_or_default()
}

/// Returns the event's headers with the message's own, if there are any.
pub fn write(kept: &[(String, Option<Vec<u8>>)], message: &Outgoing) -> Option<OwnedHeaders> {
    let own = &message.headers;
    if kept.is_empty() && own.is_empty() {
        return None;
    }
    let mut headers = OwnedHeaders::new_with_capacity(kept.len() + own.len());
    for (key, value) in kept {
        headers = headers.insert(Header { key, value: value.as_ref() });
    }
    for (key, value) in own {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    Some(headers)
}
