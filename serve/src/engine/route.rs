//! Which events go to which models.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::ServeConfig;
use crate::event::Incoming;
use crate::message::WireId;
use crate::state::Key;

/// The routes of a config. There is always a last one that takes everything.
pub struct Routes(Vec<Route>);

/// Which events go to which models.
pub struct Route {
    topic: Option<u16>,
    headers: Vec<(String, String)>,
    /// The models' names with the sum of the weights up to and including each.
    models: Vec<(String, f64)>,
    /// The shadow model, if the route has one.
    pub shadow: Option<String>,
    /// The most events and bytes that may wait.
    pub bounds: (usize, usize),
    /// The route's conditions as text, for the live page.
    pub label: String,
}

impl Routes {
    /// Makes the routes of a config.
    pub fn new(config: &ServeConfig) -> Self {
        let topics = config.kafka.as_ref().map(|kafka| kafka.requests.as_slice()).unwrap_or_default();
        let bounds = (config.flow.queue_events, config.flow.queue_bytes);
        let mut routes: Vec<Route> = config
            .routes
            .iter()
            .map(|route| {
                let mut sum = 0.0;
                let mut conditions: Vec<String> = route.topic.iter().cloned().collect();
                conditions.extend(route.headers.iter().map(|(name, value)| format!("{name}={value}")));
                Route {
                    topic: route
                        .topic
                        .as_ref()
                        .and_then(|topic| topics.iter().position(|known| known == topic))
                        .map(|at| at as u16),
                    headers: route.headers.clone().into_iter().collect(),
                    models: route
                        .models
                        .iter()
                        .map(|(name, weight)| {
                            sum += weight;
                            (name.clone(), sum)
                        })
                        .collect(),
                    shadow: route.shadow.clone(),
                    bounds: (route.queue_events.unwrap_or(bounds.0), route.queue_bytes.unwrap_or(bounds.1)),
                    label: conditions.join(" "),
                }
            })
            .collect();
        let first = config.models.keys().next().cloned().unwrap_or_default();
        routes.push(Route {
            topic: None,
            headers: Vec::new(),
            models: vec![(first, 1.0)],
            shadow: None,
            bounds,
            label: "all".into(),
        });
        if let Some(last) = routes.iter().position(|route| route.topic.is_none() && route.headers.is_empty())
        {
            routes.truncate(last + 1);
        }
        Self(routes)
    }

    /// Returns all of them.
    pub fn all(&self) -> &[Route] {
        &self.0
    }

    /// Returns the index of the route of an event.
    pub fn of(&self, event: &Incoming) -> usize {
        if self.0.len() == 1 {
            return 0;
        }
        let fits = |route: &Route| {
            route.topic.is_none_or(|topic| topic == event.part.topic)
                && route.headers.iter().all(|(name, value)| event.header(name) == Some(value))
        };
        self.0.iter().position(fits).unwrap_or(self.0.len() - 1)
    }
}

impl Route {
    /// Returns the model for a user: a hash of the id chooses it in proportion to the weights, so always the same.
    pub fn model(&self, user: Option<&WireId<'_>>) -> &str {
        let last = self.models.len() - 1;
        if last == 0 {
            return &self.models[0].0;
        }
        let mut hasher = DefaultHasher::new();
        user.map(Key::from).hash(&mut hasher);
        let share = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64 * self.models[last].1;
        let at = self.models.iter().position(|(_, sum)| share < *sum).unwrap_or(last);
        &self.models[at].0
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
}
