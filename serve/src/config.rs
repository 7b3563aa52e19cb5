//! What `burnrec serve` reads from its config file: models, topics, message formats, flow. Every key has its default
//! here.

mod changeable;
mod control;
mod flow;
mod http;
mod kafka;
mod partitioner;
mod secret;
mod span;
mod steps;
mod unknown;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use changeable::{CHANGEABLE, Changeable};
pub use control::ControlConfig;
pub use flow::{Failure, Failures, FlowConfig, Order, Pace, Then};
pub use http::HttpConfig;
pub use kafka::{Guarantee, KafkaConfig, Mode, OnDataLoss, Start};
pub use partitioner::Partitioner;
#[cfg(any(feature = "http", feature = "kafka"))]
pub(crate) use secret::HIDDEN;
pub use secret::Secret;
#[cfg(feature = "kafka")]
pub(crate) use secret::is_secret;
pub use span::Span;
pub use steps::{Place, StepConfig};
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

/// Which events go to which models.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Only events of this topic.
    pub topic: Option<String>,
    /// Only events with these headers, by name and value.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The models with their weights (an A/B split): each user gets one of them, always the same.
    pub models: BTreeMap<String, f64>,
    /// What the users are split by beside their ids: another salt is another split. By default the route's topic and
    /// headers, so that each route has a split of its own.
    pub salt: Option<String>,
    /// A shadow model: it answers the same events, to the topic `kafka.shadow`.
    pub shadow: Option<String>,
    /// The most events that may wait; `flow.queue_events` by default.
    pub queue_events: Option<usize>,
    /// The most bytes that may wait; `flow.queue_bytes` by default.
    pub queue_bytes: Option<usize>,
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

/// Returns the error of a table that is no config. It names the key and the type found, but not the value, which may be
/// a secret.
pub(crate) fn refused(error: &toml::de::Error) -> Error {
    let text = error.to_string();
    let key = text.rsplit_once("\nin `").and_then(|(_, key)| key.trim_end().strip_suffix('`'));
    let message = error.message();
    let (found, expected) =
        message.rsplit_once(", expected ").unwrap_or((message, "the keys of configs/serve.toml"));
    let found = match found.starts_with("invalid ") {
        true => found.split(['`', '"']).next().unwrap_or_default().trim_end(),
        false => found,
    };
    Error::config(key.unwrap_or("config"), found, expected)
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
        if let Some(kafka) = &self.kafka {
            kafka.validate()?;
        }
        self.http.validate()?;
        if let Some(control) = &self.control {
            control.validate(self.kafka.as_ref())?;
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

    fn validate_route(&self, at: usize, route: &Route) -> Result<()> {
        let field = |name: &str| format!("routes[{at}].{name}");
        if route.models.is_empty() {
            return Err(Error::config(field("models"), "none", "at least one, such as { main = 1 }"));
        }
        let names = route.models.keys().chain(&route.shadow);
        if let Some(unknown) = names.into_iter().find(|name| !self.models.contains_key(*name)) {
            let known: Vec<&str> = self.models.keys().map(String::as_str).collect();
            return Err(Error::config(field("models"), unknown, format!("one of {}", known.join(", "))));
        }
        if let Some((name, weight)) =
            route.models.iter().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0))
        {
            return Err(Error::config(field(&format!("models.{name}")), weight, "a weight, 0 or above"));
        }
        let sum: f64 = route.models.values().sum();
        if sum <= 0.0 {
            return Err(Error::config(field("models"), "no weight above 0", "a model that answers"));
        }
        if !sum.is_finite() {
            return Err(Error::config(field("models"), "weights without a finite sum", "smaller ones"));
        }
        for (name, most) in [("queue_events", route.queue_events), ("queue_bytes", route.queue_bytes)] {
            if most == Some(0) {
                return Err(Error::config(field(name), 0, "1 or above"));
            }
        }
        let topics = self.kafka.iter().flat_map(|kafka| &kafka.requests);
        match &route.topic {
            Some(topic) if !topics.clone().any(|known| known == topic) => {
                Err(Error::config(field("topic"), topic, "one of kafka.requests"))
            }
            _ if route.shadow.is_some()
                && self.kafka.as_ref().is_some_and(|kafka| kafka.shadow.is_none()) =>
            {
                Err(Error::config("kafka.shadow", "none", "a topic for the replies of shadow models"))
            }
            _ => Ok(()),
        }
    }
}
