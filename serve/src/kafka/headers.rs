//! Headers of messages, read and written.

use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};

use crate::event::{ATTEMPTS, Headers, OWN};
use crate::outbox::Outgoing;

/// Returns the headers of a message that was read. Names that begin with `burnrec-` are the service's own: a client's
/// headers of such names are left out, but for the number of attempts, which a resubmitted event brings along.
pub fn read(message: &impl Message, is_reject: bool) -> Headers {
    let owned = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.map(<[u8]>::to_vec));
    let kept =
        |(name, _): &(String, Option<Vec<u8>>)| is_reject || !name.starts_with(OWN) || name == ATTEMPTS;
    message.headers().map(|headers| headers.iter().map(owned).filter(kept).collect()).unwrap_or_default()
}

/// Returns the event's headers with the message's own, which replace those of the same names, if there are any.
pub fn write(kept: &[(String, Option<Vec<u8>>)], message: &Outgoing) -> Option<OwnedHeaders> {
    let own = &message.headers;
    let is_kept = |(name, _): &&(String, Option<Vec<u8>>)| own.iter().all(|(of_ours, _)| of_ours != name);
    let kept: Vec<_> = kept.iter().filter(is_kept).collect();
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;
    use crate::event::{HTTP, Incoming};
    use crate::outbox::To;

    fn message(headers: &[(&str, &str)]) -> OwnedMessage {
        let one = |all: OwnedHeaders, (key, value): &(&str, &str)| {
            all.insert(Header { key, value: Some(value.as_bytes()) })
        };
        let all = headers.iter().fold(OwnedHeaders::new(), one);
        OwnedMessage::new(None, None, "requests".into(), Timestamp::NotAvailable, 0, 0, Some(all))
    }

    fn texts(headers: &Headers) -> Vec<(&str, &str)> {
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), std::str::from_utf8(value.as_ref().unwrap()).unwrap()))
            .collect()
    }

    const SENT: [(&str, &str); 5] = [
        ("tenant", "acme"),
        ("burnrec-source", "victim/0/0"),
        ("burnrec-bytes", "9"),
        ("burnrec-attempts", "2"),
        ("tenant", "other"),
    ];

    #[test]
    fn a_client_has_no_say_in_the_services_own_headers() {
        let read_by_service = read(&message(&SENT), false);
        assert_eq!(texts(&read_by_service), [SENT[0], SENT[3], SENT[4]]);
        assert_eq!(texts(&read(&message(&SENT), true)), SENT, "a reject's are the service's own");
    }

    #[test]
    fn own_headers_replace_others_of_the_same_name() {
        let mut event = Incoming::new(Instant::now(), HTTP, 0, None, None);
        event.headers = read(&message(&SENT), true);
        let headers = vec![("burnrec-source", b"requests/1/7".to_vec()), ("burnrec-attempts", b"3".to_vec())];
        let message = Outgoing { to: To::Rejects, event: 0, key: None, value: None, headers };
        let written = write(&event.headers, &message).unwrap();
        let all: Vec<(&str, &[u8])> =
            written.iter().map(|header| (header.key, header.value.unwrap())).collect();
        let expected: [(&str, &[u8]); 5] = [
            ("tenant", b"acme"),
            ("burnrec-bytes", b"9"),
            ("tenant", b"other"),
            ("burnrec-source", b"requests/1/7"),
            ("burnrec-attempts", b"3"),
        ];
        assert_eq!(all, expected);
    }
}
