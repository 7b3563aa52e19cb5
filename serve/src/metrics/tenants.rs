//! What is counted of each tenant.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use crate::outcome::{ENDS, EventOutcome};

/// Labels of a tenant.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TenantLabels {
    tenant: String,
}

/// Labels of how events of a tenant ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndLabels {
    tenant: String,
    outcome: &'static str,
}

/// The counts of a tenant.
#[derive(Clone, Debug)]
pub struct TenantCounts {
    /// Events that were read, and requests over HTTP.
    pub events: Counter,
    /// The bytes of their keys and values.
    pub bytes: Counter,
    /// Those that waited for the quota, or were refused for it.
    pub throttled: Counter,
    /// How they ended, in the order of [`ENDS`].
    pub ended: [Counter; ENDS.len()],
    /// For how long the event of each batch waited that waited longest, in seconds.
    pub waits: Histogram,
}

impl TenantCounts {
    /// Counts how an event ended.
    pub fn ended(&self, outcome: &EventOutcome) {
        self.ended[outcome.place()].inc();
    }
}

/// What waits of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantLevel {
    /// Its name.
    pub tenant: String,
    /// The events in the queues of its routes.
    pub events: i64,
    /// Their bytes.
    pub bytes: i64,
}

/// The series of all tenants.
pub(super) struct TenantSeries {
    events: Family<TenantLabels, Counter>,
    bytes: Family<TenantLabels, Counter>,
    throttled: Family<TenantLabels, Counter>,
    ended: Family<EndLabels, Counter>,
    waits: Family<TenantLabels, Histogram, fn() -> Histogram>,
    queue_events: Family<TenantLabels, Gauge>,
    queue_bytes: Family<TenantLabels, Gauge>,
    known: Mutex<BTreeSet<String>>,
}

impl Default for TenantSeries {
    fn default() -> Self {
        Self {
            events: Family::default(),
            bytes: Family::default(),
            throttled: Family::default(),
            ended: Family::default(),
            // From a tenth of a millisecond to 100 seconds.
            waits: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-4, 4.0, 11))),
            queue_events: Family::default(),
            queue_bytes: Family::default(),
            known: Mutex::default(),
        }
    }
}

impl TenantSeries {
    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "burnrec_tenant_events";
        registry.register(name, "Events and requests of a tenant", self.events.clone());
        let help = "Bytes of keys and values of a tenant's events";
        registry.register_with_unit("burnrec_tenant_event", help, Unit::Bytes, self.bytes.clone());
        let help = "Events of a tenant that waited for its quota or were refused for it";
        registry.register("burnrec_tenant_throttled", help, self.throttled.clone());
        let help = "Events of a tenant by how they ended";
        registry.register("burnrec_tenant_ended", help, self.ended.clone());
        let help = "For how long the event of a batch waited that waited longest";
        registry.register_with_unit("burnrec_tenant_wait", help, Unit::Seconds, self.waits.clone());
        let help = "Events of a tenant that wait";
        registry.register("burnrec_tenant_queue_events", help, self.queue_events.clone());
        let help = "Bytes of a tenant that wait";
        registry.register_with_unit("burnrec_tenant_queue", help, Unit::Bytes, self.queue_bytes.clone());
    }

    fn counts(&self, name: &str) -> TenantCounts {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        let of = TenantLabels { tenant: name.to_owned() };
        TenantCounts {
            events: self.events.get_or_create_owned(&of),
            bytes: self.bytes.get_or_create_owned(&of),
            throttled: self.throttled.get_or_create_owned(&of),
            ended: ENDS.map(|outcome| {
                let of = EndLabels { tenant: name.to_owned(), outcome };
                self.ended.get_or_create_owned(&of)
            }),
            waits: self.waits.get_or_create_owned(&of),
        }
    }

    /// Shows what waits of the tenants that there are, and no more of others.
    pub(super) fn show(&self, levels: &[TenantLevel]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |name: &String| levels.iter().any(|level| level.tenant == *name);
        for tenant in known.extract_if(.., |name| !is_there(name)) {
            ENDS.into_iter().for_each(|outcome| {
                self.ended.remove(&EndLabels { tenant: tenant.clone(), outcome });
            });
            let of = TenantLabels { tenant };
            [&self.events, &self.bytes, &self.throttled]
                .into_iter()
                .for_each(|series| _ = series.remove(&of));
            self.waits.remove(&of);
            self.queue_events.remove(&of);
            self.queue_bytes.remove(&of);
        }
        for level in levels {
            known.insert(level.tenant.clone());
            let of = TenantLabels { tenant: level.tenant.clone() };
            self.queue_events.get_or_create(&of).set(level.events);
            self.queue_bytes.get_or_create(&of).set(level.bytes);
        }
    }
}

impl Metrics {
    /// Returns the counts of a tenant.
    pub fn tenant(&self, name: &str) -> TenantCounts {
        self.tenants.counts(name)
    }

    /// Returns what waits of each of these tenants, in the queues of so many workers; of each route, `routes` says which of the
    /// tenants it is of, if of any.
    pub fn tenant_levels<'a>(
        &self,
        tenants: impl Iterator<Item = &'a str>,
        routes: impl Iterator<Item = Option<usize>>,
        workers: usize,
    ) -> Vec<TenantLevel> {
        let level = |name: &str| TenantLevel { tenant: name.to_owned(), ..TenantLevel::default() };
        let mut levels: Vec<TenantLevel> = tenants.map(level).collect();
        for (route, tenant) in routes.enumerate() {
            let Some(level) = tenant.and_then(|tenant| levels.get_mut(tenant)) else { continue };
            for worker in 0..workers {
                let (events, bytes) = self.waiting(worker, route);
                (level.events, level.bytes) = (level.events + events, level.bytes + bytes);
            }
        }
        levels
    }
}
