//! Moves events from a transport through the engine and back, and keeps the guarantee.
//!
//! An event is *taken* when it is read. It is *done* when the messages that it leads to are safe: delivered (with
//! at-least-once), or in the open transaction (with exactly-once). The committed position of a partition is where a
//! reader must begin to miss no event that is not done ([`Ledger`]). Whatever goes wrong, the flow rolls back to the
//! committed positions and reads on from there.

mod backlog;
mod batch;
mod erase;
mod lane;
mod ledger;
mod offsets;
mod options;
mod partitions;
mod pause;
mod queue;
mod recovery;
mod trail;
mod transport;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backlog::Backlog;
use batch::{BatchWriter, first_to_yield, mark_refused, note_elsewhere};
pub use ledger::Ledger;
use offsets::Offsets;
pub use options::FlowOptions;
pub use queue::Queue;
use trail::Trail;
pub use transport::{Change, End, Position, Records, Refused, Transport, Trouble};

use crate::Result;
use crate::clock::Clock;
use crate::config::Guarantee;
use crate::engine::{Engine, Reading};
use crate::event::{Incoming, TopicPartition};
use crate::metrics::Metrics;
use crate::outbox::{EventOutcome, Outbox};
use crate::settings::{Live, Run};
use crate::state::Undo;

/// How long an idle flow waits for events before it looks at its clock and whether it is to stop.
const IDLE: Duration = Duration::from_millis(50);

/// How long a flow with messages in flight waits for events, so that it notes deliveries in time for the next commit.
const IN_FLIGHT: Duration = Duration::from_millis(5);

/// For how long a batch waits for more of what is known to wait in the topics, while nothing of it comes.
const QUIET: Duration = Duration::from_millis(50);

/// The same after partitions were assigned, when the brokers are asked for their events for the first time.
const FIRST_QUIET: Duration = Duration::from_secs(1);

/// How much longer than `kafka.commit_ms` a batch may take until it is committed, before the worker counts as stalled.
const STALLED: Duration = Duration::from_secs(10);

/// The least time that a stop leaves for its last commit.
const LAST_COMMIT: Duration = Duration::from_millis(500);

/// A worker's flow.
pub struct Flow<T> {
    engine: Arc<Engine>,
    /// The engine's clock.
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    options: FlowOptions,
    transport: T,
    /// Whether all that was read is answered and committed, while nothing more is read.
    is_drained: bool,
    /// The settings and the models that answer, and how often they had been exchanged.
    live: Arc<Live>,
    exchanges: u64,
    backlog: Backlog,
    offsets: Offsets,
    /// What takes back the changes of histories since the last commit.
    undo: Vec<Undo>,
    /// Users erased since the last commit, by the keys of their records.
    erased: Vec<(TopicPartition, Vec<u8>)>,
    /// The number of the last batch.
    batch: u64,
    trail: Trail,
    paused: Vec<TopicPartition>,
    /// Whether nothing is taken for now, of any partition.
    is_holding: bool,
    /// When what is known to wait in the topics is no longer waited for.
    quiet: Instant,
    /// Assigned and revoked partitions that are still to be handled: a failure with one leaves those after it here.
    changes: VecDeque<Change>,
    last_commit: Instant,
    /// Whether anything was done since the last commit.
    unsaved: bool,
    failures_in_a_row: u32,
    received: Vec<Incoming>,
    events: Vec<Incoming>,
    outbox: Outbox,
}

impl<T: Transport> Flow<T> {
    /// Makes a flow that has not begun. Its clock is the engine's.
    pub fn new(engine: Arc<Engine>, metrics: Arc<Metrics>, options: FlowOptions, transport: T) -> Self {
        let (exchanges, live) = (engine.models.exchanges(), engine.models.live());
        Self {
            backlog: Backlog::new(Arc::clone(&live.settings), &metrics),
            live,
            exchanges,
            is_drained: false,
            last_commit: engine.clock.now(),
            quiet: engine.clock.now(),
            clock: Arc::clone(&engine.clock),
            trail: Trail::new(engine.tracer.clone()),
            engine,
            metrics,
            options,
            transport,
            offsets: Offsets::default(),
            undo: Vec::new(),
            erased: Vec::new(),
            batch: 0,
            paused: Vec::new(),
            is_holding: false,
            changes: VecDeque::new(),
            unsaved: false,
            failures_in_a_row: 0,
            received: Vec::new(),
            events: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Runs until `stop` is set, then finishes what was read and commits it.
    ///
    /// # Errors
    /// When it cannot go on: fenced, or a failure that the config says to stop at.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let done = self.step();
            self.recover(done, stop)?;
        }
        let deadline = self.clock.now() + self.options.drain;
        // What waits for a quota is left to the next reader of its partition.
        let is_paused = self.live.settings.run == Run::Paused;
        while self.backlog.len_open() > 0 && !is_paused && self.clock.now() < deadline {
            match self.answer_next().and_then(|()| self.look_at_deliveries(Duration::ZERO)) {
                Ok(()) => {}
                Err(trouble) => return Self::leave(trouble),
            }
        }
        let left = deadline.saturating_duration_since(self.clock.now()).max(LAST_COMMIT);
        self.commit(left).or_else(Self::leave)
    }

