//! Moves events from a transport through the engine and back, and keeps the guarantee.
//!
//! An event is *taken* when it is read and *done* when what it leads to is safe: delivered (at least once), or in the open
//! transaction (exactly once). What is committed is where a reader must begin so that nothing that is not done is missed
//! ([`Ledger`]). Whatever goes wrong, the answer is one and the same: take back what is not committed and read it again.

mod batch;
mod ledger;
mod partitions;
mod queue;
mod transport;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use ledger::Ledger;
pub use queue::Queue;
pub use transport::{Change, Position, Records, Refused, Transport, Trouble};

use crate::clock::Clock;
use crate::config::{FlowConfig, Guarantee, KafkaConfig, Mode, Stages};
use crate::engine::Engine;
use crate::event::{Incoming, Part};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::state::Undo;
use crate::{Error, Result};

/// The wait after the first failure; each one doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The longest wait between two tries.
const MOST_BACKOFF: Duration = Duration::from_secs(5);

/// How long an idle flow waits for events before it looks at its clock and its stop sign.
const IDLE: Duration = Duration::from_millis(50);

/// In `message` mode no event waits for more than so many others that were there with it.
const MOST_MESSAGES: usize = 32;

/// What a worker's flow is told.
#[derive(Clone)]
pub struct FlowOptions {
    /// The worker's number.
    pub worker: usize,
    /// Batches and queues.
    pub flow: FlowConfig,
    /// What to do where a stage fails.
    pub failures: Stages,
    /// What a crash may do.
    pub guarantee: Guarantee,
    /// How often to commit.
    pub commit: Duration,
    /// How long a stop may take.
    pub drain: Duration,
    /// How long to wait where failure follows on failure; each time twice as long.
    pub backoff: Duration,
}

impl FlowOptions {
    /// Of a config; in `message` mode a batch waits for no event that is not there yet.
    pub fn new(worker: usize, flow: &FlowConfig, failures: Stages, kafka: &KafkaConfig) -> Self {
        let mut flow = flow.clone();
        if kafka.mode == Mode::Message {
            (flow.batch_events, flow.batch_ms) = (flow.batch_events.min(MOST_MESSAGES), 0);
        }
        Self {
            worker,
            flow,
            failures,
            guarantee: kafka.guarantee,
            commit: Duration::from_millis(kafka.commit_ms),
            drain: Duration::from_millis(kafka.drain_timeout_ms),
            backoff: FIRST_BACKOFF,
        }
    }
}

/// A worker's flow.
pub struct Flow<T> {
    engine: Arc<Engine>,
    /// The engine's clock.
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    options: FlowOptions,
    transport: T,
    /// A queue for each route.
    queues: Vec<Queue>,
    /// The queue that is next to give an event.
    turn: usize,
    /// Events that wait for another try, with the end of their wait.
    penalised: Vec<(Instant, Incoming)>,
    /// No batch before this moment.
    yields: Option<Instant>,
    ledgers: BTreeMap<Part, Ledger>,
    /// Where to begin if nothing of what was done since the last commit counts.
    committed: BTreeMap<Part, (Option<i64>, String)>,
    /// The state's changes since the last commit.
    undo: Vec<Undo>,
    /// Batches that have not arrived, with the turns of their events; at least once only.
    underway: VecDeque<(u64, Vec<(Part, u64)>)>,
    batch: u64,
    paused: Vec<Part>,
    /// Changes of partitions that are still to be made: a failure in one does not end those after it.
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
    /// A flow that has not begun.
    pub fn new(engine: Arc<Engine>, metrics: Arc<Metrics>, options: FlowOptions, transport: T) -> Self {
        let routes = engine.routes.all();
        let queues =
            routes.iter().map(|route| Queue::new(options.flow.order.clone(), route.bounds)).collect();
        Self {
            queues,
            metrics,
            options,
            transport,
            turn: 0,
            penalised: Vec::new(),
            yields: None,
            ledgers: BTreeMap::new(),
            committed: BTreeMap::new(),
            undo: Vec::new(),
            underway: VecDeque::new(),
            batch: 0,
            paused: Vec::new(),
            changes: VecDeque::new(),
            last_commit: engine.clock.now(),
            clock: Arc::clone(&engine.clock),
            engine,
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
            self.settle(done, stop)?;
        }
        let deadline = self.clock.now() + self.options.drain;
        while self.waiting() > 0 && self.clock.now() < deadline {
            match self.answer_next().and_then(|()| self.look_at_arrivals(Duration::ZERO)) {
                Ok(()) => {}
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(trouble) => return Self::leave(trouble),
            }
        }
        let left = deadline.saturating_duration_since(self.clock.now()).max(Duration::from_millis(500));
        self.commit(left).or_else(Self::leave)
    }

