//! What a member writes, and what others write into the state topic.

use std::collections::BTreeSet;

use burnrec_serve::event::{ERASED, Incoming, TopicPartition};
use burnrec_serve::flow::Change;
use burnrec_serve::outbox::{Outbox, Outgoing, To};

use super::{Inner, Record, Twin};

impl Inner {
    /// Somebody else erases the record of a user.
    pub(super) fn erase(&mut self, part: TopicPartition, key: &str) {
        let (key, headers) = (Some(key.as_bytes().to_vec()), Vec::new());
        self.visible.push(Record { to: To::State, part, offset: -1, key, value: None, headers });
    }

    /// Returns the erasures that no member has confirmed.
    pub fn unconfirmed(&self) -> BTreeSet<(TopicPartition, Vec<u8>)> {
        let mut all = BTreeSet::new();
        for record in self.visible.iter().filter(|record| record.to == To::State && record.value.is_none()) {
            let at = (record.part, record.key.clone().expect("a key"));
            match record.headers.iter().any(|(name, _)| name == ERASED) {
                true => all.remove(&at),
                false => all.insert(at),
            };
        }
        all
    }
}

impl Twin {
    pub(super) fn record(&self, event: &Incoming, message: &Outgoing, outbox: &Outbox) -> Record {
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        if message.to != To::State {
            let kept = event.headers.iter();
            headers.extend(kept.map(|(name, value)| (name.clone(), value.clone().unwrap_or_default())));
        }
        headers.extend(message.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Record {
            to: message.to,
            part: event.part,
            offset: event.offset,
            key: match &message.key {
                Some(range) => Some(outbox.bytes[range.clone()].to_vec()),
                None => event.key().map(<[u8]>::to_vec),
            },
            value: match message.value {
                Some(_) => outbox.value(message).map(<[u8]>::to_vec),
                None => event.payload().map(<[u8]>::to_vec),
            },
            headers,
        }
    }

    /// Whether a message is too large for its topic: a cut reject never is.
    pub(super) fn is_too_large(&self, message: &Outgoing, event: &Incoming) -> bool {
        let (rules, source) = (&self.cluster.rules, (event.part, event.offset));
        let whole = message.to != To::Receipts && (message.to != To::Rejects || message.value.is_none());
        whole && rules.too_large.contains(&source)
            || message.to == To::Shadow && rules.too_large_shadows.contains(&source)
    }

    /// Returns the erasures in this member's partitions that it has not told of.
    pub(super) fn erasures(&mut self, inner: &Inner) -> Vec<Change> {
        let of_mine = inner.unconfirmed().into_iter().filter(|(part, _)| self.at.contains_key(part));
        let new: Vec<_> = of_mine.filter(|erasure| !self.told.contains(erasure)).collect();
        self.told.extend(new.iter().cloned());
        new.into_iter().map(|(part, key)| Change::Erased { part, key }).collect()
    }
}
