//! What `burnrec serve` reads from its config file: models, topics, message formats, flow. Every key has its default
//! here.

mod changeable;
mod control;
mod flow;
mod http;
mod kafka;
mod oidc;
mod partitioner;
mod provenance;
mod refused;
mod role;
mod route;
mod sasl;
mod secret;
mod span;
mod steps;
mod tenant;
mod unknown;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use changeable::{CHANGEABLE, Changeable};
pub use control::ControlConfig;
pub use flow::{Failure, Failures, FlowConfig, Order, Pace, Then};
pub use http::{ClientCertificates, HttpConfig};
pub use kafka::{Guarantee, KafkaConfig, Mode, OnDataLoss, Start};
pub use oidc::OidcConfig;
pub use partitioner::Partitioner;
pub use provenance::ProvenanceConfig;
pub(crate) use refused::refused;
pub use role::Role;
pub use route::Route;
#[cfg(any(feature = "http", feature = "kafka"))]
pub(crate) use secret::HIDDEN;
pub use secret::Secret;
#[cfg(feature = "kafka")]
pub(crate) use secret::is_secret;
pub use span::Span;
pub use steps::{Place, StepConfig};
pub use tenant::{Over, TenantConfig};
pub use unknown::{UnknownConfig, UnknownItem, UnknownUser};

use crate::{Error, Result};

/// The most that a config may let a history hold.
const MOST_HISTORY: usize = 100_000;

/// The most digits after a decimal point: no f32 has more.
const MOST_DECIMALS: usize = 149;

/// The most bytes that a config may let an id have.
const MOST_ID_BYTES: usize = 65_536;

/// The whole config.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServeConfig {
    /// The models by name: at least one.
    pub models: BTreeMap<String, ModelEntry>,
    /// Which events go to which models; the first route that fits counts. Events that fit none go to the model that is
    /// first by name.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Those whose events are answered apart from each other's, by name, with their quotas.
    #[serde(default)]
    pub tenants: BTreeMap<String, TenantConfig>,
    /// Where models compute: `auto`, `cpu`, `gpu`, `gpu:N`.
    #[serde(default = "auto")]
    pub device: String,
    /// Kafka, if events come from there.
    pub kafka: Option<KafkaConfig>,
    /// The HTTP server.
    #[serde(default)]
    pub http: HttpConfig,
    /// Control while the service runs, if it is wanted.
    pub control: Option<ControlConfig>,
    /// The index of what happened to events, if it is wanted.
    pub provenance: Option<ProvenanceConfig>,
    /// How requests look on Kafka.
    #[serde(default)]
    pub input: InputConfig,
    /// How replies look on Kafka.
    #[serde(default)]
    pub output: OutputConfig,
    /// A table joined to replies by item.
    pub table: Option<TableConfig>,
    /// What to do with ids that the model does not know.
    #[serde(default)]
    pub unknown: UnknownConfig,
    /// The largest requests that are answered, and how much is kept.
    #[serde(default)]
    pub limits: Limits,
    /// The users' histories.
    #[serde(default)]
    pub state: StateConfig,
    /// Batches and queues.
    #[serde(default)]
    pub flow: FlowConfig,
    /// What to do where a stage fails.
    #[serde(default)]
    pub failures: Failures,
    /// Steps of one's own by name; those of a place go in the order of their names.
    #[serde(default)]
    pub steps: BTreeMap<String, StepConfig>,
}

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Its run directory. A new manifest there is taken up while the service runs.
    pub run: PathBuf,
    /// What replies call its version; the run directory's name by default.
    pub version: Option<String>,
}

/// The format of requests on Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    /// One JSON object per message.
    #[default]
    Json,
    /// One CSV record `user,item` per message.
    Csv,
}

/// How requests look on Kafka.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// JSON or CSV.
    pub format: InputFormat,
}

/// How replies look on Kafka.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// The columns of a CSV line, such as `user,item,offer,score`; without it replies are JSON objects.
    pub csv: Option<String>,
    /// Scores are multiplied by this, in CSV lines and in the comparison with the table's threshold.
    pub score_scale: f32,
    /// The digits after the decimal point of a score in CSV lines; by default as many as the score has.
    pub score_decimals: Option<usize>,
    /// Whether JSON replies carry titles.
    pub titles: bool,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { csv: None, score_scale: 1.0, score_decimals: None, titles: false }
    }
}

