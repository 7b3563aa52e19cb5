//! Tenants: whose an event is, and how much of each tenant's is answered.
//!
//! A quota is a token bucket (Turner, "New directions in communications", 1986): tokens come at the quota's rate, up to what comes
//! in `burst_s`, and an event passes while there is one. The last one that passes may overdraw the bucket, so that a message that is
//! larger than all that fits into it passes too, and is paid for afterwards. Events from Kafka and over HTTP have a bucket each:
//! what waits in a topic does not take the place of who waits for an answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Over, ServeConfig};
use crate::event::{HTTP, TopicPartition};
use crate::fnv::fnv1a;
use crate::metrics::{Metrics, TenantCounts};

/// What is less than a token by so little is one: levels are sums of fractions.
const ROUNDING: f64 = 1e-6;

/// Returns the partition that a tenant's events over HTTP are given: one that depends on its name alone, so that its users'
/// histories stay its own whatever other tenants come and go.
pub fn part(name: &str) -> TopicPartition {
    TopicPartition { partition: -2 - (fnv1a(name.as_bytes()) >> 34) as i32, ..HTTP }
}

/// A rate with a bound.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_s: f64,
    most: f64,
}

impl Rate {
    fn new(per_s: Option<f64>, burst_s: f64) -> Option<Self> {
        per_s.map(|per_s| Self { per_s, most: (per_s * burst_s).max(1.0) })
    }
}

/// The tokens of a bucket at a moment; a full one before the first.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(Option<(f64, Instant)>);

impl Bucket {
    /// Lets the tokens come that came until now; returns how many there are, without end where there is no rate.
    fn fill(&mut self, rate: Option<Rate>, now: Instant) -> f64 {
        let Some(rate) = rate else { return f64::INFINITY };
        let level = self.0.map_or(rate.most, |(level, at)| {
            (level + rate.per_s * now.saturating_duration_since(at).as_secs_f64()).min(rate.most)
        });
        self.0 = Some((level, self.0.map_or(now, |(_, at)| at.max(now))));
        level
    }

    /// Spends tokens, where there is a rate.
    fn spend(&mut self, rate: Option<Rate>, n: f64) {
        if let (Some(_), Some((level, _))) = (rate, &mut self.0) {
            *level -= n;
        }
    }
}

/// The buckets of events and of bytes.
#[derive(Debug, Default)]
struct Buckets(Mutex<[Bucket; 2]>);

/// What goes on from a version of the config to the next.
#[derive(Debug, Default)]
struct Kept {
    flow: Buckets,
    http: Buckets,
    counts: OnceLock<TenantCounts>,
}

/// By which way events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From Kafka.
    Flow,
    /// Over HTTP.
    Http,
}

/// What of a quota is left at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    events: f64,
    bytes: f64,
    spent: (f64, f64),
}

impl Allowance {
    /// Returns whether an event passes.
    pub fn is_open(&self) -> bool {
        self.events >= 1.0 - ROUNDING && self.bytes >= 1.0 - ROUNDING
    }

    /// Returns one that lets all pass, to be paid for all the same.
    #[must_use]
    pub fn without_end(self) -> Self {
        Self { events: f64::INFINITY, bytes: f64::INFINITY, ..self }
    }

    /// Lets an event of so many bytes pass.
    pub fn spend(&mut self, bytes: usize) {
        let bytes = bytes as f64;
        (self.events, self.bytes) = (self.events - 1.0, self.bytes - bytes);
        self.spent = (self.spent.0 + 1.0, self.spent.1 + bytes);
    }
}

/// A tenant by a version of the config.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// The partition that its events over HTTP are given.
    pub part: TopicPartition,
    /// How many of its events are taken when it is its turn.
    pub weight: usize,
    /// The most events and bytes that may wait.
    pub bounds: (usize, usize),
    /// What happens to events that are over the quota when the queue is full.
    pub over: Over,
    /// The most requests over HTTP that are scored at once.
    pub scoring_requests: usize,
    /// A permit for each of them.
    #[cfg(feature = "http")]
    pub scoring: Arc<tokio::sync::Semaphore>,
    rates: [Option<Rate>; 2],
    kept: Arc<Kept>,
}

impl Tenant {
    fn buckets(&self, way: Way) -> &Mutex<[Bucket; 2]> {
        match way {
            Way::Flow => &self.kept.flow.0,
            Way::Http => &self.kept.http.0,
        }
    }

    /// Returns what of the quota is left now. Nothing of it is spent before [`Tenant::settle`], so that two workers may both
    /// spend the same; who comes next pays for it.
    pub fn allowance(&self, way: Way, now: Instant) -> Allowance {
        let mut buckets = self.buckets(way).lock().unwrap_or_else(PoisonError::into_inner);
        let [events, bytes] = [0, 1].map(|of| buckets[of].fill(self.rates[of], now));
        Allowance { events, bytes, spent: (0.0, 0.0) }
    }

