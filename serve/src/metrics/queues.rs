//! What waits in the queues.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Metrics, QueueLabels};

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueLevel {
    /// The events that wait.
    pub events: usize,
    /// Their size in bytes.
    pub bytes: usize,
    /// The share of the queue's bounds that is taken, from 0 on.
    pub fill: f64,
}

impl Metrics {
    /// Shows what waits in a worker's queues, one for each route.
    pub fn queues(&self, worker: usize, queues: impl Iterator<Item = QueueLevel>) {
        for (route, queue) in queues.enumerate() {
            let labels = QueueLabels { worker: worker as u64, route: route as u64 };
            self.queue_events.get_or_create(&labels).set(queue.events as i64);
            self.queue_bytes.get_or_create(&labels).set(queue.bytes as i64);
            self.queue_fill.get_or_create(&labels).set(queue.fill);
        }
    }

    /// Shows the queues of a worker no more from this route on, as there are fewer routes now.
    pub fn no_queues_from(&self, worker: usize, mut route: usize) {
        loop {
            let labels = QueueLabels { worker: worker as u64, route: route as u64 };
            self.queue_bytes.remove(&labels);
            self.queue_fill.remove(&labels);
            if !self.queue_events.remove(&labels) {
                return;
            }
            route += 1;
        }
    }

    /// Returns the fill and the number of events of a queue.
    pub fn queue(&self, worker: usize, route: usize) -> (f64, i64) {
        let labels = QueueLabels { worker: worker as u64, route: route as u64 };
        (self.queue_fill.get_or_create(&labels).get(), self.queue_events.get_or_create(&labels).get())
    }

    /// Returns how many events and bytes wait in a queue, without making a series of it.
    pub(super) fn waiting(&self, worker: usize, route: usize) -> (i64, i64) {
        let labels = QueueLabels { worker: worker as u64, route: route as u64 };
        let of = |series: &Family<QueueLabels, Gauge>| series.get(&labels).map_or(0, |gauge| gauge.get());
        (of(&self.queue_events), of(&self.queue_bytes))
    }
}
