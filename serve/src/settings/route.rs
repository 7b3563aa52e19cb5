//! Which events go to which models, and how the users of a route are split between its models.
//!
//! A user's place in a split is a pure function of the route's salt and the user's id, so that every instance and every build,
//! and whoever looks at an experiment afterwards, finds the same:
//!
//! ```text
//! place = mix(fnv1a(salt, 0, id as text)) / 2^64        in [0, 1)
//! ```
//!
//! `fnv1a` is the 64-bit FNV-1a hash of the bytes (Fowler, Noll, Vo), `mix` the finaliser of SplitMix64 (Steele, Lea and Flood,
//! OOPSLA 2014), which spreads ids that differ in one digit. The first model whose sum of weights, of those up to and including
//! its own in order of name, is above the place answers: a weight that grows takes users from its neighbour, and moves no other.

use std::collections::BTreeMap;
use std::io::Write;

use burnrec_data::Id;

use crate::config::{self, ServeConfig};
use crate::event::{HTTP, Incoming, SOURCE, TopicPartition};
use crate::fnv::{self, fnv1a, fnv1a_on};
use crate::message::WireId;
use crate::tenants::part;

/// The routes of a config: those of tenants first, and then in their order. There is always a last one that takes everything.
#[derive(Clone)]
pub struct Routes {
    all: Vec<Route>,
    /// For each tenant the partition of its events over HTTP, and the route that they go.
    over_http: BTreeMap<TopicPartition, usize>,
    /// The topics of a replay of rejects, whose events say themselves where they were before.
    rejected_from: Option<Vec<String>>,
}

/// Which events go to which models.
#[derive(Clone)]
pub struct Route {
    topic: Option<u16>,
    headers: Vec<(String, String)>,
    /// Whether it takes events from Kafka. A tenant's without topic and headers takes none: it is for HTTP alone.
    from_kafka: bool,
    /// The models' names with the sum of the weights up to and including each; none where all is refused.
    models: Vec<(String, f64)>,
    /// The hash of the salt, to go on from with a user's id.
    salted: u64,
    /// The shadow model, if the route has one.
    pub shadow: Option<String>,
    /// The most events and bytes that may wait.
    pub bounds: (usize, usize),
    /// The route's conditions as text, for the live page.
    pub label: String,
    /// The tenant whose events alone go here, by its place among all; events of no tenant where there is none.
    pub tenant: Option<usize>,
}

/// Stands for a topic that is not read: no event is of it.
const NO_TOPIC: u16 = u16::MAX - 1;

impl Routes {
    /// Makes the routes of a config.
    pub fn new(config: &ServeConfig) -> Self {
        let mut topics = config.kafka.as_ref().map(|kafka| kafka.requests.clone()).unwrap_or_default();
        let of_rejects =
            config.kafka.as_ref().is_some_and(|kafka| kafka.requests == [kafka.rejects.as_str()]);
        if of_rejects {
            topics = config.routes.iter().filter_map(|route| route.topic.clone()).collect();
        }
        let tenant_of = |name: &String| config.tenants.keys().position(|known| known == name);
        let mut all: Vec<Route> =
            config.routes.iter().map(|route| Route::new(config, route, &topics, tenant_of)).collect();
        let first = config.models.keys().next().cloned().unwrap_or_default();
        // Where there are tenants, no model is for everybody unless a route says so.
        let is_open = config.tenants.is_empty();
        all.push(Route {
            topic: None,
            headers: Vec::new(),
            from_kafka: true,
            models: if is_open { vec![(first, 1.0)] } else { Vec::new() },
            salted: fnv::OFFSET,
            shadow: None,
            bounds: (config.flow.queue_events, config.flow.queue_bytes),
            label: if is_open { "all" } else { "of no tenant" }.into(),
            tenant: None,
        });
        // What is of a tenant is nobody else's, in whichever order the routes stand.
        all.sort_by_key(|route| route.tenant.is_none());
        let takes_all =
            |route: &Route| route.tenant.is_none() && route.topic.is_none() && route.headers.is_empty();
        if let Some(last) = all.iter().position(takes_all) {
            all.truncate(last + 1);
        }
        let last_of = |tenant| all.iter().rposition(|route| route.tenant == Some(tenant));
        let tenants = config.tenants.keys().enumerate();
        let over_http = tenants.filter_map(|(at, name)| Some((part(name), last_of(at)?))).collect();
        Self { all, over_http, rejected_from: of_rejects.then_some(topics) }
    }

