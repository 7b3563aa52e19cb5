//! A batch: taken from the queues, answered, sent.

use std::time::Duration;

use super::{Flow, Transport, Trouble};
use crate::Reject;
use crate::config::{Failure, Guarantee, Pace, Then};
use crate::engine::Reading;
use crate::event::Incoming;
use crate::outbox::{Outbox, Outcome, To};
use crate::reject::Stage;

/// How an event ended, as receipts and metrics call it.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Replied(_) => "replied",
        Outcome::Filtered => "filtered",
        Outcome::Resubmitted => "resubmitted",
        Outcome::Expired(_) => "expired",
        Outcome::Failed(_) => "rejected",
    }
}

impl<T: Transport> Flow<T> {
    /// Answers the next events.
    pub(super) fn answer_next(&mut self) -> Result<(), Trouble> {
        let mut events = std::mem::take(&mut self.events);
        self.fill(&mut events);
        if events.is_empty() {
            self.events = events;
            return Ok(());
        }
        let mut outbox = std::mem::take(&mut self.outbox);
        let result = self.answer(&mut events, &mut outbox);
        events.clear();
        outbox.clear();
        (self.events, self.outbox) = (events, outbox);
        result
    }

    /// Takes the next events, one of each route's queue in turn.
    fn fill(&mut self, events: &mut Vec<Incoming>) {
        let most = self.options.flow.batch_events;
        let mut empty = 0;
        while events.len() < most && empty < self.queues.len() {
            self.turn = (self.turn + 1) % self.queues.len();
            match self.queues[self.turn].pop() {
                Some(event) => {
                    events.push(event);
                    empty = 0;
                }
                None => empty += 1,
            }
        }
        self.metrics.queues(self.options.worker, &self.queues);
    }

    fn answer(&mut self, events: &mut Vec<Incoming>, outbox: &mut Outbox) -> Result<(), Trouble> {
        let start = self.clock.now();
        let before = self.undo.len();
        self.engine.answer(events, Reading::default(), &mut self.undo, outbox);
        while let Some((at, backoff)) = self.first_to_yield(events, outbox) {
            // It and all after it wait, as if they had not been taken yet.
            let undo = self.undo.split_off(before);
            self.engine.state.undo(undo);
            outbox.clear();
            events[at].attempts += 1;
            self.yields = Some(self.clock.now() + backoff);
            for event in events.drain(at..).rev() {
                self.queues[self.engine.routes.of(&event)].push_front(event);
            }
            if events.is_empty() {
                return Ok(());
            }
            self.engine.answer(events, Reading::default(), &mut self.undo, outbox);
        }
        let scored = self.clock.now();
        let again = self.judge(events, outbox)?;
        self.batch += 1;
        for refused in self.transport.send(self.batch, events, outbox)? {
            let reject = Reject { stage: Stage::Sink, reason: "not-taken", text: refused.text };
            self.refuse(events, refused.event, reject, outbox)?;
        }
        self.give_receipts(events, &again, outbox)?;
        let ended = events.iter().enumerate().filter(|(at, _)| !again.contains(at));
        let turns: Vec<_> = ended.map(|(_, event)| (event.part, event.turn)).collect();
        match self.options.guarantee {
            Guarantee::AtLeastOnce => {
                self.undo.clear();
                self.underway.push_back((self.batch, turns));
            }
            Guarantee::ExactlyOnce => self.done(&turns),
        }
        let outcomes = outbox.outcomes.iter().enumerate().filter(|(at, _)| !again.contains(at));
        let now = self.clock.now();
        let latency = events.first().map(|first| now.saturating_duration_since(first.received));
        self.metrics.batch(outcomes, scored - start, now - scored, latency);
        for at in again.into_iter().rev() {
            let Outcome::Failed(reject) = &outbox.outcomes[at] else { continue };
            let end = self.clock.now() + self.failure(reject.stage).backoff();
            self.penalised.push((end, events.swap_remove(at)));
        }
        Ok(())
    }

