//! A member whose every call is written down, with its simulated time and its result.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burnrec_serve::event::{Incoming, TopicPartition};
use burnrec_serve::flow::{Change, End, Position, Records, Refused, Transport, Trouble};
use burnrec_serve::outbox::Outbox;

use super::{Cluster, Twin};

/// The transport that the tests give a flow.
pub struct Traced {
    twin: Twin,
    /// Tells the flow to stop.
    pub stop: Arc<AtomicBool>,
}

impl Traced {
    /// Joins the group, as the next member of a worker whose turn it is.
    pub fn new(cluster: &Arc<Cluster>, worker: usize) -> Self {
        let twin = Twin::new(cluster, worker);
        Self { stop: Arc::clone(&twin.stop), twin }
    }

    fn note(&self, call: impl Debug, result: &impl Debug) {
        let cluster = &self.twin.cluster;
        let line = format!("{:?} member {}: {call:?} -> {result:?}", cluster.clock.passed(), self.twin.me);
        cluster.lock().trace.push(line);
    }
}

impl Transport for Traced {
    fn receive(
        &mut self,
        wait: Duration,
        most: usize,
        into: &mut Vec<Incoming>,
    ) -> Result<Vec<Change>, Trouble> {
        let before = into.len();
        let result = self.twin.receive(wait, most, into);
        let events: Vec<(TopicPartition, i64)> =
            into[before..].iter().map(|event| (event.part, event.offset)).collect();
        self.note(("receive", wait, most, events), &result);
        result
    }

    fn positions(
        &mut self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> Result<Vec<Position>, Trouble> {
        let mut records = 0;
        let result = self.twin.positions(parts, &mut |part, key, value| {
            records += 1;
            record(part, key, value);
        });
        self.note(("positions", parts, records), &result);
        result
    }

    fn partitions(&self, topic: u16) -> Option<i32> {
        self.twin.partitions(topic)
    }

    fn begin(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let result = self.twin.begin(positions);
        self.note(("begin", positions), &result);
        result
    }

    fn release(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble> {
        let result = self.twin.release(parts);
        self.note(("give up", parts), &result);
        result
    }

    fn ends(&mut self) -> Vec<End> {
        self.twin.ends()
    }

    fn refused(&self, events: &[Incoming], outbox: &Outbox) -> Vec<Refused> {
        let refused = self.twin.refused(events, outbox);
        self.note("refused", &refused);
        refused
    }

    fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<(), Trouble> {
        let result = self.twin.send(batch, events, outbox);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let messages = outbox.messages.iter();
        let messages: Vec<_> =
            messages.map(|message| (message.to, message.event, outbox.value(message).map(text))).collect();
        self.note(("send", batch, messages), &result);
        result
    }

    fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble> {
        let result = self.twin.delivered(wait);
        self.note(("arrived", wait), &result);
        result
    }

    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<(), Trouble> {
        let result = self.twin.commit(positions, wait);
        self.note(("commit", positions, wait), &result);
        result
    }

    fn abort(&mut self, rebuild: bool) -> Result<(), Trouble> {
        let result = self.twin.abort(rebuild);
        self.note(("abort", rebuild), &result);
        result
    }

    fn rewind(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        let result = self.twin.rewind(positions);
        self.note(("read again", positions), &result);
        result
    }

    fn pause(&mut self, parts: &[TopicPartition], paused: bool) -> Result<(), Trouble> {
        let result = self.twin.pause(parts, paused);
        self.note(("pause", parts, paused), &result);
        result
    }
}