    /// Returns all of them.
    pub fn all(&self) -> &[Route] {
        &self.all
    }

    /// Returns the index of the route of an event.
    pub fn of(&self, event: &Incoming) -> usize {
        let last = self.all.len() - 1;
        if last == 0 {
            return 0;
        }
        if event.part.topic == HTTP.topic {
            // Whose a request is, its identity alone says. The tenant may be gone since it came.
            return self.over_http.get(&event.part).copied().unwrap_or(last);
        }
        let topic = self.topic_of(event);
        self.all
            .iter()
            .position(|route| route.takes(topic, |name, value| event.header(name) == Some(value)))
            .unwrap_or(last)
    }

    /// Returns the topic that an event came from in the first place.
    fn topic_of(&self, event: &Incoming) -> u16 {
        let Some(topics) = &self.rejected_from else { return event.part.topic };
        let source = event.header(SOURCE).and_then(|source| source.split('/').next());
        topics.iter().position(|topic| Some(topic.as_str()) == source).map_or(NO_TOPIC, |at| at as u16)
    }

    /// Returns whether who is of no tenant has a route over HTTP.
    pub fn has_room_for_others(&self) -> bool {
        self.all.last().is_some_and(|route| !route.is_closed())
    }

    /// Returns the first of `n` topics in which an event with these headers is of a tenant, or of none: where events over HTTP
    /// are written to. Each is tried without headers and with those of the tenant's routes.
    pub fn written(&self, tenant: Option<usize>, n: usize) -> Option<(usize, &[(String, String)])> {
        let own = self.all.iter().rev().filter(|route| route.tenant == tenant && route.from_kafka);
        let headers = std::iter::once(&[][..]).chain(own.map(|route| &route.headers[..]));
        let places = headers.flat_map(|headers| (0..n).map(move |topic| (topic, headers)));
        let mut places = places.filter(|(topic, headers)| {
            let has = |name: &str, value: &str| headers.iter().any(|(of, is)| of == name && is == value);
            let route = self.all.iter().find(|route| route.takes(*topic as u16, has));
            let is_own = |route: &Route| route.tenant == tenant && !route.is_closed();
            route.is_some_and(is_own) && !self.is_of_another(tenant, *topic as u16)
        });
        places.next()
    }

    /// Returns whether another tenant names a topic as its own, whatever headers its events have.
    fn is_of_another(&self, tenant: Option<usize>, topic: u16) -> bool {
        self.all.iter().any(|route| {
            let is_another = route.tenant.is_some() && route.tenant != tenant;
            is_another && route.topic == Some(topic) && route.headers.is_empty()
        })
    }

    /// Returns whether events of a tenant, or of none, may be in a topic.
    pub fn sees(&self, tenant: Option<usize>, topic: u16) -> bool {
        let mut of_topic = self.all.iter().filter(|route| {
            route.from_kafka && !route.is_closed() && route.topic.is_none_or(|of| of == topic)
        });
        if self.is_of_another(tenant, topic) {
            return false;
        }
        // Behind a route that takes all of the topic come no others.
        of_topic
            .find(|route| route.tenant == tenant || route.headers.is_empty())
            .is_some_and(|route| route.tenant == tenant)
    }
}

