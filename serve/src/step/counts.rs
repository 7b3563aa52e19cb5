//! What is counted of steps.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The label of a step.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct StepLabels {
    pub step: &'static str,
}

/// The labels of failures.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FailureLabels {
    pub step: &'static str,
    pub reason: &'static str,
}

/// What is counted of all steps.
pub struct StepCounts {
    pub registry: Registry,
    pub seconds: Family<StepLabels, Histogram, fn() -> Histogram>,
    pub failures: Family<FailureLabels, Counter>,
    pub restarts: Family<StepLabels, Counter>,
}

impl Default for StepCounts {
    fn default() -> Self {
        // From 10 microseconds to 5 minutes.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(1e-5, 2.0, 26));
        let seconds = Family::new_with_constructor(seconds);
        let (failures, restarts) = (Family::default(), Family::default());
        let mut registry = Registry::default();
        let help = "A batch at a step of one's own";
        registry.register_with_unit("burnrec_step", help, Unit::Seconds, seconds.clone());
        let help = "Failures at steps of one's own, those included that are tried again";
        registry.register("burnrec_step_failures", help, failures.clone());
        let help = "Processes of steps that died or were killed";
        registry.register("burnrec_step_restarts", help, restarts.clone());
        Self { registry, seconds, failures, restarts }
    }
}
