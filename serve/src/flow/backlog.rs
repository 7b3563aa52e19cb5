//! Events that were read and wait: for their batch, in a queue for each route, or for another try.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Queue;
use crate::config::Order;
use crate::event::{Incoming, TopicPartition};
use crate::settings::Settings;

/// How many events are read at once where more is read than a batch takes.
const READ: usize = 1024;

/// The events of a worker that are not answered yet.
pub struct Backlog {
    /// The settings by which events are queued.
    settings: Arc<Settings>,
    /// The most events of a batch, and how long it waits for them.
    batch: (usize, Duration),
    /// A queue for each route.
    queues: Vec<Queue>,
    /// The queue that gave the last event.
    turn: usize,
    /// Events that wait for another try, with the end of their wait.
    penalised: Vec<(Instant, Incoming)>,
    /// No batch is due before this moment.
    yield_until: Option<Instant>,
    /// Whether the next batch depends on what waits beyond it: more is then read than it takes, up to the queues' bounds.
    pub reads_ahead: bool,
}

impl Backlog {
    /// Makes empty queues.
    pub fn new(settings: Arc<Settings>) -> Self {
        let (routes, flow) = (settings.routes.all(), &settings.flow);
        let queues = routes.iter().map(|route| Queue::new(flow.order.clone(), route.bounds)).collect();
        let batch = (flow.batch_events, Duration::from_millis(flow.batch_ms));
        let reads_ahead = flow.order != Order::FirstIn || routes.len() > 1;
        let (turn, penalised, yield_until) = (0, Vec::new(), None);
        Self { settings, batch, queues, turn, penalised, yield_until, reads_ahead }
    }

    /// Takes up other settings: what waits is queued by them, in the order in which it came; in another order than that after
    /// what was tried before.
    pub fn take_up(&mut self, settings: Arc<Settings>) {
        let old = std::mem::replace(self, Self::new(settings));
        let mut waiting: Vec<Incoming> = old.queues.into_iter().flat_map(Queue::into_events).collect();
        // Several may have been read at one moment; of a partition they have turns.
        waiting.sort_by_key(|event| (event.received, event.part, event.turn));
        let is_ranked = self.settings.flow.order != Order::FirstIn;
        let is_tried = |event: &Incoming| is_ranked && event.attempts > 0;
        let (tried, mut new): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_tried);
        self.extend(&mut new);
        tried.into_iter().rev().for_each(|event| self.push_front(event));
        (self.penalised, self.yield_until) = (old.penalised, old.yield_until);
    }

    /// Moves events to the queues of their routes.
    pub fn extend(&mut self, events: &mut Vec<Incoming>) {
        if let [queue] = &mut self.queues[..] {
            return queue.extend(events);
        }
        for event in events.drain(..) {
            self.queues[self.settings.routes.of(&event)].push(event);
        }
    }

    fn push_front(&mut self, event: Incoming) {
        self.queues[self.settings.routes.of(&event)].push_front(event);
    }

    /// Returns how many events wait in the queues.
    pub fn len(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    /// Returns whether nothing waits, for another try either.
    pub fn is_drained(&self) -> bool {
        self.len() == 0 && self.penalised.is_empty()
    }

    /// Returns whether a batch is full.
    pub fn is_full_batch(&self) -> bool {
        self.len() >= self.batch.0
    }

    /// Returns the queues, one for each route.
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Returns how many events to read next, at least one.
    pub fn room(&self) -> usize {
        match self.reads_ahead {
            true => READ,
            false => self.batch.0.saturating_sub(self.len()).max(1),
        }
    }

    /// Returns when the next batch is due by its age, unless nothing waits, it is full already, or the flow yields.
    pub fn due(&self) -> Option<Instant> {
        if self.is_full_batch() || self.is_yielding() {
            return None;
        }
        let oldest = self.queues.iter().filter_map(Queue::oldest).min();
        oldest.map(|received| received + self.batch.1)
    }

    /// Returns whether the whole flow waits before a retry.
    pub fn is_yielding(&self) -> bool {
        self.yield_until.is_some()
    }

    /// Returns when the first event is to be tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.penalised.iter().map(|(end, _)| *end).chain(self.yield_until).min()
    }

    /// Returns whether a batch is to be answered now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.yield_until = self.yield_until.filter(|end| now < *end);
        self.yield_until.is_none() && (self.is_full_batch() || self.due().is_some_and(|due| due <= now))
    }

    /// Takes the next events, one of each route's queue in turn, up to a batch.
    pub fn take(&mut self, into: &mut Vec<Incoming>) {
        if let [queue] = &mut self.queues[..] {
            return queue.take(self.batch.0.saturating_sub(into.len()), into);
        }
        let mut empty = 0;
        while into.len() < self.batch.0 && empty < self.queues.len() {
            self.turn = (self.turn + 1) % self.queues.len();
            match self.queues[self.turn].pop() {
                Some(event) => {
                    into.push(event);
                    empty = 0;
                }
                None => empty += 1,
            }
        }
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
        self.penalised.retain(|(_, event)| !parts.contains(&event.part));
    }

    /// Drops all events.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.drop_partitions(|_| true));
        self.penalised.clear();
        self.yield_until = None;
    }

    /// Returns the topics whose partitions must not be read now, as a queue of theirs is full; `None` stands for all.
    pub fn full_topics(&mut self) -> Vec<Option<u16>> {
        let routes = self.settings.routes.all();
        let full = self.queues.iter_mut().zip(routes);
        full.filter_map(|(queue, route)| queue.is_full().then(|| route.topic())).collect()
    }
}
