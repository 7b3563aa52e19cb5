//! Writes what a batch leads to: replies, rejects of what failed for good, and receipts.

use std::time::Duration;

use super::{Refused, Transport, Trouble};
use crate::config::{Pace, Then};
use crate::engine::Engine;
use crate::event::Incoming;
use crate::metrics::Metrics;
use crate::outbox::{EventOutcome, Outbox, To};
use crate::reject::Stage;
use crate::settings::Settings;
use crate::{Error, Reject};

/// Returns the index of the first failed event for whose retry the whole flow waits (`pace = "yield"`), and how long.
pub fn first_to_yield(
    settings: &Settings,
    events: &[Incoming],
    outbox: &Outbox,
) -> Option<(usize, Duration)> {
    events.iter().zip(&outbox.outcomes).enumerate().find_map(|(at, (event, outcome))| {
        let EventOutcome::Failed(reject) = outcome else { return None };
        let failure = settings.failure(reject.stage);
        let is_tried_again = event.attempts < failure.retries && failure.pace == Pace::Yield;
        is_tried_again.then(|| (at, failure.backoff()))
    })
}

/// Marks the events whose replies or histories the sink will not take, so that the engine rejects them; returns whether
/// there are any. What a shadow model replies is only left out.
pub fn mark_refused<T: Transport>(transport: &T, events: &mut [Incoming], outbox: &mut Outbox) -> bool {
    let (mut is_any, mut left_out) = (false, Vec::new());
    for Refused { message: at, text } in transport.refused(events, outbox) {
        let message = &outbox.messages[at];
        if message.to == To::Shadow {
            tracing::warn!(cause = text, "a reply of a shadow model is not taken");
            left_out.push(at);
        } else {
            events[message.event as usize].refused = Some(Box::new(Reject::sink("not-taken", text)));
            is_any = true;
        }
    }
    leave_out(outbox, &left_out);
    is_any
}

/// Counts the events of a batch whose users' histories are in other partitions.
pub fn note_elsewhere(engine: &Engine, metrics: &Metrics, events: &[Incoming], outbox: &Outbox) {
    let Some(&(at, right)) = outbox.elsewhere.first() else { return };
    let text = format!(
        "{} is of a user whose id belongs to partition {right} by kafka.partitioner, and whose history is there; let all \
         who write requests have that partitioner and the user's id as the key, or set kafka.partitioner to what they have",
        engine.source(&events[at])
    );
    metrics.elsewhere(outbox.elsewhere.len(), text);
}

/// Takes messages out of an outbox; `places` ascend.
fn leave_out(outbox: &mut Outbox, places: &[usize]) {
    let mut at = 0..;
    outbox.messages.retain(|_| at.next().is_some_and(|at| places.binary_search(&at).is_err()));
}

/// Writes one batch.
pub struct BatchWriter<'a, T> {
    /// The engine that answered the batch.
    pub engine: &'a Engine,
    /// The settings, which say what to do where a stage fails.
    pub settings: &'a Settings,
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
        self.cut_rejects(events, outbox)?;
        self.add_receipts(events, &retried, outbox);
        self.transport.send(self.batch, events, outbox)?;
        Ok(retried)
    }

    /// Adds the rejects of failed and expired events; returns the indices of events to be tried again.
    fn handle_failures(&self, events: &mut [Incoming], outbox: &mut Outbox) -> Result<Vec<usize>, Trouble> {
        let mut retried = Vec::new();
        for (at, event) in events.iter_mut().enumerate() {
            match outbox.outcomes[at].clone() {
                EventOutcome::Replied(_)
                | EventOutcome::Filtered
                | EventOutcome::FilteredBy(_)
                | EventOutcome::GivenUp(_)
                | EventOutcome::Dropped(_) => {}
                EventOutcome::Resubmitted => outbox.put(To::Requests, at, |_| {}).value = None,
                EventOutcome::Expired(reject) => self.engine.reject(event, at, &reject, outbox),
                EventOutcome::Failed(reject) => {
                    let failure = self.settings.failure(reject.stage);
                    if event.attempts < failure.retries {
                        event.attempts += 1;
                        event.refused = None;
                        retried.push(at);
                        continue;
                    }
                    match failure.then {
                        Then::Reject => self.engine.reject(event, at, &reject, outbox),
                        Then::Drop => outbox.outcomes[at] = EventOutcome::Dropped(reject),
                        Then::Stop => return Err(self.stop(event, &reject)),
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

    /// Cuts the rejects of events that are themselves too large for the reject topic, and rejects those that cannot go
    /// back to the topic that they came from.
    fn cut_rejects(&self, events: &[Incoming], outbox: &mut Outbox) -> Result<(), Trouble> {
        // All other messages were asked about before.
        if !outbox.messages.iter().any(|message| matches!(message.to, To::Rejects | To::Requests)) {
            return Ok(());
        }
        let refused = self.transport.refused(events, outbox);
        let whole: Vec<u32> = refused.iter().map(|refused| outbox.messages[refused.message].event).collect();
        leave_out(outbox, &refused.iter().map(|refused| refused.message).collect::<Vec<_>>());
        for at in whole.into_iter().map(|at| at as usize) {
            let (EventOutcome::Failed(reject) | EventOutcome::Expired(reject)) = outbox.outcomes[at].clone()
            else {
                // It came from the reject topic, which takes it again.
                let reject = Reject::sink("not-taken", "too large for the topic that it came from");
                self.engine.reject(&events[at], at, &reject, outbox);
                outbox.outcomes[at] = EventOutcome::Failed(reject);
                continue;
            };
            match self.settings.failures.sink.then {
                Then::Reject => self.engine.reject_cut(&events[at], at, &reject, outbox),
                Then::Drop => outbox.outcomes[at] = EventOutcome::Dropped(reject),
                Then::Stop => return Err(self.stop(&events[at], &reject)),
            }
        }
        match self.transport.refused(events, outbox).first() {
            // Kafka refuses even the cut reject: only the operator can help.
            Some(Refused { message, text }) => {
                let event = &events[outbox.messages[*message].event as usize];
                Err(fatal(Stage::Sink, format!("{}: its reject: {text}", self.engine.source(event))))
            }
            None => Ok(()),
        }
    }

    /// Adds the receipts; those that the sink will not take are left out.
    fn add_receipts(&self, events: &[Incoming], retried: &[usize], outbox: &mut Outbox) {
        let before = outbox.messages.len();
        for (at, event) in events.iter().enumerate().filter(|(at, _)| !retried.contains(at)) {
            self.engine.receipt(event, at, outbox);
        }
        if outbox.messages.len() == before {
            return;
        }
        let refused = self.transport.refused(events, outbox);
        for Refused { message, text } in &refused {
            let source = self.engine.source(&events[outbox.messages[*message].event as usize]);
            tracing::warn!(source, cause = text, "a receipt is not taken");
        }
        leave_out(outbox, &refused.iter().map(|refused| refused.message).collect::<Vec<_>>());
    }

    fn stop(&self, event: &Incoming, reject: &Reject) -> Trouble {
        fatal(reject.stage, format!("{}: {reject}", self.engine.source(event)))
    }
}

fn fatal(stage: Stage, found: String) -> Trouble {
    let by = match stage {
        Stage::Step(name) => format!("steps.{name}.failures"),
        stage => format!("failures.{}", stage.name()),
    };
    Trouble::Fatal(Error::Stop { by, found })
}
