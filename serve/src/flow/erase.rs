//! Users who are erased while the flow runs.

use super::{Change, Flow, Transport, Trouble};
use crate::config::Guarantee;
use crate::event::{ERASED, Incoming, TopicPartition};
use crate::outbox::{Outbox, Outgoing, To};

impl<T: Transport> Flow<T> {
    /// Forgets the history of a user whose record somebody else erased, and confirms it by a record without a value of its
    /// own: an event that was answered meanwhile may have written the history once more.
    pub(super) fn erase(&mut self, part: TopicPartition, key: Vec<u8>) -> Result<(), Trouble> {
        if self.offsets.ledger(part).is_none() {
            // The partition is another worker's now, who finds what is not confirmed.
            return Ok(());
        }
        match self.engine.state.erase(self.home(part), self.engine.state_topic(part), &key) {
            Ok(Some(undo)) => self.undo.push(undo),
            Ok(None) => return Ok(()),
            Err(error) => {
                self.metrics.bad_record(&error);
                return Ok(());
            }
        }
        let event = Incoming::new(self.clock.now(), part, -1, Some(&key), None);
        let headers = vec![(ERASED, Vec::new())];
        let confirms = Outgoing { to: To::State, event: 0, key: None, value: None, headers };
        let outbox = Outbox { messages: vec![confirms], ..Outbox::default() };
        self.erased.push((part, key));
        self.batch += 1;
        self.transport.send(self.batch, &[event], &outbox)?;
        match self.options.guarantee {
            Guarantee::AtLeastOnce => {
                self.undo.clear();
                self.offsets.sent(self.batch, Vec::new());
            }
            Guarantee::ExactlyOnce => self.unsaved = true,
        }
        Ok(())
    }

    /// After a rollback, erases again whom no commit covers.
    pub(super) fn erase_again(&mut self) {
        let again = self.erased.drain(..).map(|(part, key)| Change::Erased { part, key });
        self.changes.extend(again);
    }

    /// After a commit, forgets whose erasure is confirmed.
    pub(super) fn note_confirmed(&mut self) {
        if !self.offsets.is_in_flight() && !self.erased.is_empty() {
            tracing::info!(users = self.erased.len(), "erased by records without a value in the state topic");
            self.erased.clear();
        }
    }
}