    /// What a stop could not commit is read again by whoever comes next.
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

    /// The transport, when the flow has ended.
    pub fn into_transport(self) -> T {
        self.transport
    }

    /// One turn of the loop.
    fn step(&mut self) -> Result<(), Trouble> {
        let changes = self.receive()?;
        self.changes.extend(changes);
        while let Some(change) = self.changes.pop_front() {
            self.change(change)?;
        }
        self.admit()?;
        self.end_penalties();
        if self.is_batch_due() {
            self.answer_next()?;
        }
        self.look_at_arrivals(Duration::ZERO)?;
        if self.unsaved && self.clock.since(self.last_commit) >= self.options.commit {
            self.commit(Duration::ZERO)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<Change>, Trouble> {
        let flow = &self.options.flow;
        let most = flow.batch_events.saturating_sub(self.waiting()).max(1);
        // The stop sign is looked at again after this.
        let mut wait = IDLE;
        if self.yields.is_none() {
            if let Some(received) = self.oldest() {
                wait =
                    wait.min(Duration::from_millis(flow.batch_ms).saturating_sub(self.clock.since(received)));
            }
            if self.waiting() >= flow.batch_events
                || self.paused.len() == self.ledgers.len() && self.waiting() > 0
            {
                wait = Duration::ZERO;
            }
        }
        if self.unsaved {
            wait = wait.min(self.options.commit.saturating_sub(self.clock.since(self.last_commit)));
        }
        if !self.underway.is_empty() {
            // Deliveries are looked at often enough to commit them in time.
            wait = wait.min(Duration::from_millis(5));
        }
        let now = self.clock.now();
        let ends = self.penalised.iter().map(|(end, _)| *end).chain(self.yields);
        if let Some(end) = ends.min() {
            wait = wait.min(end.saturating_duration_since(now));
        }
        self.transport.receive(wait, most, &mut self.received)
    }

    /// Puts what was received into the queues, and pauses partitions whose queue is full.
    fn admit(&mut self) -> Result<(), Trouble> {
        if !self.received.is_empty() {
            self.metrics.received(&self.received);
        }
        for mut event in self.received.drain(..) {
            // An event of a partition that was given up meanwhile is another's.
            let Some(ledger) = self.ledgers.get_mut(&event.part) else { continue };
            if let Some(turn) = ledger.take(event.offset) {
                (event.turn, event.worker) = (turn, self.options.worker);
                self.queues[self.engine.routes.of(&event)].push(event);
            } else {
                self.unsaved = true;
            }
        }
        self.pause()
    }

    fn pause(&mut self) -> Result<(), Trouble> {
        let routes = self.engine.routes.all();
        let full: Vec<Option<u16>> = self
            .queues
            .iter_mut()
            .zip(routes)
            .filter_map(|(queue, route)| queue.is_full().then(|| route.topic()))
            .collect();
        if full.is_empty() && self.paused.is_empty() {
            return Ok(());
        }
        let must = |part: &Part| full.iter().any(|topic| topic.is_none_or(|topic| topic == part.topic));
        let pause: Vec<Part> =
            self.ledgers.keys().filter(|part| must(part) && !self.paused.contains(part)).copied().collect();
        let resume: Vec<Part> = self.paused.iter().filter(|part| !must(part)).copied().collect();
        if !pause.is_empty() {
            self.transport.pause(&pause, true)?;
        }
        if !resume.is_empty() {
            self.transport.pause(&resume, false)?;
        }
        self.paused.retain(|part| !resume.contains(part));
        self.paused.extend(pause);
        Ok(())
    }

    /// How many events wait in the queues.
    fn waiting(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    /// When the oldest waiting event was read.
    fn oldest(&self) -> Option<Instant> {
        self.queues.iter().filter_map(Queue::oldest).min()
    }

    fn is_batch_due(&mut self) -> bool {
        if let Some(end) = self.yields {
            if self.clock.now() < end {
                return false;
            }
            self.yields = None;
        }
        let flow = &self.options.flow;
        let ripe = |received: Instant| self.clock.since(received) >= Duration::from_millis(flow.batch_ms);
        self.waiting() >= flow.batch_events || self.oldest().is_some_and(ripe)
    }

    fn end_penalties(&mut self) {
        if self.penalised.is_empty() {
            return;
        }
        let now = self.clock.now();
        let (over, still): (Vec<_>, Vec<_>) = self.penalised.drain(..).partition(|(end, _)| *end <= now);
        self.penalised = still;
        for (_, event) in over {
            self.queues[self.engine.routes.of(&event)].push_front(event);
        }
    }

    /// Marks as done what has arrived.
    fn look_at_arrivals(&mut self, wait: Duration) -> Result<(), Trouble> {
        if self.underway.is_empty() {
            return Ok(());
        }
        let last = self.transport.arrived(wait)?;
        while self.underway.front().is_some_and(|(batch, _)| *batch <= last) {
            let (_, turns) = self.underway.pop_front().expect("there is a first");
            self.done(&turns);
        }
        Ok(())
    }

    fn done(&mut self, turns: &[(Part, u64)]) {
        for (part, turn) in turns {
            if let Some(ledger) = self.ledgers.get_mut(part) {
                ledger.done(*turn);
            }
        }
        self.unsaved = true;
    }

    /// Helps with what went wrong; returns when the flow can go on.
    fn settle(&mut self, done: Result<(), Trouble>, stop: &AtomicBool) -> Result<()> {
        let mut trouble = match done {
            Ok(()) => return Ok(()),
            Err(trouble) => trouble,
        };
        loop {
            let (text, rebuild) = match trouble {
                Trouble::Abort(text) => (text, false),
                Trouble::Rebuild(text) => (text, true),
                Trouble::Later(_) => return Ok(()),
                Trouble::Fatal(error) => return Err(error),
            };
            self.metrics.trouble(&text, rebuild);
            tracing::warn!(cause = text, rebuild, "taking back what is not committed");
            self.failures_in_a_row += 1;
            let backoff = self.options.backoff.saturating_mul(1 << self.failures_in_a_row.min(7));
            let until = self.clock.now() + backoff.min(MOST_BACKOFF);
            let positions = self.take_back();
            match self.transport.abort(rebuild).and_then(|()| self.read_again(positions, rebuild)) {
                Ok(()) => {
                    // An abort that cures is over at once; only what fails again and again waits.
                    while self.failures_in_a_row > 1
                        && self.clock.now() < until
                        && !stop.load(Ordering::Relaxed)
                    {
                        self.nap(until);
                    }
                    return Ok(());
                }
                Err(Trouble::Fatal(error)) => return Err(error),
                Err(Trouble::Abort(text) | Trouble::Rebuild(text) | Trouble::Later(text)) => {
                    trouble = Trouble::Rebuild(text);
                }
            }
            while self.clock.now() < until && !stop.load(Ordering::Relaxed) {
                self.nap(until);
            }
            if stop.load(Ordering::Relaxed) {
                // What is not committed is read again by whoever comes next.
                return Ok(());
            }
        }
    }

    /// Waits for a part of the time until a moment, so that the stop sign is looked at in between.
    fn nap(&self, until: Instant) {
        let left = until.saturating_duration_since(self.clock.now());
        self.clock.sleep(left.min(Duration::from_millis(10)));
    }

    /// Forgets all that is not committed; gives where to read on.
    fn take_back(&mut self) -> Vec<Position> {
        self.engine.state.undo(std::mem::take(&mut self.undo));
        self.queues.iter_mut().for_each(|queue| queue.drop_parts(|_| true));
        self.penalised.clear();
        self.received.clear();
        self.underway.clear();
        self.unsaved = false;
        self.yields = None;
        for (part, ledger) in &mut self.ledgers {
            let (next, metadata) = self.committed.get(part).cloned().unwrap_or_default();
            *ledger = Ledger::new(next, &metadata);
        }
        self.paused.clear();
        let at = |(part, (next, metadata)): (&Part, &(Option<i64>, String))| (*part, *next, metadata.clone());
        self.committed.iter().map(at).collect()
    }

    fn fatal(&self, stage: &'static str, found: String) -> Trouble {
        Trouble::Fatal(Error::Stop { stage, found })
    }
}
