//! The counts of the index of events.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What the index counts; all 0 without one.
#[derive(Default)]
pub struct ProvenanceCounts {
    /// Events that are in no index, as too many waited or the file could not be written.
    pub missed: Counter,
    /// The bytes of its blocks on disk.
    pub bytes: Gauge,
}

impl ProvenanceCounts {
    /// Registers the series.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "burnrec_provenance_missed_events",
            "Events that ended and are not in the index",
            self.missed.clone(),
        );
        let help = "Blocks of the index of events on disk";
        registry.register_with_unit("burnrec_provenance", help, Unit::Bytes, self.bytes.clone());
    }
}
