//! Writes what a batch leads to: replies, rejects of what failed for good, and receipts.

use std::time::Duration;

use super::{Transport, Trouble};
use crate::config::{Pace, Stages, Then};
use crate::engine::Engine;
use crate::event::Incoming;
use crate::outbox::{EventOutcome, Outbox, To};
use crate::reject::Stage;
use crate::{Error, Reject};

/// Returns the index of the first failed event for whose retry the whole flow waits (`pace = "yield"`), and how long.
pub fn first_to_yield(failures: &Stages, events: &[Incoming], outbox: &Outbox) -> Option<(usize, Duration)> {
    events.iter().zip(&outbox.outcomes).enumerate().find_map(|(at, (event, outcome))| {
        let EventOutcome::Failed(reject) = outcome else { return None };
        let failure = failures.of(reject.stage);
        let is_tried_again = event.attempts < failure.retries && failure.pace == Pace::Yield;
        is_tried_again.then(|| (at, failure.backoff()))
    })
}

/// Writes one batch.
pub struct BatchWriter<'a, T> {
    /// The engine that answered the batch.
    pub engine: &'a Engine,
    /// What to do where a stage fails.
    pub failures: &'a Stages,
    /// Where the messages go.
    pub transport: &'a mut T,
    /// The batch's number.
    pub batch: u64,
}

impl<T: Transport> BatchWriter<'_, T> {
    /// Writes all messages of a batch; returns the indices of events that failed and are to be tried again.
    ///
    /// # Errors
    /// When the transport needs help, or at a failure that the config says to stop at.
    pub fn write(&mut self, events: &mut [Incoming], outbox: &mut Outbox) -> Result<Vec<usize>, Trouble> {
        let retried = self.handle_failures(events, outbox)?;
        for refused in self.transport.send(self.batch, events, outbox)? {
            let reject = Reject { stage: Stage::Sink, reason: "not-taken", text: refused.text };
            self.reject_refused(events, refused.event, reject, outbox)?;
        }
        self.send_receipts(events, &retried, outbox)?;
        Ok(retried)
    }

    /// Adds the rejects of failed and expired events; returns the indices of events to be tried again.
    fn handle_failures(&self, events: &mut [Incoming], outbox: &mut Outbox) -> Result<Vec<usize>, Trouble> {
        let mut retried = Vec::new();
        for (at, event) in events.iter_mut().enumerate() {
            match outbox.outcomes[at].clone() {
                EventOutcome::Replied(_) | EventOutcome::Filtered | EventOutcome::Dropped(_) => {}
                EventOutcome::Resubmitted => outbox.put(To::Requests, at, |_| {}).value = None,
                EventOutcome::Expired(reject) => self.engine.reject(event, at, &reject, outbox),
                EventOutcome::Failed(reject) => {
                    let failure = self.failures.of(reject.stage);
                    if event.attempts < failure.retries {
                        event.attempts += 1;
                        retried.push(at);
                        continue;
                    }
                    match failure.then {
                        Then::Reject => self.engine.reject(event, at, &reject, outbox),
                        Then::Drop => outbox.outcomes[at] = EventOutcome::Dropped(reject),
                        Then::Stop => {
                            let found = format!("{}: {reject}", self.engine.source(event));
                            return Err(fatal(reject.stage, found));
                        }
                    }
                }
            }
        }
        if !retried.is_empty() {
            // Their retry is answered by the shadow model as well, so that its replies are dropped here.
            outbox.messages.retain(|message| !retried.contains(&(message.event as usize)));
        }
        Ok(retried)
    }

    /// Rejects an event whose reply the sink does not take.
    fn reject_refused(
        &mut self,
        events: &[Incoming],
        at: usize,
        reject: Reject,
        outbox: &mut Outbox,
    ) -> Result<(), Trouble> {
        // If the refused message is itself a reject, the reason in it says more.
        let reject = match &outbox.outcomes[at] {
            EventOutcome::Failed(first) | EventOutcome::Expired(first) => first.clone(),
            _ => reject,
        };
        let found = format!("{}: {reject}", self.engine.source(&events[at]));
        let ended = match self.failures.sink.then {
            Then::Stop => return Err(fatal(Stage::Sink, found)),
            Then::Drop => EventOutcome::Dropped(reject),
            Then::Reject => {
                let mut rejects = Outbox::default();
                self.engine.reject_cut(&events[at], at, &reject, &mut rejects);
                let refused = self.transport.send(self.batch, events, &rejects)?;
                if let Some(again) = refused.first() {
                    // Kafka refuses even the cut reject: only the operator can help.
                    return Err(fatal(Stage::Sink, format!("{found}; its reject: {}", again.text)));
                }
                EventOutcome::Failed(reject)
            }
        };
        outbox.messages.retain(|message| message.event != at as u32 || message.to != To::Replies);
        outbox.outcomes[at] = ended;
        Ok(())
    }

    /// Writes receipts after all else: only when the sink has taken a reply is it known how an event ended.
    fn send_receipts(
        &mut self,
        events: &[Incoming],
        retried: &[usize],
        outbox: &Outbox,
    ) -> Result<(), Trouble> {
        let mut receipts = Outbox::default();
        for (at, event) in events.iter().enumerate().filter(|(at, _)| !retried.contains(at)) {
            self.engine.receipt(event, at, outbox.outcomes[at].name(), &mut receipts);
        }
        if receipts.messages.is_empty() {
            return Ok(());
        }
        for refused in self.transport.send(self.batch, events, &receipts)? {
            let source = self.engine.source(&events[refused.event]);
            tracing::warn!(source, cause = refused.text, "a receipt is not taken");
        }
        Ok(())
    }
}

fn fatal(stage: Stage, found: String) -> Trouble {
    Trouble::Fatal(Error::Stop { stage: stage.name(), found })
}