    /// Pays for what passed; returns how long nothing more passes.
    pub fn settle(&self, way: Way, allowance: Allowance, now: Instant) -> Duration {
        let spent = [allowance.spent.0, allowance.spent.1];
        self.pay(way, spent, now)
    }

    /// Pays for bytes that came with an event that has passed.
    pub fn pay_bytes(&self, way: Way, bytes: usize, now: Instant) {
        self.pay(way, [0.0, bytes as f64], now);
    }

    /// Lets one event pass, or returns how long it would have to wait; its bytes are paid for by [`Tenant::pay_bytes`].
    ///
    /// # Errors
    /// When the quota is spent.
    pub fn pass(&self, way: Way, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets(way).lock().unwrap_or_else(PoisonError::into_inner);
        let [events, bytes] = [0, 1].map(|of| buckets[of].fill(self.rates[of], now));
        if (Allowance { events, bytes, spent: (0.0, 0.0) }).is_open() {
            buckets[0].spend(self.rates[0], 1.0);
            return Ok(());
        }
        Err(self.wait(&buckets))
    }

    fn pay(&self, way: Way, spent: [f64; 2], now: Instant) -> Duration {
        let mut buckets = self.buckets(way).lock().unwrap_or_else(PoisonError::into_inner);
        for of in [0, 1] {
            buckets[of].fill(self.rates[of], now);
            buckets[of].spend(self.rates[of], spent[of]);
        }
        self.wait(&buckets)
    }

    /// Returns how long it takes until there is a token in each bucket that has a rate.
    fn wait(&self, buckets: &[Bucket; 2]) -> Duration {
        let of = |(bucket, rate): (&Bucket, &Option<Rate>)| {
            let ((level, _), rate) = (bucket.0?, (*rate)?);
            Some(Duration::try_from_secs_f64((1.0 - level) / rate.per_s).unwrap_or_default())
        };
        buckets.iter().zip(&self.rates).filter_map(of).max().unwrap_or_default()
    }

    /// Returns whether it has a quota of events or bytes.
    pub fn has_rate(&self) -> bool {
        self.rates.iter().any(Option::is_some)
    }

    /// Returns the quota as text, for what is refused by it.
    pub fn quota(&self) -> String {
        let names = ["events_per_s", "bytes_per_s"];
        let set = self.rates.iter().zip(names).filter_map(|(rate, name)| {
            let per_s = (*rate)?.per_s;
            Some(format!("tenants.{}.{name} = {per_s}", self.name))
        });
        set.collect::<Vec<_>>().join(" and ")
    }

    /// Returns what is counted of it.
    pub fn counts(&self, metrics: &Metrics) -> &TenantCounts {
        self.kept.counts.get_or_init(|| metrics.tenant(&self.name))
    }
}

/// The tenants of a version of the config, ascending by name.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    all: Vec<Arc<Tenant>>,
    /// The place of the tenant of each identity.
    identities: BTreeMap<String, usize>,
}

impl Tenants {
    /// Makes those of a config, with all of their quotas left.
    pub fn new(config: &ServeConfig) -> Self {
        let weights: usize = config.tenants.values().map(|tenant| tenant.weight).sum();
        let all = config.tenants.iter().map(|(name, tenant)| {
            let share = (config.http.scoring_requests * tenant.weight / weights).max(1);
            let scoring_requests = tenant.scoring_requests.unwrap_or(share);
            Arc::new(Tenant {
                part: part(name),
                name: name.clone(),
                weight: tenant.weight,
                bounds: (
                    tenant.queue_events.unwrap_or(config.flow.queue_events),
                    tenant.queue_bytes.unwrap_or(config.flow.queue_bytes),
                ),
                over: tenant.over,
                scoring_requests,
                #[cfg(feature = "http")]
                scoring: Arc::new(tokio::sync::Semaphore::new(scoring_requests)),
                rates: [tenant.events_per_s, tenant.bytes_per_s]
                    .map(|per_s| Rate::new(per_s, tenant.burst_s)),
                kept: Arc::default(),
            })
        });
        let named = config.tenants.values().zip(0..);
        let named =
            named.flat_map(|(tenant, at)| tenant.identities.iter().map(move |name| (name.clone(), at)));
        Self { all: all.collect(), identities: named.collect() }
    }