    /// Ends without the last commit: the next reader of the partitions reads again what is not committed.
    fn leave(trouble: Trouble) -> Result<()> {
        match trouble {
            Trouble::Fatal(error) => Err(error),
            Trouble::Abort(text) | Trouble::Rebuild(text) | Trouble::Later(text) => {
                tracing::warn!(
                    cause = text,
                    "stopped before the last commit; what is not committed is read again"
                );
                Ok(())
            }
        }
    }

    /// Returns the transport, when the flow has ended.
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// Runs the loop once: receives, answers a batch if one is due, and commits if it is time.
    fn step(&mut self) -> Result<(), Trouble> {
        let changes = self.receive()?;
        self.changes.extend(changes);
        while let Some(change) = self.changes.pop_front() {
            self.change(change)?;
        }
        self.take_up();
        self.admit()?;
        // Before a batch is taken: what is left afterwards is little however much had to wait.
        self.metrics.queues(self.options.worker, self.backlog.queues().iter().map(Queue::level));
        let now = self.clock.now();
        self.backlog.end_penalties(|end| end <= now);
        let is_paused = self.live.settings.run == Run::Paused;
        if !is_paused && self.backlog.is_due(now) && !self.is_filling(now) {
            self.answer_next()?;
        }
        self.look_at_deliveries(Duration::ZERO)?;
        self.note_lags();
        if self.unsaved && self.clock.since(self.last_commit) >= self.options.commit {
            self.commit(Duration::ZERO)?;
        }
        if self.live.settings.run == Run::Draining {
            self.drain()?;
        }
        Ok(())
    }

    /// Says that all that was read is answered and committed, once it is. With at-least-once commits go by in the background, so
    /// that the last one is waited for.
    fn drain(&mut self) -> Result<(), Trouble> {
        let is_answered = self.backlog.is_drained() && !self.offsets.is_in_flight();
        if is_answered && !self.is_drained {
            self.commit(IDLE)?;
        }
        self.is_drained = is_answered && !self.unsaved;
        self.metrics.progress.drained(self.options.worker, self.is_drained);
        Ok(())
    }

    /// Takes up settings and models that were exchanged. Until the next time they hold, for whole batches.
    fn take_up(&mut self) {
        let exchanges = self.engine.models.exchanges();
        if exchanges == self.exchanges {
            return;
        }
        self.exchanges = exchanges;
        let live = self.engine.models.live();
        if !Arc::ptr_eq(&live.settings, &self.live.settings) {
            self.backlog.take_up(Arc::clone(&live.settings), &self.metrics);
            self.metrics.no_queues_from(self.options.worker, self.backlog.queues().len());
            self.is_drained = false;
            self.metrics.progress.drained(self.options.worker, false);
        }
        self.live = live;
    }

    /// Waits for events until something else is due.
    fn receive(&mut self) -> Result<Vec<Change>, Trouble> {
        let now = self.clock.now();
        let until = |moment: Instant| moment.saturating_duration_since(now);
        let backlog = &self.backlog;
        let mut wait = IDLE;
        if let Some(due) = backlog.due() {
            wait = wait.min(until(due));
        }
        let run = self.live.settings.run;
        let none_is_read = self.is_holding || self.paused.len() == self.offsets.partitions().count();
        let all_paused = none_is_read && backlog.len_open() > 0;
        if run == Run::Paused {
            wait = IDLE;
        } else if self.is_filling(now) {
            wait = wait.min(until(self.quiet));
        } else if !backlog.is_yielding() && (backlog.is_full_batch() || all_paused) {
            wait = Duration::ZERO;
        }
        if self.unsaved {
            wait = wait.min(until(self.last_commit + self.options.commit));
        }
        if self.offsets.is_in_flight() {
            wait = wait.min(IN_FLIGHT);
        }
        if let Some(next) = backlog.next_try() {
            wait = wait.min(until(next));
        }
        let most = if self.is_holding { 0 } else { self.backlog.room() };
        self.transport.receive(wait, most, &mut self.received)
    }

    /// Returns whether the queues are still being filled with what waits in the topics, so that the next batch is chosen
    /// among all of it.
    fn is_filling(&self, now: Instant) -> bool {
        self.backlog.reads_ahead
            && now < self.quiet
            && !self.backlog.was_full()
            && self.backlog.room() > 0
            && self.offsets.is_behind(&self.paused)
    }

