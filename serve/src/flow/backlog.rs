//! Events that were read and wait: for their batch, in a queue for each route, or for another try.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Queue;
use super::lane::Lane;
use crate::config::Order;
use crate::event::{Incoming, TopicPartition};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::settings::Settings;

/// How many events are read at once where more is read than a batch takes.
const READ: usize = 1024;

/// How many events that may be answered wait at most, or four batches, where they are answered in the order in which they came: with
/// many more each has left the processor's caches when its turn comes, which costs a third of the throughput.
const AHEAD: usize = 2048;

/// The events of a worker that are not answered yet.
pub struct Backlog {
    /// The settings by which events are queued.
    settings: Arc<Settings>,
    /// The most events of a batch, and how long it waits for them.
    batch: (usize, Duration),
    /// A queue for each route.
    queues: Vec<Queue>,
    /// A lane for each tenant and one for events of none; no lanes where there are no tenants.
    lanes: Vec<Lane>,
    /// The queue or the lane that gave the last event.
    turn: usize,
    /// Events that wait for another try, with the end of their wait.
    penalised: Vec<(Instant, Incoming)>,
    /// No batch is due before this moment.
    yield_until: Option<Instant>,
    /// Whether the next batch depends on what waits beyond it: more is then read than it takes, up to the queues' bounds.
    pub reads_ahead: bool,
    /// Whether quotas are overdrawn, as what waits must be answered now.
    pub overdraws: bool,
}

impl Backlog {
    /// Makes empty queues.
    pub fn new(settings: Arc<Settings>, metrics: &Metrics) -> Self {
        let (routes, flow) = (settings.routes.all(), &settings.flow);
        let queues = routes.iter().map(|route| Queue::new(flow.order.clone(), route.bounds)).collect();
        let batch = (flow.batch_events, Duration::from_millis(flow.batch_ms));
        let reads_ahead = flow.order != Order::FirstIn || routes.len() > 1;
        let (turn, penalised, yield_until, overdraws) = (0, Vec::new(), None, false);
        let tenants = settings.tenants.all();
        let lane = |tenant| Lane::new(tenant, &settings.routes, metrics);
        let mut lanes: Vec<Lane> = tenants.iter().enumerate().map(|of| lane(Some(of))).collect();
        if !lanes.is_empty() {
            lanes.push(lane(None));
        }
        Self { settings, batch, queues, lanes, turn, penalised, yield_until, reads_ahead, overdraws }
    }