    /// Goes on from those of another version: what a tenant of the same name has spent stays spent. Requests that wait for a
    /// permit where there are more or fewer now end by those of before.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let after = |tenant: Arc<Tenant>| {
            let Some(old) = before.named(&tenant.name) else { return tenant };
            let mut tenant = Arc::unwrap_or_clone(tenant);
            tenant.kept = Arc::clone(&old.kept);
            #[cfg(feature = "http")]
            if tenant.scoring_requests == old.scoring_requests {
                tenant.scoring = Arc::clone(&old.scoring);
            }
            Arc::new(tenant)
        };
        Self { all: self.all.into_iter().map(after).collect(), ..self }
    }

    /// Returns all of them.
    pub fn all(&self) -> &[Arc<Tenant>] {
        &self.all
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns the place of the tenant of a name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.all.binary_search_by(|tenant| tenant.name.as_str().cmp(name)).ok()
    }

    fn named(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.place(name).map(|at| &self.all[at])
    }

    /// Returns the tenant of an identity.
    pub fn of(&self, identity: &str) -> Option<&Arc<Tenant>> {
        self.identities.get(identity).map(|at| &self.all[*at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str =
        "models.main.run = 'r'\n[[routes]]\ntenant = 'a'\nmodels = { main = 1 }\n[tenants.a]\n";

    fn tenants(quota: &str) -> Tenants {
        Tenants::new(&format!("{BEGIN}{quota}").parse().expect("a config"))
    }

    /// Lets events of so many bytes pass one after the other, until none does; returns how many there were, and the wait.
    fn pass(tenant: &Tenant, bytes: usize, now: Instant) -> (usize, Duration) {
        let mut allowance = tenant.allowance(Way::Flow, now);
        let mut n = 0;
        while allowance.is_open() && n < 10_000 {
            allowance.spend(bytes);
            n += 1;
        }
        (n, tenant.settle(Way::Flow, allowance, now))
    }

    #[test]
    fn a_quota_lets_a_burst_pass_and_then_its_rate() {
        let all = tenants("events_per_s = 100\nburst_s = 0.5");
        let (tenant, begin) = (&all.all()[0], Instant::now());
        let after = |ms: u64| begin + Duration::from_millis(ms);
        assert_eq!(pass(tenant, 9, after(0)), (50, Duration::from_millis(10)));
        assert_eq!(pass(tenant, 9, after(9)).0, 0);
        assert_eq!(pass(tenant, 9, after(10)).0, 1);
        assert_eq!(pass(tenant, 9, after(45)).0, 3);
        assert_eq!(pass(tenant, 9, after(60_000)).0, 50, "no more than a burst is made up for");
        let total: usize = (0..2000).map(|at| pass(tenant, 9, after(60_000 + at * 7)).0).sum();
        assert_eq!(total, 1399, "13,993 ms at a token each 10 ms, whenever it is looked at");
        assert_eq!(tenant.pass(Way::Http, after(0)), Ok(()), "HTTP has a bucket of its own");
    }

    #[test]
    fn bytes_are_paid_for_after_a_message_larger_than_the_bucket() {
        let all = tenants("bytes_per_s = 1000");
        let (tenant, begin) = (&all.all()[0], Instant::now());
        let after = |s: u64| begin + Duration::from_secs(s);
        let (n, wait) = pass(tenant, 5000, begin);
        assert_eq!((n, wait), (1, Duration::from_millis(4001)));
        assert_eq!((pass(tenant, 5000, after(4)).0, pass(tenant, 5000, after(5)).0), (0, 1));
        // Over HTTP the bytes are known later.
        assert_eq!(tenant.pass(Way::Http, begin), Ok(()));
        tenant.pay_bytes(Way::Http, 3000, begin);
        assert_eq!(tenant.pass(Way::Http, begin), Err(Duration::from_millis(2001)));
        assert_eq!(tenant.pass(Way::Http, after(3)), Ok(()));
        let all = tenants("");
        assert_eq!(pass(&all.all()[0], 5000, begin), (10_000, Duration::ZERO), "no quota");
    }

    #[test]
    fn what_is_spent_stays_spent_when_quotas_change() {
        let (all, now) = (tenants("events_per_s = 100\nidentities = ['x']"), Instant::now());
        assert_eq!(pass(&all.all()[0], 1, now).0, 100);
        let more = tenants("events_per_s = 1000\nscoring_requests = 2").after(&all);
        let tenant = &more.all()[0];
        assert_eq!(pass(tenant, 1, now).0, 0);
        assert_eq!(pass(tenant, 1, now + Duration::from_millis(10)).0, 10, "at the new rate");
        assert!(more.of("x").is_none() && all.of("x").is_some());
        let none = tenants("").after(&more);
        assert_eq!(pass(&none.all()[0], 1, now).0, 10_000);
    }

    #[test]
    fn two_workers_that_spend_the_same_pay_for_it() {
        let (all, now) = (tenants("events_per_s = 10"), Instant::now());
        let tenant = &all.all()[0];
        let (mut one, mut other) = (tenant.allowance(Way::Flow, now), tenant.allowance(Way::Flow, now));
        (0..10).for_each(|_| one.spend(1));
        (0..10).for_each(|_| other.spend(1));
        tenant.settle(Way::Flow, one, now);
        assert_eq!(tenant.settle(Way::Flow, other, now), Duration::from_millis(1100));
    }
}
