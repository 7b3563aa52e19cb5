//! What moves events to the flow and messages away from it: Kafka, or memory in tests.

use std::time::Duration;

use crate::Result;
use crate::event::{Incoming, TopicPartition};
use crate::outbox::Outbox;

/// What happened to the partitions while receiving.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The worker owns these from now on; the transport waits for the call of [`Transport::begin`].
    Assigned(Vec<TopicPartition>),
    /// The worker is to release these; the transport waits for the call of [`Transport::release`].
    Revoked {
        /// The partitions.
        parts: Vec<TopicPartition>,
        /// Whether another worker owns them already, so that nothing can be committed for them any more.
        lost: bool,
    },
    /// The topics of these were made anew, and are read from these positions on. What was read of them before and is not
    /// committed never can be.
    Renewed(Vec<Position>),
    /// Somebody else wrote a record without a value for this key into the state topic: what is kept for a partition under
    /// the key is to be forgotten.
    Erased {
        /// The partition.
        part: TopicPartition,
        /// The record's key.
        key: Vec<u8>,
    },
}

/// Where to read on in a partition: the offset, and the metadata that was committed with it.
pub type Position = (TopicPartition, Option<i64>, String);

/// Where a partition ends for a reader of committed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The partition.
    pub part: TopicPartition,
    /// The last stable offset: the one after the last that can be read now.
    pub offset: i64,
    /// Whether all before it was handed out; the last offsets may be markers of transactions, which nobody reads.
    pub is_read: bool,
}

/// A failure, by what the flow does about it.
#[derive(Debug)]
pub enum Trouble {
    /// The flow takes back what is not committed and reads it again.
    Abort(String),
    /// As `Abort`, with new connections.
    Rebuild(String),
    /// The flow goes on: nothing was committed, but nothing is lost either, and the next commit may succeed.
    Later(String),
    /// The flow ends.
    Fatal(crate::Error),
}

/// A message that will not be taken, with why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its index among the messages of the outbox.
    pub message: usize,
    /// Why.
    pub text: String,
}

/// Takes the key and the value of a record that is kept for a partition.
pub type Records<'a> = dyn FnMut(TopicPartition, &[u8], Option<&[u8]>) + 'a;

/// Moves events and messages.
pub trait Transport {
    /// Waits up to `wait` for a first event, then adds what is there, up to `most`; of 0 it takes none. Ends early when partitions
    /// change.
    ///
    /// # Errors
    /// When the connection fails.
    fn receive(
        &mut self,
        wait: Duration,
        most: usize,
        into: &mut Vec<Incoming>,
    ) -> Result<Vec<Change>, Trouble>;

    /// Returns where to begin in partitions that were assigned; calls `record` with the key and value of every record
    /// that is kept for them. Which of these were erased and not confirmed, it tells afterwards, whether it had before or not.
    ///
    /// # Errors
    /// When they cannot be read; the flow then asks again.
    fn positions(
        &mut self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> Result<Vec<Position>, Trouble>;

    /// Returns how many partitions a topic of requests has, where that is known.
    fn partitions(&self, topic: u16) -> Option<i32>;

    /// Begins to read at these positions, none of them paused.
    ///
    /// # Errors
    /// When the call fails.
    fn begin(&mut self, positions: &[Position]) -> Result<(), Trouble>;

    /// Releases partitions.
    ///
    /// # Errors
    /// When the call fails.
    fn release(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble>;

    /// Returns the ends of partitions that it heard of since it was last asked.
    fn ends(&mut self) -> Vec<End>;

    /// Returns the messages that are known never to be taken: too large for their topics, or refused before. Nothing of a
    /// batch is sent before this was asked, so that no event has both a reply and a reject.
    fn refused(&self, events: &[Incoming], outbox: &Outbox) -> Vec<Refused>;

    /// Takes the messages of a batch of events. The `batch` numbers ascend.
    ///
    /// # Errors
    /// When one cannot be taken; the ones that never can, `refused` knows when the flow tries again.
    fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<(), Trouble>;

    /// Waits up to `wait` until all that was sent is delivered; returns the number of the last batch that is delivered
    /// with all before it.
    ///
    /// # Errors
    /// When something will never be delivered.
    fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble>;

    /// Commits positions; with exactly-once in one transaction with all that was sent since the last commit. With
    /// at-least-once the transport retries a commit by itself, and only with `wait` the call waits for the answer,
    /// which then covers all earlier positions as well.
    ///
    /// # Errors
    /// When nothing of it is committed.
    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<(), Trouble>;

    /// Takes back all that was sent since the last commit. With `rebuild` the connections are made anew, and only
    /// [`Transport::positions`] tells afterwards whether a commit that seemed to fail has succeeded.
    ///
    /// # Errors
    /// When even that fails; the flow then asks for a rebuild.
    fn abort(&mut self, rebuild: bool) -> Result<(), Trouble>;

    /// Reads on at these positions, none of them paused.
    ///
    /// # Errors
    /// When the call fails.
    fn rewind(&mut self, positions: &[Position]) -> Result<(), Trouble>;

    /// Pauses or resumes reading of some partitions.
    ///
    /// # Errors
    /// When the call fails.
    fn pause(&mut self, parts: &[TopicPartition], paused: bool) -> Result<(), Trouble>;
}
