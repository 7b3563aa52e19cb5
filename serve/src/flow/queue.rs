//! Events that wait for their batch, bounded by number and by bytes.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use crate::config::Order;
use crate::event::{Incoming, TopicPartition};
use crate::metrics::QueueLevel;

/// The waiting events of a route, in the order in which they will be answered.
pub struct Queue {
    order: Order,
    line: VecDeque<Incoming>,
    heap: BinaryHeap<Ranked>,
    arrivals: u64,
    bytes: usize,
    fullness: Fullness,
}

/// Whether there is room under bounds of events and bytes: from the moment that one is reached there is none until both are less
/// than half used.
pub struct Fullness {
    bounds: (usize, usize),
    full: bool,
}

impl Fullness {
    /// Begins with room.
    pub fn new(bounds: (usize, usize)) -> Self {
        Self { bounds, full: false }
    }

    /// Returns whether a bound is reached.
    pub fn is_reached(&self, events: usize, bytes: impl FnOnce() -> usize) -> bool {
        events >= self.bounds.0 || bytes() >= self.bounds.1
    }

    /// Returns whether there is no room.
    pub fn look(&mut self, events: usize, bytes: usize) -> bool {
        let times = if self.full { 2 } else { 1 };
        self.full = self.is_reached(events.saturating_mul(times), || bytes.saturating_mul(times));
        self.full
    }

    /// Returns what [`Fullness::look`] returned last.
    pub fn was_full(&self) -> bool {
        self.full
    }
}

/// An event in a heap: the highest rank first, and of equal ones the first that came.
struct Ranked {
    rank: f64,
    arrival: u64,
    event: Incoming,
}

impl Queue {
    /// Makes an empty queue; `bounds` are the most events and bytes that may wait.
    pub fn new(order: Order, bounds: (usize, usize)) -> Self {
        Self {
            order,
            line: VecDeque::new(),
            heap: BinaryHeap::new(),
            arrivals: 0,
            bytes: 0,
            fullness: Fullness::new(bounds),
        }
    }

    /// Moves events to the end of the queue.
    pub fn extend(&mut self, events: &mut Vec<Incoming>) {
        if self.order == Order::FirstIn {
            self.bytes += events.iter().map(Incoming::size).sum::<usize>();
            self.line.extend(events.drain(..));
        } else {
            events.drain(..).for_each(|event| self.push(event));
        }
    }

    /// Adds an event.
    pub fn push(&mut self, event: Incoming) {
        self.bytes += event.size();
        let time = || event.timestamp_ms.unwrap_or(0) as f64;
        let rank = match &self.order {
            Order::FirstIn => {
                self.line.push_back(event);
                return;
            }
            Order::Newest => time(),
            Order::Oldest => -time(),
            Order::Header(name) => {
                let number = event.header(name).and_then(|text| text.trim().parse().ok());
                number.filter(|rank: &f64| !rank.is_nan()).unwrap_or(f64::NEG_INFINITY)
            }
        };
        self.arrivals += 1;
        self.heap.push(Ranked { rank, arrival: self.arrivals, event });
    }

