//! What of the config may change while the service runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Failures, FlowConfig, Limits, ModelEntry, OutputConfig, Route, ServeConfig, TableConfig, TenantConfig,
    UnknownConfig,
};

/// The tables of a [`ServeConfig`] that may change while the service runs. All others need a restart.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Changeable {
    /// The models by name.
    pub models: BTreeMap<String, ModelEntry>,
    /// Which events go to which models.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Those whose events are answered apart from each other's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantConfig>,
    /// How replies look on Kafka.
    #[serde(default)]
    pub output: OutputConfig,
    /// The table joined to replies.
    pub table: Option<TableConfig>,
    /// What to do with ids that the model does not know.
    #[serde(default)]
    pub unknown: UnknownConfig,
    /// The largest requests that are answered.
    #[serde(default)]
    pub limits: Limits,
    /// Batches and queues.
    #[serde(default)]
    pub flow: FlowConfig,
    /// What to do where a stage fails.
    #[serde(default)]
    pub failures: Failures,
}

/// The names of its tables.
pub const CHANGEABLE: [&str; 9] =
    ["models", "routes", "tenants", "output", "table", "unknown", "limits", "flow", "failures"];

impl ServeConfig {
    /// Returns what of it may change.
    pub fn changeable(&self) -> Changeable {
        let all = self.clone();
        Changeable {
            models: all.models,
            routes: all.routes,
            tenants: all.tenants,
            output: all.output,
            table: all.table,
            unknown: all.unknown,
            limits: all.limits,
            flow: all.flow,
            failures: all.failures,
        }
    }

    /// Returns the config with these tables in place of its own.
    pub fn with(&self, tables: Changeable) -> Self {
        Self {
            models: tables.models,
            routes: tables.routes,
            tenants: tables.tenants,
            output: tables.output,
            table: tables.table,
            unknown: tables.unknown,
            limits: tables.limits,
            flow: tables.flow,
            failures: tables.failures,
            ..self.clone()
        }
    }
}
