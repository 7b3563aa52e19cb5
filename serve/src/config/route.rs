//! The keys of `[[routes]]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ServeConfig;
use crate::{Error, Result};

/// Which events go to which models.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Only events of this tenant: from Kafka those of the route's topic and headers, over HTTP the requests of its identities.
    /// Without it, events of no tenant alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
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

impl ServeConfig {
    /// Checks a route.
    pub(super) fn validate_route(&self, at: usize, route: &Route) -> Result<()> {
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