    /// Puts what was received into the queues, and pauses partitions whose queue is full.
    fn admit(&mut self) -> Result<(), Trouble> {
        if !self.received.is_empty() {
            self.metrics.received(&self.received);
            self.quiet = self.quiet.max(self.clock.now() + QUIET);
        }
        let (offsets, unsaved, worker) = (&mut self.offsets, &mut self.unsaved, self.options.worker);
        self.received.retain_mut(|event| {
            // An event of a partition that was revoked meanwhile belongs to the partition's next owner.
            let Some(ledger) = offsets.ledger(event.part) else { return false };
            let turn = ledger.take(event.offset);
            (event.turn, event.worker) = (turn.unwrap_or_default(), worker);
            *unsaved |= turn.is_none();
            turn.is_some()
        });
        self.backlog.extend(&mut self.received);
        self.pause()
    }

    /// Answers the next batch.
    fn answer_next(&mut self) -> Result<(), Trouble> {
        let mut events = std::mem::take(&mut self.events);
        self.backlog.take(self.clock.now(), &mut events);
        if events.is_empty() {
            self.events = events;
            return Ok(());
        }
        self.metrics.progress.promise(self.options.worker, self.clock.now() + self.options.commit + STALLED);
        let mut outbox = std::mem::take(&mut self.outbox);
        let result = self.answer(&mut events, &mut outbox);
        events.clear();
        outbox.clear();
        (self.events, self.outbox) = (events, outbox);
        result
    }

    fn answer(&mut self, events: &mut Vec<Incoming>, outbox: &mut Outbox) -> Result<(), Trouble> {
        let start = self.clock.now();
        let (before, live) = (self.undo.len(), Arc::clone(&self.live));
        let settings = &*live.settings;
        self.engine.answer_by(&live, events, Reading::default(), &mut self.undo, outbox);
        loop {
            let held = first_to_yield(settings, events, outbox);
            if held.is_none() && !mark_refused(&self.transport, events, outbox) {
                break;
            }
            // The batch is answered anew, without what is held or refused: later events of a user must not see it.
            let undo = self.undo.split_off(before);
            self.engine.state.undo(undo);
            outbox.clear();
            if let Some((at, backoff)) = held {
                // That event and all after it go back to the queue, as if they had not been taken from it.
                events[at].attempts += 1;
                events[at].refused = None;
                self.backlog.hold(events.drain(at..), self.clock.now() + backoff);
                if events.is_empty() {
                    return Ok(());
                }
            }
            self.engine.answer_by(&live, events, Reading::default(), &mut self.undo, outbox);
        }
        let scored = self.clock.now();
        note_elsewhere(&self.engine, &self.metrics, events, outbox);
        self.batch += 1;
        let (engine, transport) = (&*self.engine, &mut self.transport);
        let retried = BatchWriter { engine, settings, transport, batch: self.batch }.write(events, outbox)?;
        let ended = events.iter().enumerate().filter(|(at, _)| !retried.contains(at));
        let turns: Vec<_> = ended.map(|(_, event)| (event.part, event.turn)).collect();
        match self.options.guarantee {
            Guarantee::AtLeastOnce => {
                self.undo.clear();
                self.offsets.sent(self.batch, turns);
            }
            Guarantee::ExactlyOnce => {
                self.offsets.mark_done(&turns);
                self.unsaved = true;
            }
        }
        if !self.unsaved && !self.offsets.is_in_flight() {
            self.metrics.progress.keep(self.options.worker);
        }
        let now = self.clock.now();
        let moment = (now, self.clock.unix_ms());
        self.trail.add(self.batch, |tracer| tracer.batch(events, outbox, &retried, moment));
        let latency = events.first().map(|first| now.saturating_duration_since(first.received));
        let outcomes = outbox.outcomes.iter().enumerate().filter(|(at, _)| !retried.contains(at));
        self.metrics.batch(outcomes, scored - start, now - scored, latency);
        outbox.count_replies(&retried);
        self.backlog.count_ends(events, outbox, &retried);
        for at in retried.into_iter().rev() {
            let EventOutcome::Failed(reject) = &outbox.outcomes[at] else { continue };
            let until = now + settings.failure(reject.stage).backoff();
            self.backlog.penalise(events.swap_remove(at), until);
        }
        Ok(())
    }

    /// Marks the events of delivered batches as done.
    fn look_at_deliveries(&mut self, wait: Duration) -> Result<(), Trouble> {
        if self.offsets.is_in_flight() {
            let last = self.transport.delivered(wait)?;
            self.unsaved |= self.offsets.delivered(last);
        }
        Ok(())
    }
}
