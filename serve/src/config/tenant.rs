//! The keys of `[tenants.NAME]`, and how routes are bound to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ServeConfig;
use crate::tenants::part;
use crate::{Error, Result};

/// The most tenants: each has series of its own.
const MOST_TENANTS: usize = 1000;

/// The most events of one tenant before it is the next one's turn.
const MOST_WEIGHT: usize = 1000;

/// Whose events are whose, and how much of them is answered.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantConfig {
    /// The names of those whose requests over HTTP are the tenant's: of tokens and whatever else names who asks.
    pub identities: Vec<String>,
    /// The events a second that are answered, from Kafka and over HTTP each; without it as many as come.
    pub events_per_s: Option<f64>,
    /// The bytes a second of keys and values, likewise.
    pub bytes_per_s: Option<f64>,
    /// For how many seconds what was not used may be made up for.
    pub burst_s: f64,
    /// What happens to events from Kafka that are over the quota when the queue is full.
    pub over: Over,
    /// The most events that may wait in the queues of all its routes; `flow.queue_events` by default.
    pub queue_events: Option<usize>,
    /// The most bytes that may wait; `flow.queue_bytes` by default.
    pub queue_bytes: Option<usize>,
    /// The most requests over HTTP that are scored at once; by default its share of `http.scoring_requests` by its weight.
    pub scoring_requests: Option<usize>,
    /// How many of its events are taken when it is its turn, where others wait as well.
    pub weight: usize,
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self {
            identities: Vec::new(),
            events_per_s: None,
            bytes_per_s: None,
            burst_s: 1.0,
            over: Over::Wait,
            queue_events: None,
            queue_bytes: None,
            scoring_requests: None,
            weight: 1,
        }
    }
}

/// What happens to events from Kafka that are over a tenant's quota when its queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// They wait in their topics, which are not read meanwhile.
    #[default]
    Wait,
    /// They are rejected with the reason `quota`.
    Reject,
}

impl TenantConfig {
    /// Lifts the quotas of events and bytes.
    pub fn lift(&mut self) {
        (self.events_per_s, self.bytes_per_s, self.over) = (None, None, Over::Wait);
    }

    fn validate(&self, name: &str, scoring: usize) -> Result<()> {
        let field = |key: &str| format!("tenants.{name}.{key}");
        for (key, value) in [
            ("events_per_s", self.events_per_s),
            ("bytes_per_s", self.bytes_per_s),
            ("burst_s", Some(self.burst_s)),
        ] {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return Err(Error::config(field(key), value, "a number above 0"));
            }
        }
        for (key, most) in [("queue_events", self.queue_events), ("queue_bytes", self.queue_bytes)] {
            if most == Some(0) {
                return Err(Error::config(field(key), 0, "1 or above"));
            }
        }
        if let Some(n) = self.scoring_requests.filter(|n| !(1..=scoring).contains(n)) {
            let expected = format!("1 to {scoring}, as http.scoring_requests says");
            return Err(Error::config(field("scoring_requests"), n, expected));
        }
        if !(1..=MOST_WEIGHT).contains(&self.weight) {
            return Err(Error::config(field("weight"), self.weight, format!("1 to {MOST_WEIGHT}")));
        }
        if self.over == Over::Reject && self.events_per_s.is_none() && self.bytes_per_s.is_none() {
            let expected = "wait, or events_per_s or bytes_per_s beside it";
            return Err(Error::config(field("over"), "reject", expected));
        }
        Ok(())
    }
}

impl ServeConfig {
    /// Checks the tenants, and that each has routes.
    pub(super) fn validate_tenants(&self) -> Result<()> {
        if self.tenants.len() > MOST_TENANTS {
            let expected = format!("at most {MOST_TENANTS}");
            return Err(Error::config("tenants", self.tenants.len(), expected));
        }
        let (mut owners, mut parts) = (BTreeMap::new(), BTreeMap::new());
        for (name, tenant) in &self.tenants {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
                let expected = "a name of up to 64 letters, digits, - and _";
                return Err(Error::config("tenants", format!("{name:?}"), expected));
            }
            tenant.validate(name, self.http.scoring_requests)?;
            for identity in &tenant.identities {
                if let Some(other) = owners.insert(identity, name) {
                    let expected = format!("each identity once; {other} has it");
                    return Err(Error::config(format!("tenants.{name}.identities"), identity, expected));
                }
            }
            if let Some(other) = parts.insert(part(name), name) {
                let expected = format!("another name: it has the same hash as {other}");
                return Err(Error::config("tenants", name, expected));
            }
            if !self.routes.iter().any(|route| route.tenant.as_ref() == Some(name)) {
                let expected =
                    format!("a [[routes]] with tenant = \"{name}\": only by it events are answered");
                return Err(Error::config(format!("tenants.{name}"), "no route", expected));
            }
        }
        for (at, route) in self.routes.iter().enumerate() {
            if let Some(unknown) = route.tenant.as_ref().filter(|name| !self.tenants.contains_key(*name)) {
                let known: Vec<&str> = self.tenants.keys().map(String::as_str).collect();
                let expected = format!("one of [tenants]: {}", known.join(", "));
                return Err(Error::config(format!("routes[{at}].tenant"), unknown, expected));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_tenant_is_refused_by_its_key() {
        let of = |text: &str| {
            let routes = "[[routes]]\ntenant = 'a'\nmodels = { main = 1 }\n";
            format!("models.main.run = 'r'\n{text}\n{routes}").parse::<ServeConfig>()
        };
        of("tenants.a = { identities = ['x', 'y'], events_per_s = 0.5, over = 'reject', weight = 1000 }")
            .unwrap();
        for (text, field) in [
            ("tenants.a.events_per_s = 0", "tenants.a.events_per_s: found 0"),
            ("tenants.a.bytes_per_s = inf", "tenants.a.bytes_per_s"),
            ("tenants.a.burst_s = -1", "tenants.a.burst_s"),
            ("tenants.a.queue_events = 0", "tenants.a.queue_events"),
            ("tenants.a.queue_bytes = 0", "tenants.a.queue_bytes"),
            ("tenants.a.weight = 0", "tenants.a.weight"),
            ("tenants.a.weight = 1001", "tenants.a.weight"),
            ("tenants.a.scoring_requests = 9", "tenants.a.scoring_requests: found 9, expected 1 to 8"),
            ("tenants.a.over = 'reject'", "tenants.a.over"),
            ("tenants.a.over = 'drop'", "over"),
            ("tenants.a.evnts_per_s = 1", "evnts_per_s"),
            ("tenants.a.identities = ['x', 'x']", "tenants.a.identities: found x"),
            ("tenants = { a = {}, b = {} }", "tenants.b: found no route"),
            ("tenants = { a = {}, \"b c\" = {} }", "b c"),
            ("", "routes[0].tenant: found a"),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
    }
}