impl Route {
    fn new(
        config: &ServeConfig,
        route: &config::Route,
        topics: &[String],
        tenant_of: impl Fn(&String) -> Option<usize>,
    ) -> Self {
        let mut sum = 0.0;
        let mut conditions: Vec<String> = route.topic.iter().cloned().collect();
        conditions.extend(route.headers.iter().map(|(name, value)| format!("{name}={value}")));
        let mut label = conditions.join(" ");
        let salt = route.salt.as_ref().unwrap_or(&label);
        let salted = fnv1a_on(fnv1a(salt.as_bytes()), &[0]);
        let place = |topic: &String| topics.iter().position(|known| known == topic);
        let from_kafka = route.tenant.is_none() || !conditions.is_empty();
        let mut most = (config.flow.queue_events, config.flow.queue_bytes);
        if let Some(name) = &route.tenant {
            let tenant = config.tenants.get(name);
            most.0 = tenant.and_then(|tenant| tenant.queue_events).unwrap_or(most.0);
            most.1 = tenant.and_then(|tenant| tenant.queue_bytes).unwrap_or(most.1);
            label = format!("{name}, {}", if conditions.is_empty() { "HTTP" } else { &label });
        }
        Self {
            salted,
            topic: route.topic.as_ref().map(|topic| place(topic).map_or(NO_TOPIC, |at| at as u16)),
            headers: route.headers.clone().into_iter().collect(),
            from_kafka,
            models: route
                .models
                .iter()
                .map(|(name, weight)| {
                    sum += weight;
                    (name.clone(), sum)
                })
                .collect(),
            shadow: route.shadow.clone(),
            bounds: (route.queue_events.unwrap_or(most.0), route.queue_bytes.unwrap_or(most.1)),
            label,
            tenant: route.tenant.as_ref().and_then(tenant_of),
        }
    }

    /// Returns whether an event from Kafka, of a topic and with headers that `has` knows, goes here.
    fn takes(&self, topic: u16, has: impl Fn(&str, &str) -> bool) -> bool {
        self.from_kafka
            && self.topic.is_none_or(|of| of == topic)
            && self.headers.iter().all(|(name, value)| has(name, value))
    }

    /// Returns whether what comes here is refused, as it is of no tenant.
    pub fn is_closed(&self) -> bool {
        self.models.is_empty()
    }

    /// Returns the model for a user: a hash of the id chooses it in proportion to the weights, so always the same.
    pub fn model(&self, user: Option<&WireId<'_>>) -> &str {
        let last = self.models.len() - 1;
        if last == 0 {
            return &self.models[0].0;
        }
        let share = self.place(user.map_or(Id::Str(""), WireId::id)) * self.models[last].1;
        // Rounding may leave a share at the very end, which is the last model's that has any.
        let with_any = || self.models.iter().position(|(_, sum)| *sum >= self.models[last].1).unwrap_or(last);
        let at = self.models.iter().position(|(_, sum)| share < *sum).unwrap_or_else(with_any);
        &self.models[at].0
    }

    /// Returns a user's place in the split, from 0 on and below 1.
    fn place(&self, user: Id<'_>) -> f64 {
        let hash = match user.canonical() {
            Id::Str(text) => fnv1a_on(self.salted, text.as_bytes()),
            Id::Int(id) => {
                let mut digits = [0; 20];
                let mut left = &mut digits[..];
                write!(left, "{id}").expect("20 bytes hold any of 64 bits");
                let unused = left.len();
                fnv1a_on(self.salted, &digits[..digits.len() - unused])
            }
        };
        (mix(hash) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns the models with the share of users that each gets.
    pub fn shares(&self) -> impl Iterator<Item = (&str, f64)> {
        let all = self.models.last().map_or(1.0, |(_, sum)| *sum);
        let before = std::iter::once(0.0).chain(self.models.iter().map(|(_, sum)| *sum));
        self.models.iter().zip(before).map(move |((name, sum), before)| (name.as_str(), (sum - before) / all))
    }

    /// Returns the topic whose events alone go here.
    pub fn topic(&self) -> Option<u16> {
        self.topic
    }

    /// Returns whether events from Kafka go here.
    pub fn is_from_kafka(&self) -> bool {
        self.from_kafka
    }
}

/// The finaliser of SplitMix64.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