    /// The first event that is to be tried again before all after it, and after how long.
    fn first_to_yield(&self, events: &[Incoming], outbox: &Outbox) -> Option<(usize, Duration)> {
        events.iter().zip(&outbox.outcomes).enumerate().find_map(|(at, (event, outcome))| {
            let Outcome::Failed(reject) = outcome else { return None };
            let failure = self.failure(reject.stage);
            let again = event.attempts < failure.retries && failure.pace == Pace::Yield;
            again.then(|| (at, failure.backoff()))
        })
    }

    /// Adds what rejected and expired events leave behind; gives the places of events to be tried again.
    fn judge(&mut self, events: &mut [Incoming], outbox: &mut Outbox) -> Result<Vec<usize>, Trouble> {
        let mut again = Vec::new();
        for (at, event) in events.iter_mut().enumerate() {
            match outbox.outcomes[at].clone() {
                Outcome::Replied(_) | Outcome::Filtered => {}
                Outcome::Resubmitted => outbox.put(To::Requests, at, |_| {}).value = None,
                Outcome::Expired(reject) => self.engine.reject(event, at, &reject, outbox),
                Outcome::Failed(reject) => {
                    let failure = self.failure(reject.stage);
                    if event.attempts < failure.retries {
                        event.attempts += 1;
                        again.push(at);
                        continue;
                    }
                    match failure.then {
                        Then::Reject => self.engine.reject(event, at, &reject, outbox),
                        Then::Drop => {}
                        Then::Stop => {
                            let found = format!("{}: {reject}", self.engine.source(event));
                            return Err(self.fatal(reject.stage.name(), found));
                        }
                    }
                }
            }
        }
        if !again.is_empty() {
            // What a shadow model said of them it says again.
            outbox.messages.retain(|message| !again.contains(&(message.event as usize)));
        }
        Ok(again)
    }

    /// Writes receipts after all else: only when the sink has taken a reply is it known how an event ended.
    fn give_receipts(
        &mut self,
        events: &[Incoming],
        again: &[usize],
        outbox: &Outbox,
    ) -> Result<(), Trouble> {
        let mut receipts = Outbox::default();
        for (at, event) in events.iter().enumerate().filter(|(at, _)| !again.contains(at)) {
            let outcome = &outbox.outcomes[at];
            let dropped =
                matches!(outcome, Outcome::Failed(reject) if self.failure(reject.stage).then == Then::Drop);
            self.engine.receipt(event, at, if dropped { "dropped" } else { word(outcome) }, &mut receipts);
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

    fn failure(&self, stage: Stage) -> Failure {
        match stage {
            Stage::Queue | Stage::Decode => self.options.failures.decode,
            Stage::Score => self.options.failures.score,
            Stage::Sink => self.options.failures.sink,
        }
    }

    /// Rejects an event whose reply the sink does not take.
    fn refuse(
        &mut self,
        events: &[Incoming],
        at: usize,
        reject: Reject,
        outbox: &mut Outbox,
    ) -> Result<(), Trouble> {
        let failure = self.options.failures.sink;
        // Where it is the reject itself that is not taken, its own reason says more.
        let reject = match &outbox.outcomes[at] {
            Outcome::Failed(first) | Outcome::Expired(first) => first.clone(),
            _ => reject,
        };
        let found = format!("{}: {reject}", self.engine.source(&events[at]));
        match failure.then {
            Then::Stop => return Err(self.fatal(Stage::Sink.name(), found)),
            Then::Drop => {}
            Then::Reject => {
                let mut rejects = Outbox::default();
                self.engine.reject_cut(&events[at], at, &reject, &mut rejects);
                let refused = self.transport.send(self.batch, events, &rejects)?;
                if let Some(again) = refused.first() {
                    // Not even so little of it is taken: only the operator can help.
                    return Err(
                        self.fatal(Stage::Sink.name(), format!("{found}; its reject: {}", again.text))
                    );
                }
            }
        }
        outbox.messages.retain(|message| message.event != at as u32 || message.to != To::Replies);
        outbox.outcomes[at] = Outcome::Failed(reject);
        Ok(())
    }
}
