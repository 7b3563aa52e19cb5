//! What moves events to the flow and messages away from it: Kafka, or memory in tests.

use std::time::Duration;

use crate::Result;
use crate::event::{Incoming, TopicPartition};
use crate::outbox::Outbox;

/// What happened to the partitions while receiving.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The worker owns these from now on; [`Transport::begin`] is waited for.
    Assigned(Vec<TopicPartition>),
    /// The worker is to release these; [`Transport::release`] is waited for.
    Revoked {
        /// The partitions.
        parts: Vec<TopicPartition>,
        /// Whether another worker owns them already, so that nothing can be committed for them any more.
        lost: bool,
    },
}

/// Where to read on in a partition: the offset, and the metadata that was committed with it.
pub type Position = (TopicPartition, Option<i64>, String);

/// A failure, by what the flow does about it.
#[derive(Debug)]
pub enum Trouble {
    /// The flow takes back what is not committed and reads it again.
    Abort(String),
    /// The same, with new connections.
    Rebuild(String),
    /// The flow goes on: nothing was committed, but nothing is lost either, and the next commit may succeed.
    Later(String),
    /// The flow ends.
    Fatal(crate::Error),
}

/// A message that was not taken, with why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The event's place in its batch.
    pub event: usize,
    /// Why.
    pub text: String,
}

/// Takes the key and the value of a record that is kept for a partition.
pub type Records<'a> = dyn FnMut(TopicPartition, &[u8], Option<&[u8]>) + 'a;

/// Moves events and messages.
pub trait Transport {
    /// Waits up to `wait` for a first event, then adds what is there, up to `most`. Ends early when partitions change.
    ///
    /// # Errors
    /// When the connection needs help.
    fn receive(
        &mut self,
        wait: Duration,
        most: usize,
        into: &mut Vec<Incoming>,
    ) -> Result<Vec<Change>, Trouble>;

    /// Returns where to begin in partitions that were assigned; calls `record` with the key and value of every record that is
    /// kept for them.
    ///
    /// # Errors
    /// When they cannot be read; it is then asked again.
    fn positions(
        &mut self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> Result<Vec<Position>, Trouble>;

    /// Begins to read at these positions.
    ///
    /// # Errors
    /// When that cannot be told.
    fn begin(&mut self, positions: &[Position]) -> Result<(), Trouble>;

    /// Releases partitions.
    ///
    /// # Errors
    /// When that cannot be told.
    fn release(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble>;

    /// Takes the messages of a batch of events. The `batch` numbers ascend. Returns the ones that can never be taken.
    ///
    /// # Errors
    /// When nothing more can be taken.
    fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<Vec<Refused>, Trouble>;

    /// Waits up to `wait` until all that was sent is delivered; returns the number of the last batch that is, with all before.
    ///
    /// # Errors
    /// When something will never be delivered.
    fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble>;

    /// Commits positions; with exactly-once together with all that was sent since the last time. At least once, the answer
    /// is waited for only where `wait` says so, and is then that of all positions before as well: until it comes the
    /// transport itself goes on trying.
    ///
    /// # Errors
    /// When nothing of it is committed.
    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<(), Trouble>;

    /// Takes back all that was sent since the last commit; `rebuild` with new connections, after which only
    /// [`Transport::positions`] knows whether a commit that failed was one all the same.
    ///
    /// # Errors
    /// When even that fails; then it is asked to rebuild.
    fn abort(&mut self, rebuild: bool) -> Result<(), Trouble>;

    /// Reads on at these positions, none of them paused.
    ///
    /// # Errors
    /// When that cannot be told.
    fn rewind(&mut self, positions: &[Position]) -> Result<(), Trouble>;

    /// Pauses or resumes reading of some partitions.
    ///
    /// # Errors
    /// When that cannot be told.
    fn pause(&mut self, parts: &[TopicPartition], paused: bool) -> Result<(), Trouble>;
}