    /// Takes up other settings: what waits is queued by them, in the order in which it came; in another order than that after
    /// what was tried before.
    pub fn take_up(&mut self, settings: Arc<Settings>, metrics: &Metrics) {
        let old = std::mem::replace(self, Self::new(settings, metrics));
        let mut waiting: Vec<Incoming> = old.queues.into_iter().flat_map(Queue::into_events).collect();
        waiting.extend(old.lanes.into_iter().flat_map(Lane::into_refused));
        // Several may have been read at one moment; of a partition they have turns.
        waiting.sort_by_key(|event| (event.received, event.part, event.turn));
        let is_ranked = self.settings.flow.order != Order::FirstIn;
        let is_tried = |event: &Incoming| is_ranked && event.attempts > 0;
        let (tried, mut new): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_tried);
        self.queue(&mut new, false);
        tried.into_iter().rev().for_each(|event| self.push_front(event));
        (self.penalised, self.yield_until) = (old.penalised, old.yield_until);
    }

    /// Moves events that were read to the queues of their routes.
    pub fn extend(&mut self, events: &mut Vec<Incoming>) {
        self.queue(events, true);
    }

    /// Does so, and counts them by tenant where they come for the first time.
    fn queue(&mut self, events: &mut Vec<Incoming>, are_new: bool) {
        if let [queue] = &mut self.queues[..] {
            return queue.extend(events);
        }
        for event in events.drain(..) {
            let (route, event) = self.placed(event);
            let kept = match self.lanes.get_mut(usize::from(event.tenant)) {
                Some(lane) => {
                    if are_new {
                        lane.note_read(&event);
                    }
                    lane.refuse(event, &self.queues)
                }
                None => Some(event),
            };
            kept.into_iter().for_each(|event| self.queues[route].push(event));
        }
        self.lanes.iter_mut().for_each(Lane::count_read);
    }

    fn push_front(&mut self, event: Incoming) {
        let (route, event) = self.placed(event);
        self.queues[route].push_front(event);
    }

    /// Returns the lane of a route.
    fn lane_of(&self, route: usize) -> usize {
        self.settings.routes.all()[route].tenant.unwrap_or(self.lanes.len() - 1)
    }

    /// Returns the route of an event, which is told its lane.
    fn placed(&self, mut event: Incoming) -> (usize, Incoming) {
        let route = self.settings.routes.of(&event);
        if !self.lanes.is_empty() {
            event.tenant = self.lane_of(route) as u16;
        }
        (route, event)
    }

    /// Returns how many events wait in the queues.
    pub fn len(&self) -> usize {
        match &self.lanes[..] {
            [] => self.queues.iter().map(Queue::len).sum(),
            lanes => lanes.iter().map(|lane| lane.len(&self.queues)).sum(),
        }
    }

    /// Returns how many of them wait for no quota.
    pub fn len_open(&self) -> usize {
        match &self.lanes[..] {
            [] => self.len(),
            lanes => lanes.iter().map(|lane| lane.len_open(&self.queues)).sum(),
        }
    }

    /// Returns whether nothing waits, for another try either.
    pub fn is_drained(&self) -> bool {
        self.len() == 0 && self.penalised.is_empty()
    }

    /// Returns whether a batch is full.
    pub fn is_full_batch(&self) -> bool {
        self.len_open() >= self.batch.0
    }

    /// Returns whether some queue had no room when it was last looked at.
    pub fn was_full(&self) -> bool {
        self.queues.iter().any(Queue::was_full) || self.lanes.iter().any(Lane::was_full)
    }

    /// Returns the queues, one for each route.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Returns how many events to read next.
    pub fn room(&self) -> usize {
        match self.reads_ahead {
            true if self.settings.flow.order == Order::FirstIn => {
                READ.min(AHEAD.max(4 * self.batch.0).saturating_sub(self.len_open()))
            }
            true => READ,
            false => self.batch.0.saturating_sub(self.len()).max(1),
        }
    }

    /// Returns when the next batch is due by its age, unless nothing waits, it is full already, or the flow yields.
    pub fn due(&self) -> Option<Instant> {
        if self.is_full_batch() || self.is_yielding() {
            return None;
        }
        let oldest = match &self.lanes[..] {
            [] => self.queues.iter().filter_map(Queue::oldest).min(),
            lanes => lanes.iter().filter_map(|lane| lane.oldest(&self.queues)).min(),
        };
        oldest.map(|received| received + self.batch.1)
    }

    /// Returns whether the whole flow waits before a retry.
    pub fn is_yielding(&self) -> bool {
        self.yield_until.is_some()
    }

    /// Returns when the first event is to be tried again, or a quota lets more pass.
    pub fn next_try(&self) -> Option<Instant> {
        let opens = self.lanes.iter().filter_map(|lane| lane.opens(&self.queues));
        self.penalised.iter().map(|(end, _)| *end).chain(self.yield_until).chain(opens).min()
    }

    /// Returns whether a batch is to be answered now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.yield_until = self.yield_until.filter(|end| now < *end);
        self.lanes.iter_mut().for_each(|lane| lane.open(now));
        self.yield_until.is_none() && (self.is_full_batch() || self.due().is_some_and(|due| due <= now))
    }

    /// Takes the next events up to a batch: one of each route's queue in turn, or of each tenant as many as its weight says, where
    /// its quota lets them pass.
    pub fn take(&mut self, now: Instant, into: &mut Vec<Incoming>) {
        if let [queue] = &mut self.queues[..] {
            return queue.take(self.batch.0.saturating_sub(into.len()), into);
        }
        let n = if self.lanes.is_empty() { self.queues.len() } else { self.lanes.len() };
        let mut longest = vec![None; self.lanes.len()];
        self.lanes.iter_mut().for_each(|lane| lane.begin(now, self.overdraws, &self.queues));
        let mut empty = 0;
        while into.len() < self.batch.0 && empty < n {
            self.turn = (self.turn + 1) % n;
            let room = self.batch.0 - into.len();
            let given = match self.lanes.get_mut(self.turn) {
                Some(lane) => lane.give(&mut self.queues, room, &mut longest[self.turn], into),
                None => {
                    let before = into.len();
                    into.extend(self.queues[self.turn].pop());
                    into.len() - before
                }
            };
            empty = if given > 0 { 0 } else { empty + 1 };
        }
        let ends = self.lanes.iter_mut().zip(longest);
        ends.for_each(|(lane, longest)| lane.end(now, self.batch.1, longest));
    }

    /// Counts by tenant how the events of a batch ended, but for those that are tried again.
    pub fn count_ends(&mut self, events: &[Incoming], outbox: &Outbox, retried: &[usize]) {
        if self.lanes.is_empty() {
            return;
        }
        for (at, outcome) in outbox.outcomes.iter().enumerate().filter(|(at, _)| !retried.contains(at)) {
            if let Some(lane) = self.lanes.get_mut(usize::from(events[at].tenant)) {
                lane.ended(outcome);
            }
        }
        self.lanes.iter_mut().for_each(Lane::count_ends);
    }

    /// Puts events back before all others, and lets no batch begin before a moment.
    pub fn hold(&mut self, events: impl DoubleEndedIterator<Item = Incoming>, until: Instant) {
        self.yield_until = Some(until);
        events.rev().for_each(|event| self.push_front(event));
    }

    /// Lets an event wait for another try while others pass it.
    pub fn penalise(&mut self, event: Incoming, until: Instant) {
        self.penalised.push((until, event));
    }

    /// Puts events whose wait is over before all others.
    pub fn end_penalties(&mut self, is_over: impl Fn(Instant) -> bool) {
        let (over, still): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.penalised).into_iter().partition(|(end, _)| is_over(*end));
        self.penalised = still;
        over.into_iter().for_each(|(_, event)| self.push_front(event));
    }

    /// Drops the events of some partitions.
    pub fn drop_partitions(&mut self, parts: &[TopicPartition]) {
        self.queues.iter_mut().for_each(|queue| queue.drop_partitions(|part| parts.contains(&part)));
        self.lanes.iter_mut().for_each(|lane| lane.drop_partitions(|part| parts.contains(&part)));
        self.penalised.retain(|(_, event)| !parts.contains(&event.part));
    }

    /// Drops all events.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.drop_partitions(|_| true));
        self.lanes.iter_mut().for_each(|lane| lane.drop_partitions(|_| true));
        self.penalised.clear();
        self.yield_until = None;
    }

    /// Returns the topics whose partitions must not be read now, as a queue of theirs is full; `None` stands for all.
    pub fn full_topics(&mut self) -> Vec<Option<u16>> {
        let routes = &self.settings.routes;
        if !self.lanes.is_empty() {
            let mut full = Vec::new();
            let lanes = self.lanes.iter_mut();
            lanes.for_each(|lane| lane.add_full_topics(&mut self.queues, routes, &mut full));
            return full;
        }
        let full = self.queues.iter_mut().zip(routes.all());
        full.filter_map(|(queue, route)| queue.is_full().then(|| route.topic())).collect()
    }
}
