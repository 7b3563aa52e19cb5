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

use std::io::Write;

use burnrec_data::Id;

use crate::config::ServeConfig;
use crate::event::Incoming;
use crate::message::WireId;

/// The routes of a config. There is always a last one that takes everything.
#[derive(Clone)]
pub struct Routes(Vec<Route>);

/// Which events go to which models.
#[derive(Clone)]
pub struct Route {
    topic: Option<u16>,
    headers: Vec<(String, String)>,
    /// The models' names with the sum of the weights up to and including each.
    models: Vec<(String, f64)>,
    /// The hash of the salt, to go on from with a user's id.
    salted: u64,
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
                let label = conditions.join(" ");
                let salt = route.salt.as_ref().unwrap_or(&label);
                Route {
                    salted: fnv1a(fnv1a(FNV_OFFSET, salt.as_bytes()), &[0]),
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
                    label,
                }
            })
            .collect();
        let first = config.models.keys().next().cloned().unwrap_or_default();
        routes.push(Route {
            topic: None,
            headers: Vec::new(),
            models: vec![(first, 1.0)],
            salted: FNV_OFFSET,
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
        let share = self.place(user.map_or(Id::Str(""), WireId::id)) * self.models[last].1;
        // Rounding may leave a share at the very end, which is the last model's that has any.
        let with_any = || self.models.iter().position(|(_, sum)| *sum >= self.models[last].1).unwrap_or(last);
        let at = self.models.iter().position(|(_, sum)| share < *sum).unwrap_or_else(with_any);
        &self.models[at].0
    }

    /// Returns a user's place in the split, from 0 on and below 1.
    fn place(&self, user: Id<'_>) -> f64 {
        let hash = match user.canonical() {
            Id::Str(text) => fnv1a(self.salted, text.as_bytes()),
            Id::Int(id) => {
                let mut digits = [0; 20];
                let mut left = &mut digits[..];
                write!(left, "{id}").expect("20 bytes hold any of 64 bits");
                let unused = left.len();
                fnv1a(self.salted, &digits[..digits.len() - unused])
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
}

/// What FNV-1a begins with.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on with an FNV-1a hash of 64 bits.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The finaliser of SplitMix64.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(settings: &str) -> Route {
        let models = "[models.a]\nrun = 'r'\n[models.b]\nrun = 'r'\n[models.c]\nrun = 'r'";
        let text = format!("{models}\n[[routes]]\n{settings}");
        Routes::new(&text.parse().expect("a config")).0.swap_remove(0)
    }

    fn models(route: &Route) -> Vec<String> {
        (0..20_000).map(|user| route.model(Some(&WireId::Int(user))).to_owned()).collect()
    }

    #[test]
    fn the_hashes_are_those_of_their_authors() {
        // The vectors of FNV's own page, and of the first numbers of SplitMix64 from the seed 0.
        assert_eq!(fnv1a(FNV_OFFSET, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(FNV_OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(FNV_OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
        let step = 0x9e37_79b9_7f4a_7c15_u64;
        assert_eq!([mix(step), mix(step.wrapping_mul(2))], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn two_salts_split_independently_and_each_by_the_weights() {
        let (one, two) =
            (route("models = { a = 3, b = 1 }\nsalt = 'one'"), route("models = { a = 3, b = 1 }"));
        let (one, two) = (models(&one), models(&two));
        let share = |n: usize| n as f64 / one.len() as f64;
        for split in [&one, &two] {
            let of_b = share(split.iter().filter(|model| *model == "b").count());
            assert!((of_b - 0.25).abs() < 0.01, "{of_b}");
        }
        // Independent splits agree on 0.75^2 + 0.25^2 of the users.
        let alike = share(one.iter().zip(&two).filter(|(one, two)| one == two).count());
        assert!((alike - 0.625).abs() < 0.015, "{alike}");
    }

    #[test]
    fn a_weight_that_grows_moves_only_the_users_that_it_gains() {
        let (before, after) =
            (models(&route("models = { a = 9, b = 1 }")), models(&route("models = { a = 8, b = 2 }")));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(old, new)| *old == "a" && *new == "b"), "{moved:?}");
        assert!((1600..2400).contains(&moved.len()), "{}", moved.len());
        let none = models(&route("models = { a = 0, b = 1, c = 0 }"));
        assert!(none.iter().all(|model| model == "b"), "a weight of 0 gets nobody");
    }
}
