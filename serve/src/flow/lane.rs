//! The queues of a tenant's routes, with the tenant's quota.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Queue;
use super::queue::Fullness;
use crate::Reject;
use crate::config::Over;
use crate::event::{Incoming, TopicPartition};
use crate::metrics::{Metrics, TenantCounts};
use crate::outbox::{ENDS, EventOutcome};
use crate::settings::Routes;
use crate::tenants::{Allowance, Tenant, Way};

/// The events of a tenant that wait, or of none.
pub struct Lane {
    tenant: Option<(Arc<Tenant>, TenantCounts)>,
    /// The places of its routes, of which each has a queue.
    routes: Vec<usize>,
    /// The route whose queue gave the last event.
    turn: usize,
    /// Events that are over the quota and found the queue full: they are rejected when it is the tenant's turn.
    refused: VecDeque<Incoming>,
    refused_bytes: usize,
    fullness: Fullness,
    /// The quota is spent until this moment.
    closed_until: Option<Instant>,
    /// When it was last found open again: what came before has waited for the quota.
    opened: Option<Instant>,
    /// What of the quota is left to the batch that is being taken.
    allowance: Option<Allowance>,
    /// How many events were read and not counted yet, and their bytes.
    read: (u64, u64),
    /// How its events of the batch ended.
    ends: [u64; ENDS.len()],
}

impl Lane {
    /// Makes the lane of a tenant, or of the events of none.
    pub fn new(tenant: Option<(usize, &Arc<Tenant>)>, routes: &Routes, metrics: &Metrics) -> Self {
        let place = tenant.map(|(place, _)| place);
        let own = routes.all().iter().enumerate().filter(|(_, route)| route.tenant == place);
        Self {
            routes: own.map(|(at, _)| at).collect(),
            fullness: Fullness::new(tenant.map_or((usize::MAX, usize::MAX), |(_, tenant)| tenant.bounds)),
            tenant: tenant.map(|(_, tenant)| (Arc::clone(tenant), tenant.counts(metrics).clone())),
            turn: 0,
            refused: VecDeque::new(),
            refused_bytes: 0,
            closed_until: None,
            opened: None,
            allowance: None,
            read: (0, 0),
            ends: [0; ENDS.len()],
        }
    }