    /// Puts an event before all others.
    pub fn push_front(&mut self, event: Incoming) {
        self.bytes += event.size();
        match self.order {
            Order::FirstIn => self.line.push_front(event),
            _ => self.heap.push(Ranked { rank: f64::INFINITY, arrival: 0, event }),
        }
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<Incoming> {
        let event = self.line.pop_front().or_else(|| self.heap.pop().map(|ranked| ranked.event))?;
        self.bytes -= event.size();
        Some(event)
    }

    /// Takes the next `n` events.
    pub fn take(&mut self, n: usize, into: &mut Vec<Incoming>) {
        if self.order == Order::FirstIn {
            let before = into.len();
            into.extend(self.line.drain(..n.min(self.line.len())));
            self.bytes -= into[before..].iter().map(Incoming::size).sum::<usize>();
        } else {
            into.extend(std::iter::from_fn(|| self.pop()).take(n));
        }
    }

    /// Returns all that waits, in no order.
    pub fn into_events(self) -> impl Iterator<Item = Incoming> {
        self.line.into_iter().chain(self.heap.into_iter().map(|ranked| ranked.event))
    }

    /// Returns when the event that waits longest was read.
    pub fn oldest(&self) -> Option<Instant> {
        match self.order {
            Order::FirstIn => self.line.front().map(|event| event.received),
            _ => self.heap.iter().map(|ranked| ranked.event.received).min(),
        }
    }

    /// Returns how many events wait.
    pub fn len(&self) -> usize {
        self.line.len() + self.heap.len()
    }

    /// Returns whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes the events have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the events of some partitions.
    pub fn drop_partitions(&mut self, gone: impl Fn(TopicPartition) -> bool) {
        self.line.retain(|event| !gone(event.part));
        self.heap.retain(|ranked| !gone(ranked.event.part));
        let waiting = self.line.iter().chain(self.heap.iter().map(|ranked| &ranked.event));
        self.bytes = waiting.map(Incoming::size).sum();
    }

    /// Returns whether reading is to pause: from the moment a bound is reached until both are less than half used.
    pub fn is_full(&mut self) -> bool {
        self.fullness.look(self.len(), self.bytes)
    }

    /// Returns what [`Queue::is_full`] returned last.
    pub fn was_full(&self) -> bool {
        self.fullness.was_full()
    }

    /// Returns whether a bound is reached.
    pub fn is_at_bounds(&self) -> bool {
        self.fullness.is_reached(self.len(), || self.bytes)
    }

    /// Returns how full it is.
    pub fn level(&self) -> QueueLevel {
        let bounds = self.fullness.bounds;
        let fill = (self.len() as f64 / bounds.0 as f64).max(self.bytes as f64 / bounds.1 as f64);
        QueueLevel { events: self.len(), bytes: self.bytes, fill }
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.total_cmp(&other.rank).then(other.arrival.cmp(&self.arrival))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(offset: i64, time: i64, priority: &str) -> Incoming {
        let mut event = Incoming::new(
            Instant::now(),
            TopicPartition { topic: 0, partition: offset as i32 % 2 },
            offset,
            None,
            Some(b"x"),
        );
        event.timestamp_ms = Some(time);
        event.headers = vec![("priority".into(), Some(priority.into()))];
        event
    }

    fn order(order: Order) -> Vec<i64> {
        let mut queue = Queue::new(order, (10, 1 << 20));
        for (offset, time, priority) in [(0, 5, "1"), (1, 9, "nonsense"), (2, 5, "7"), (3, 1, "7")] {
            queue.push(event(offset, time, priority));
        }
        queue.push_front(event(9, 3, "0"));
        let all = std::iter::from_fn(|| queue.pop()).map(|event| event.offset).collect();
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        all
    }

    #[test]
    fn each_order_gives_its_next() {
        assert_eq!(order(Order::FirstIn), [9, 0, 1, 2, 3]);
        assert_eq!(order(Order::Newest), [9, 1, 0, 2, 3]);
        assert_eq!(order(Order::Oldest), [9, 3, 0, 2, 1]);
        assert_eq!(order(Order::Header("priority".into())), [9, 2, 3, 0, 1]);
    }

    #[test]
    fn a_full_queue_is_full_until_half_of_it_is_gone() {
        for mut queue in
            [Queue::new(Order::FirstIn, (4, usize::MAX / 4)), Queue::new(Order::Newest, (4, usize::MAX / 4))]
        {
            let mut full = Vec::new();
            for offset in 0..4 {
                queue.push(event(offset, 0, ""));
                full.push(queue.is_full());
            }
            while queue.pop().is_some() {
                full.push(queue.is_full());
            }
            assert_eq!(full, [false, false, false, true, true, true, false, false]);
        }
        let one = event(0, 0, "").size();
        let mut queue = Queue::new(Order::FirstIn, (1000, 2 * one));
        queue.push(event(0, 0, ""));
        assert!(!queue.is_full());
        queue.push(event(1, 0, ""));
        assert!(queue.is_full(), "bytes count as well");
        queue.drop_partitions(|part| part.partition == 1);
        assert_eq!((queue.len(), queue.bytes()), (1, one));
    }
}
