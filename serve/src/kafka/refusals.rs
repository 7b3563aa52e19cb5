//! Messages that brokers refused. They refuse a whole batch of the producer for one message that is too large, so that
//! the events of such a batch are only suspects: their messages are sent again alone, and what is refused alone is never
//! taken.

use std::collections::{HashMap, HashSet};

use crate::event::TopicPartition;
use crate::flow::Position;
use crate::outbox::{Outgoing, To};

/// What a message of an event is, as far as refusals tell messages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// To the topic of replies.
    Reply,
    /// To the topic of what shadow models reply.
    Shadow,
    /// To the state topic.
    State,
    /// To the topic of receipts.
    Receipt,
    /// Back to a topic of requests.
    Request,
    /// A reject with the whole event.
    Reject,
    /// A reject with the beginning of the event.
    CutReject,
}

impl MessageKind {
    const ALL: [Self; 7] =
        [Self::Reply, Self::Shadow, Self::State, Self::Receipt, Self::Request, Self::Reject, Self::CutReject];

    /// Returns the kind of a message.
    pub fn of(message: &Outgoing) -> Self {
        match message.to {
            To::Replies => Self::Reply,
            To::Shadow => Self::Shadow,
            To::State => Self::State,
            To::Receipts => Self::Receipt,
            To::Requests => Self::Request,
            To::Rejects if message.value.is_some() => Self::CutReject,
            To::Rejects => Self::Reject,
        }
    }

    /// Returns the kind of this number.
    pub fn at(number: usize) -> Self {
        Self::ALL[number % Self::ALL.len()]
    }
}

/// The events whose messages were refused, until they are committed.
#[derive(Debug, Default)]
pub struct Refusals {
    /// Events of which a message was in a batch that was refused.
    suspects: HashSet<(TopicPartition, i64)>,
    /// Why messages that were sent alone were refused.
    alone: HashMap<(TopicPartition, i64, MessageKind), String>,
}

impl Refusals {
    /// Notes that a message was refused; returns whether its event is a new suspect.
    pub fn note(&mut self, part: TopicPartition, offset: i64, kind: MessageKind, text: String) -> bool {
        let is_new = !self.is_suspect(part, offset);
        if is_new {
            self.suspects.insert((part, offset));
        } else {
            self.refuse(part, offset, kind, text);
        }
        is_new
    }

    /// Notes that a message is never taken.
    pub fn refuse(&mut self, part: TopicPartition, offset: i64, kind: MessageKind, text: String) {
        self.suspects.insert((part, offset));
        self.alone.insert((part, offset, kind), text);
    }

    /// Returns whether the messages of an event are to be sent alone.
    pub fn is_suspect(&self, part: TopicPartition, offset: i64) -> bool {
        !self.suspects.is_empty() && self.suspects.contains(&(part, offset))
    }

    /// Returns why a message is never taken, if that is known.
    pub fn why(&self, part: TopicPartition, offset: i64, kind: MessageKind) -> Option<&String> {
        if self.alone.is_empty() { None } else { self.alone.get(&(part, offset, kind)) }
    }

    /// Forgets events that are committed.
    pub fn committed(&mut self, positions: &[Position]) {
        if self.suspects.is_empty() {
            return;
        }
        let done = |part: &TopicPartition, offset: i64| {
            positions.iter().any(|(of, next, _)| of == part && next.is_some_and(|next| offset < next))
        };
        self.suspects.retain(|(part, offset)| !done(part, *offset));
        self.alone.retain(|(part, offset, _), _| !done(part, *offset));
    }

    /// Forgets partitions that were revoked.
    pub fn release(&mut self, parts: &[TopicPartition]) {
        self.suspects.retain(|(part, _)| !parts.contains(part));
        self.alone.retain(|(part, ..), _| !parts.contains(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_refused_alone_is_never_taken() {
        let part = |partition| TopicPartition { topic: 0, partition };
        let mut all = Refusals::default();
        for offset in 5..8 {
            assert!(all.note(part(0), offset, MessageKind::Reply, "a batch".into()));
        }
        assert!(all.is_suspect(part(0), 6) && !all.is_suspect(part(1), 6));
        assert_eq!(all.why(part(0), 6, MessageKind::Reply), None, "another of its batch may be too large");
        assert!(!all.note(part(0), 6, MessageKind::Reply, "alone".into()));
        assert_eq!(all.why(part(0), 6, MessageKind::Reply).map(String::as_str), Some("alone"));
        assert_eq!(all.why(part(0), 6, MessageKind::Reject), None, "its reject may be taken");
        all.committed(&[(part(0), Some(7), String::new())]);
        assert!(!all.is_suspect(part(0), 6) && all.is_suspect(part(0), 7) && all.alone.is_empty());
        all.release(&[part(0)]);
        assert!(all.suspects.is_empty());
    }

    #[test]
    fn a_kind_comes_back_from_its_number() {
        for kind in MessageKind::ALL {
            assert_eq!(MessageKind::at(kind as usize), kind);
        }
    }
}