    /// Returns its routes' queues.
    fn own<'a>(&self, queues: &'a [Queue]) -> impl Iterator<Item = &'a Queue> {
        self.routes.iter().map(move |at| &queues[*at])
    }

    fn waiting(&self, queues: &[Queue]) -> usize {
        self.own(queues).map(Queue::len).sum()
    }

    /// Returns how many events of it wait.
    pub fn len(&self, queues: &[Queue]) -> usize {
        self.refused.len() + self.waiting(queues)
    }

    /// Returns how many may be taken now.
    pub fn len_open(&self, queues: &[Queue]) -> usize {
        self.refused.len() + if self.closed_until.is_none() { self.waiting(queues) } else { 0 }
    }

    /// Returns when the event that waits longest of those was read.
    pub fn oldest(&self, queues: &[Queue]) -> Option<Instant> {
        let open = self.own(queues).filter(|_| self.closed_until.is_none()).filter_map(Queue::oldest);
        open.chain(self.refused.front().map(|event| event.received)).min()
    }

    /// Returns when the quota lets more pass of what waits.
    pub fn opens(&self, queues: &[Queue]) -> Option<Instant> {
        self.closed_until.filter(|_| self.waiting(queues) > 0)
    }

    /// Opens it if its time has come.
    pub fn open(&mut self, now: Instant) {
        if self.closed_until.is_some_and(|until| until <= now) {
            (self.closed_until, self.opened) = (None, Some(now));
        }
    }

    /// Notes an event that was read.
    pub fn note_read(&mut self, event: &Incoming) {
        self.read = (self.read.0 + 1, self.read.1 + event.bytes() as u64);
    }

    /// Counts what was noted.
    pub fn count_read(&mut self) {
        let (events, bytes) = std::mem::take(&mut self.read);
        if let Some((_, counts)) = &self.tenant {
            counts.events.inc_by(events);
            counts.bytes.inc_by(bytes);
        }
    }

    /// Keeps an event to be rejected, if its tenant wants that, the quota is spent and the queue is full; gives it back else.
    pub fn refuse(&mut self, event: Incoming, queues: &[Queue]) -> Option<Incoming> {
        if !self.rejects() || !self.is_at_bounds(queues) {
            return Some(event);
        }
        self.refused_bytes += event.size();
        self.refused.push_back(event);
        None
    }

    /// Returns whether what finds the queue full is rejected.
    fn rejects(&self) -> bool {
        let tenant = self.tenant.as_ref().filter(|_| self.closed_until.is_some());
        tenant.is_some_and(|(tenant, _)| tenant.over == Over::Reject)
    }

    fn is_at_bounds(&self, queues: &[Queue]) -> bool {
        let bytes = || self.own(queues).map(Queue::bytes).sum();
        self.fullness.is_reached(self.waiting(queues), bytes) || self.own(queues).any(Queue::is_at_bounds)
    }

    /// Adds the topics that must not be read now, as there is no room for their events; `None` stands for all.
    pub fn add_full_topics(&mut self, queues: &mut [Queue], routes: &Routes, full: &mut Vec<Option<u16>>) {
        let (n, bytes) = (self.waiting(queues), self.own(queues).map(Queue::bytes).sum());
        let is_full = self.fullness.look(n, bytes);
        // Where what finds no room is rejected, reading goes on for as long as the rejects have room.
        let rejects = self.rejects();
        let many_rejects = self.fullness.is_reached(self.refused.len(), || self.refused_bytes);
        let no_room = many_rejects || (is_full && !rejects);
        for at in &self.routes {
            let queue_is_full = queues[*at].is_full();
            let route = &routes.all()[*at];
            if route.is_from_kafka() && (no_room || (queue_is_full && !rejects)) {
                full.push(route.topic());
            }
        }
    }

    /// Returns whether there was no room when it was last looked at.
    pub fn was_full(&self) -> bool {
        self.fullness.was_full() || !self.refused.is_empty()
    }

    /// Begins a batch; `overdraws` lets all pass, to be paid for later.
    pub fn begin(&mut self, now: Instant, overdraws: bool, queues: &[Queue]) {
        let limited = self.tenant.as_ref().filter(|(tenant, _)| tenant.has_rate());
        self.allowance = match limited {
            Some((tenant, _)) if self.waiting(queues) > 0 && (overdraws || self.closed_until.is_none()) => {
                let allowance = tenant.allowance(Way::Flow, now);
                Some(if overdraws { allowance.without_end() } else { allowance })
            }
            _ => None,
        };
    }

    /// Gives the next events, up to `room` and as many as its weight lets it; returns how many there were.
    pub fn give(
        &mut self,
        queues: &mut [Queue],
        room: usize,
        longest: &mut Option<Instant>,
        into: &mut Vec<Incoming>,
    ) -> usize {
        let most = self.tenant.as_ref().map_or(1, |(tenant, _)| tenant.weight).min(room);
        let before = into.len();
        while into.len() - before < most {
            let Some(event) = self.next_refused().or_else(|| self.next(queues)) else { break };
            *longest = (*longest).into_iter().chain([event.received]).min();
            into.push(event);
        }
        into.len() - before
    }

    /// Returns the next event that is rejected.
    fn next_refused(&mut self) -> Option<Incoming> {
        let mut event = self.refused.pop_front()?;
        self.refused_bytes -= event.size();
        if let Some((tenant, counts)) = &self.tenant {
            counts.throttled.inc();
            let text = format!(
                "the queue of the tenant {} is full; expected no more than {}",
                tenant.name,
                tenant.quota()
            );
            event.refused = Some(Box::new(Reject::queue("quota", text)));
        }
        event.has_passed = true;
        Some(event)
    }

    /// Returns the next event, in turn of its routes, if the quota lets it pass.
    fn next(&mut self, queues: &mut [Queue]) -> Option<Incoming> {
        let is_open = match &self.allowance {
            Some(allowance) => allowance.is_open(),
            None => self.closed_until.is_none(),
        };
        if !is_open {
            return None;
        }
        let mut event = (0..self.routes.len()).find_map(|_| {
            self.turn = (self.turn + 1) % self.routes.len();
            queues[self.routes[self.turn]].pop()
        })?;
        if !event.has_passed {
            event.has_passed = true;
            if let Some(allowance) = &mut self.allowance {
                allowance.spend(event.bytes());
            }
            if let Some((_, counts)) = &self.tenant
                && self.opened.is_some_and(|opened| event.received < opened)
            {
                counts.throttled.inc();
            }
        }
        Some(event)
    }

    /// Ends a batch, whose event that waited longest came at `longest`: pays for what passed, and closes where the quota is
    /// spent, for at least as long as a batch waits for more events.
    pub fn end(&mut self, now: Instant, least: Duration, longest: Option<Instant>) {
        if let (Some(longest), Some((_, counts))) = (longest, &self.tenant) {
            counts.waits.observe(now.saturating_duration_since(longest).as_secs_f64());
        }
        let (Some(allowance), Some((tenant, _))) = (self.allowance.take(), &self.tenant) else { return };
        let wait = tenant.settle(Way::Flow, allowance, now);
        if !wait.is_zero() {
            self.closed_until = Some(now + wait.max(least));
        }
    }

    /// Notes how an event of it ended.
    pub fn ended(&mut self, outcome: &EventOutcome) {
        self.ends[outcome.place()] += 1;
    }

    /// Counts what was noted.
    pub fn count_ends(&mut self) {
        for (n, at) in std::mem::take(&mut self.ends).into_iter().zip(0..) {
            if let Some((_, counts)) = self.tenant.as_ref().filter(|_| n > 0) {
                counts.ended[at].inc_by(n);
            }
        }
    }

    /// Drops rejected events of some partitions.
    pub fn drop_partitions(&mut self, gone: impl Fn(TopicPartition) -> bool) {
        self.refused.retain(|event| !gone(event.part));
        self.refused_bytes = self.refused.iter().map(Incoming::size).sum();
    }

    /// Returns the events that are to be rejected, which by other settings may be answered.
    pub fn into_refused(self) -> VecDeque<Incoming> {
        self.refused
    }
}