/// A table joined to replies by item.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// A CSV file with names in its first line, or a Parquet file.
    pub path: PathBuf,
    /// Its column with the items.
    #[serde(default = "item")]
    pub on: String,
    /// The columns to take; all by default.
    #[serde(default)]
    pub columns: Vec<String>,
    /// A column with the minimum score of each item: an item that scores lower, or has no row in the table, is left out
    /// of the reply.
    pub threshold: Option<String>,
}

/// The users' histories.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// A user without an event for this long is forgotten.
    pub ttl: Option<Span>,
}

/// The largest requests that are answered, and how much is kept.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Items in a request.
    pub items: usize,
    /// `k` of a request.
    pub k: usize,
    /// Events kept of a user's history; beyond that, or where its record does not fit into the state topic, the oldest
    /// are forgotten.
    pub history: usize,
    /// Users with a history, in this process. The events of one more are rejected, until `state.ttl` or an erasure makes
    /// room; histories that come with a partition always have room.
    pub users: usize,
    /// Bytes of an id.
    pub id_bytes: usize,
    /// The most times that an event is tried until `replay --rejects` leaves it, replays and retries included.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            items: 10_000,
            k: 1_000,
            history: 1_000,
            users: 1_000_000,
            id_bytes: 256,
            attempts: 10,
        }
    }
}

fn auto() -> String {
    "auto".into()
}

fn item() -> String {
    "item".into()
}

impl std::str::FromStr for ServeConfig {
    type Err = Error;

    /// Reads a config as it stands in a file.
    fn from_str(text: &str) -> Result<Self> {
        let table = toml::from_str(text);
        let bad = |error: toml::de::Error| Error::config("config", error.message(), "a TOML table");
        Self::from_table(table.map_err(bad)?)
    }
}

impl ServeConfig {
    /// Returns after how long without an event a user is forgotten.
    pub fn ttl(&self) -> Option<std::time::Duration> {
        self.state.ttl.map(|Span(ttl)| ttl)
    }

    /// Reads a config from its TOML table.
    ///
    /// # Errors
    /// When a key is unknown or missing, or a value is impossible.
    pub fn from_table(table: toml::Table) -> Result<Self> {
        let config: Self = table.try_into().map_err(|error| refused(&error))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn validate(&self) -> Result<()> {
        if self.models.is_empty() {
            return Err(Error::config(
                "models",
                "none",
                "at least one, such as [models.main] with run = \"DIR\"",
            ));
        }
        self.device
            .parse::<burnrec_models::DeviceChoice>()
            .map_err(|error| Error::config("device", &self.device, error.to_string()))?;
        for (at, route) in self.routes.iter().enumerate() {
            self.validate_route(at, route)?;
        }
        self.validate_tenants()?;
        if let Some(kafka) = &self.kafka {
            kafka.validate()?;
        }
        self.http.validate()?;
        if let Some(control) = &self.control {
            control.validate(self.kafka.as_ref())?;
        }
        if let Some(provenance) = &self.provenance {
            provenance.validate()?;
        }
        if !self.output.score_scale.is_finite() || self.output.score_scale <= 0.0 {
            return Err(Error::config("output.score_scale", self.output.score_scale, "a number above 0"));
        }
        if let (Some(table), Some(_)) = (&self.table, &self.output.csv) {
            let all = table.columns.is_empty() || table.threshold.is_none();
            let has = |name: &String| table.columns.contains(name);
            if !all && !table.threshold.as_ref().is_some_and(has) {
                return Err(Error::config(
                    "table.columns",
                    table.columns.join(","),
                    "the threshold among them",
                ));
            }
        }
        if let Some(decimals) = self.output.score_decimals.filter(|decimals| *decimals > MOST_DECIMALS) {
            let expected = format!("0 to {MOST_DECIMALS}");
            return Err(Error::config("output.score_decimals", decimals, expected));
        }
        if !(1..=MOST_HISTORY).contains(&self.limits.history) {
            let expected = format!("1 to {MOST_HISTORY}: each event writes the user's whole history");
            return Err(Error::config("limits.history", self.limits.history, expected));
        }
        if !(1..=MOST_ID_BYTES).contains(&self.limits.id_bytes) {
            let expected = format!("1 to {MOST_ID_BYTES}");
            return Err(Error::config("limits.id_bytes", self.limits.id_bytes, expected));
        }
        self.steps.iter().try_for_each(|(name, step)| step.validate(name))?;
        self.flow.validate()
    }
}
