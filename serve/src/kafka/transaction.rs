//! The transactions of a worker's producer, and how the flow recovers from errors of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::client::{ASK, SLICE, client_id, session};
use super::members::members;
use super::producing::ReplyProducer;
use crate::Error;
use crate::flow::Trouble;

/// A call that has not returned after this long is given up.
const HANGS: Duration = Duration::from_secs(12);

/// How soon a process that took our transactional id, and so fenced us, is in the group.
const JOINED: Duration = Duration::from_secs(5);

impl ReplyProducer {
    /// With exactly-once, registers the transactional id: a transaction that its predecessor left open is aborted,
    /// and the predecessor fenced.
    ///
    /// # Errors
    /// When the brokers do not answer in time; the call is to be repeated.
    pub fn init_transactions(&self) -> KafkaResult<()> {
        if self.exactly_once() { self.producer.init_transactions(ASK) } else { Ok(()) }
    }

    /// Returns how the flow recovers from an error of the producer.
    pub(super) fn trouble(&self, error: &KafkaError) -> Trouble {
        let KafkaError::Transaction(cause) = error else {
            return match error.rdkafka_error_code() {
                // The producer's state allows nothing more: only a new producer helps.
                Some(Code::State | Code::Fatal) if self.exactly_once() => Trouble::Rebuild(error.to_string()),
                _ => Trouble::Abort(error.to_string()),
            };
        };
        let text = format!("{}: {}", cause.name(), cause.string());
        let fenced = matches!(cause.code(), Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
        if fenced && cause.is_fatal() && self.is_id_taken() {
            return Trouble::Fatal(Error::Fenced {
                group: self.config.group.clone(),
                instance: self.config.instance.clone().unwrap_or_default(),
            });
        }
        if cause.txn_requires_abort() && !cause.is_fatal() {
            Trouble::Abort(text)
        } else {
            Trouble::Rebuild(text)
        }
    }

    /// Returns whether another process runs under this worker's transactional id. Brokers say "fenced" as well where
    /// they have ended a transaction themselves, after it took too long or its coordinator went down; then no other
    /// member of the group has our client id. A predecessor that was killed stays a member until its session ends. Only
    /// another that was seen until then counts: not where the brokers do not say, nor where the service stops meanwhile.
    fn is_id_taken(&self) -> bool {
        let (begin, name) = (Instant::now(), client_id(&self.config, self.worker));
        let mut bearers = Bearers::default();
        while begin.elapsed() < session(&self.config) + JOINED && !self.stop.load(Ordering::Relaxed) {
            if let Ok(members) = members(self.consumer.client(), &self.config.group, SLICE) {
                let bearing = members.iter().filter(|member| **member == name).count();
                if bearers.are_one(bearing, Instant::now()) {
                    return false;
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        bearers.are_more && !self.stop.load(Ordering::Relaxed)
    }

    /// Repeats a call of the transaction protocol while the brokers ask for it: for a while, and for a shorter while
    /// once the service stops. A call that ran out of time goes on where it was when it is repeated.
    pub(super) fn insist(&self, mut call: impl FnMut() -> KafkaResult<()>) -> Result<(), Trouble> {
        let begin = Instant::now();
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(cause))
                    if cause.is_retriable() && begin.elapsed() < self.patience() =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(self.trouble(&error)),
            }
        }
    }

    /// Adds the positions to the transaction. librdkafka 2.12 waits for the answer without end and can lose it when a
    /// coordinator goes down between the two steps of this call, so that a thread of its own waits: when nothing comes,
    /// that thread and its producer are given up, and a new one registers the transactional id.
    fn send_offsets(&self, list: TopicPartitionList, group: ConsumerGroupMetadata) -> Result<(), Trouble> {
        let (answer, answered) = mpsc::channel();
        let (producer, patience) = (Arc::clone(&self.producer), self.patience());
        std::thread::spawn(move || {
            let begin = Instant::now();
            let result = loop {
                match producer.send_offsets_to_transaction(&list, &group, SLICE) {
                    Err(KafkaError::Transaction(cause))
                        if cause.is_retriable() && begin.elapsed() < patience =>
                    {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    result => break result,
                }
            };
            // An error means that the call took too long, so that nobody waits for it.
            let _ = answer.send(result);
        });
        match answered.recv_timeout(patience.min(HANGS)) {
            Ok(result) => result.map_err(|error| self.trouble(&error)),
            Err(_) => Err(Trouble::Rebuild("no answer to the offsets of the transaction".into())),
        }
    }

    /// Commits the transaction with these positions in it.
    ///
    /// # Errors
    /// When nothing of it is committed.
    pub fn commit(&mut self, positions: Option<TopicPartitionList>) -> Result<(), Trouble> {
        if self.transaction.is_none() {
            self.begin_transaction()?;
        }
        if let Some(list) = positions {
            let group = self.consumer.group_metadata();
            let group = group.ok_or_else(|| Trouble::Abort("the consumer is in no group".into()))?;
            self.send_offsets(list, group)?;
        }
        self.flush()?;
        self.last_delivered()?;
        self.insist(|| self.producer.commit_transaction(SLICE))?;
        self.transaction = None;
        Ok(())
    }

    pub(super) fn begin_transaction(&mut self) -> Result<(), Trouble> {
        self.producer.begin_transaction().map_err(|error| self.trouble(&error))?;
        self.transaction = Some(Instant::now());
        Ok(())
    }
}

/// The members of the group that bear our client id, by what the brokers say again and again.
#[derive(Default)]
struct Bearers {
    /// Since when we are the only one.
    one_since: Option<Instant>,
    /// Whether there were others when the brokers last said so.
    are_more: bool,
}

impl Bearers {
    /// Takes up how many there are now; returns whether we were the only one for as long as another takes to join.
    fn are_one(&mut self, bearing: usize, now: Instant) -> bool {
        self.are_more = bearing > 1;
        self.one_since = if self.are_more { None } else { self.one_since.or(Some(now)) };
        self.one_since.is_some_and(|since| now.saturating_duration_since(since) > JOINED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_only_where_another_is_seen() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        assert!(!Bearers::default().are_more, "the brokers have said nothing");
        let mut bearers = Bearers::default();
        // A predecessor that was killed is a member for a while.
        assert!(!bearers.are_one(2, begin) && bearers.are_more);
        assert!(!bearers.are_one(1, begin + second) && !bearers.are_more);
        assert!(!bearers.are_one(1, begin + 2 * second));
        assert!(!bearers.are_one(2, begin + 7 * second) && bearers.are_more, "another joins late");
        assert!(!bearers.are_one(1, begin + 8 * second));
        assert!(bearers.are_one(1, begin + 8 * second + JOINED + second) && !bearers.are_more);
    }
}
