//! `replay`: a range of a topic answered again, by a flow whose transport ends where the range does.
//!
//! The state is read and not changed. An `event` of the requests is in the state already and is passed over; one of the
//! reject topic never was, and goes back to the topic that it came from, where its owner takes it up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::begin::start;
use super::client::CALL;
use super::restore::restore;
use super::{KafkaTransport, TopicLimits};
use crate::config::{KafkaConfig, OnDataLoss, ServeConfig, Start, TenantConfig};
use crate::engine::{Engine, Replaying};
use crate::event::{ATTEMPTS, BYTES, Incoming, OWN, SOURCE, TopicPartition};
use crate::flow::{Change, End, Flow, FlowOptions, Position, Records, Refused, Transport, Trouble};
use crate::health::Health;
use crate::metrics::{Metrics, OutcomeLabels};
use crate::outbox::Outbox;
use crate::{Error, Result};

/// Longer than any promise of a worker.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What to answer again.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The reject topic in place of the topics of requests.
    pub rejects: bool,
    /// Where to begin; `committed` goes on where the last replay ended.
    pub from: Start,
    /// Where to end; `latest` is the end as it is now.
    pub to: Start,
    /// Of which topic of requests, and which of its partitions; all without it.
    pub only: Option<Only>,
}

/// A topic, or a partition of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Only {
    /// The topic.
    pub topic: String,
    /// The partition; all without one.
    pub partition: Option<i32>,
}

/// Answers a range again; returns how its events ended. `asked` stops it early, and what was done is committed.
///
/// # Errors
/// When it cannot go on.
pub fn replay(
    config: &ServeConfig,
    range: &Range,
    asked: &(dyn Fn() -> bool + Sync),
) -> Result<BTreeMap<OutcomeLabels, u64>> {
    let engine = |config: &_, replaying| Ok(Engine::open(config)?.replaying(replaying));
    replay_by(config, range, "replay", &engine, asked)
}

/// Does the same with the engine that `engine` makes for the config of a topic; `name` follows the name of the service's group in
/// that of the replay's.
///
/// # Errors
/// Likewise.
pub fn replay_by(
    config: &ServeConfig,
    range: &Range,
    name: &str,
    engine: &dyn Fn(&ServeConfig, Replaying) -> Result<Engine>,
    asked: &(dyn Fn() -> bool + Sync),
) -> Result<BTreeMap<OutcomeLabels, u64>> {
    let kafka = config
        .kafka
        .as_ref()
        .ok_or_else(|| Error::config("kafka", "none", "the table [kafka]: a replay reads from its topics"))?;
    let limits = super::check(kafka, config.ttl())?;
    let metrics = Arc::new(Metrics::default());
    let topics = if range.rejects { vec![kafka.rejects.clone()] } else { kafka.requests.clone() };
    let is_asked = |topic: &String| range.only.as_ref().is_none_or(|only| only.topic == *topic);
    for topic in topics.into_iter().filter(is_asked) {
        let source =
            if range.rejects { kafka.requests.first().cloned().unwrap_or_default() } else { topic.clone() };
        let mut config = config.clone();
        // Whoever replays waits for no quota: that is of what comes by itself.
        config.tenants.values_mut().for_each(TenantConfig::lift);
        config.kafka = Some(KafkaConfig {
            group: format!("{}-{name}", kafka.group),
            requests: vec![topic],
            // Of offsets that are named none may be missing.
            on_data_loss: match &range.only {
                Some(Only { partition: Some(_), .. }) => Some(OnDataLoss::Stop),
                _ => kafka.on_data_loss,
            },
            ..kafka.clone()
        });
        let resubmit = range.rejects.then(|| kafka.requests.clone());
        let replaying = Replaying { state_topic: source, resubmit, number: None };
        let engine = Arc::new(engine(&config, replaying)?);
        one(&config, range, &limits, &engine, &metrics, asked)?;
    }
    Ok(metrics.ends())
}

fn one(
    config: &ServeConfig,
    range: &Range,
    limits: &TopicLimits,
    engine: &Arc<Engine>,
    metrics: &Arc<Metrics>,
    asked: &(dyn Fn() -> bool + Sync),
) -> Result<()> {
    let Some(kafka) = &config.kafka else { return Ok(()) };
    let (health, stop) = (Arc::new(Health::default()), Arc::new(AtomicBool::new(false)));
    let options = FlowOptions::new(0, kafka);
    let transport =
        RangeTransport::open(kafka, range, limits, health, Arc::clone(metrics), Arc::clone(&stop))?;
    let mut flow = Flow::new(Arc::clone(engine), Arc::clone(metrics), options, transport);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                stop.fetch_or(asked(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let result = flow.run(&stop);
        stop.store(true, Ordering::Relaxed);
        flow.into_transport().inner.close();
        result
    })?;
    // A stop leaves what it could not commit to the next reader, which for a replay is nobody.
    match metrics.progress.late(Instant::now() + A_YEAR).is_empty() || asked() {
        true => Ok(()),
        false => {
            let found =
                "the brokers did not take all that the last events led to; the next replay begins with these";
            Err(Error::Stop { by: "failures.sink".into(), found: found.into() })
        }
    }
}

/// A Kafka transport that has all partitions of its topic and ends where its range does.
struct RangeTransport {
    inner: KafkaTransport,
    config: KafkaConfig,
    range: Range,
    /// Whether `range.from` is committed as the place to begin.
    begun: bool,
    /// Where the range ends in each partition.
    ends: HashMap<i32, i64>,
    /// The partitions of which more is to be read.
    reading: HashSet<i32>,
    /// After the last event that was handed on, in each partition of which not all is committed.
    handed_on: HashMap<i32, i64>,
    stop: Arc<AtomicBool>,
}

impl RangeTransport {
    fn open(
        config: &KafkaConfig,
        range: &Range,
        limits: &TopicLimits,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        // For rejects this transport restores the state: one reject may be of a user of any partition.
        let inner_config =
            KafkaConfig { state: config.state.clone().filter(|_| !range.rejects), ..config.clone() };
        let inner =
            KafkaTransport::of_all(&inner_config, limits.clone(), health, metrics, Arc::clone(&stop))?;
        let (config, range) = (config.clone(), range.clone());
        let (ends, reading, handed_on) = Default::default();
        Ok(Self { inner, config, range, begun: false, ends, reading, handed_on, stop })
    }

    fn names(&self, parts: &[TopicPartition]) -> Vec<(String, i32)> {
        parts.iter().map(|part| (self.config.requests[0].clone(), part.partition)).collect()
    }

    /// Commits the place to begin, so that it is the same after a failure.
    fn begin_range(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble> {
        if self.begun {
            return Ok(());
        }
        let names = self.names(parts);
        let begins = start(self.inner.consumer(), &self.range.from, &names)
            .map_err(|error| Trouble::Fatal(Error::kafka("find the range's beginning")(error)))?;
        let position = |(part, name): (&TopicPartition, &(String, i32))| {
            Some((*part, Some(begins.get(name)?.to_raw()?), String::new()))
        };
        let positions: Vec<Position> = parts.iter().zip(&names).filter_map(position).collect();
        if !positions.is_empty() {
            self.inner.commit(&positions, true)?;
        }
        self.begun = true;
        Ok(())
    }

    /// Finds the ends of the partitions, by what is asked for or as they are now; one that is known stays.
    fn find_ends(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble> {
        let trouble =
            |error: rdkafka::error::KafkaError| Trouble::Fatal(Error::kafka("find the range's end")(error));
        let names = self.names(parts);
        let asked = start(self.inner.consumer(), &self.range.to, &names).map_err(trouble)?;
        for name in names {
            let (_, high) = self.inner.consumer().fetch_watermarks(&name.0, name.1, CALL).map_err(trouble)?;
            let end = asked.get(&name).and_then(|offset| offset.to_raw()).unwrap_or(high);
            self.ends.entry(name.1).or_insert(end.min(high));
        }
        Ok(())
    }

    /// Notes from where on partitions are read.
    fn read_from(&mut self, positions: &[Position]) {
        for (part, next, _) in positions {
            let is_over = self.ends.get(&part.partition).is_some_and(|&end| next.unwrap_or(0) >= end);
            if is_over {
                self.reading.remove(&part.partition);
            } else {
                self.reading.insert(part.partition);
            }
        }
    }

    /// Stops the flow when all is read and committed: what is to be tried again is not before.
    fn stop_at_the_end(&self) {
        if self.reading.is_empty() && self.handed_on.is_empty() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Transport for RangeTransport {
    fn receive(
        &mut self,
        wait: Duration,
        most: usize,
        into: &mut Vec<Incoming>,
    ) -> Result<Vec<Change>, Trouble> {
        let before = into.len();
        let mut changes = self.inner.receive(wait, most, into)?;
        if let Some(only) = self.range.only.as_ref().and_then(|only| only.partition) {
            for change in &mut changes {
                if let Change::Assigned(parts) = change {
                    parts.retain(|part| part.partition == only);
                }
            }
        }
        let mut over: HashSet<i32> = self.inner.ended();
        let ends = &self.ends;
        let mut at = before;
        while at < into.len() {
            let (partition, offset) = (into[at].part.partition, into[at].offset);
            let end = ends.get(&partition).copied().unwrap_or(i64::MAX);
            if offset + 1 >= end {
                over.insert(partition);
            }
            if offset >= end {
                into.remove(at);
                continue;
            }
            self.handed_on.insert(partition, offset + 1);
            // The other headers of the old reject would pass for those of the new reply.
            let kept = [SOURCE, ATTEMPTS, BYTES];
            into[at].headers.retain(|(name, _)| !name.starts_with(OWN) || kept.contains(&name.as_str()));
            at += 1;
        }
        self.reading.retain(|partition| !over.contains(partition));
        if changes.is_empty() {
            self.stop_at_the_end();
        }
        Ok(changes)
    }

    fn positions(
        &mut self,
        parts: &[TopicPartition],
        record: &mut Records<'_>,
    ) -> Result<Vec<Position>, Trouble> {
        self.begin_range(parts)?;
        self.find_ends(parts)?;
        let positions = self.inner.positions(parts, record)?;
        self.read_from(&positions);
        if let (true, Some(state), Some(&first)) = (self.range.rejects, &self.config.state, parts.first()) {
            let trouble = |error| Trouble::Fatal(Error::kafka("read the state")(error));
            let metadata = self.inner.consumer().fetch_metadata(Some(state), CALL).map_err(trouble)?;
            let all: Vec<i32> =
                metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|p| p.id()).collect();
            restore(&self.config, state, &all, &mut |_, key, value| record(first, key, value))
                .map_err(trouble)?;
        }
        Ok(positions)
    }

    fn partitions(&self, topic: u16) -> Option<i32> {
        self.inner.partitions(topic)
    }

    fn begin(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        self.inner.begin(positions)
    }

    fn release(&mut self, parts: &[TopicPartition]) -> Result<(), Trouble> {
        self.inner.release(parts)
    }

    fn ends(&mut self) -> Vec<End> {
        self.inner.ends()
    }

    fn refused(&self, events: &[Incoming], outbox: &Outbox) -> Vec<Refused> {
        self.inner.refused(events, outbox)
    }

    fn send(&mut self, batch: u64, events: &[Incoming], outbox: &Outbox) -> Result<(), Trouble> {
        self.inner.send(batch, events, outbox)
    }

    fn delivered(&mut self, wait: Duration) -> Result<u64, Trouble> {
        self.inner.delivered(wait)
    }

    fn commit(&mut self, positions: &[Position], wait: bool) -> Result<(), Trouble> {
        self.inner.commit(positions, wait)?;
        for (part, next, _) in positions {
            let is_done = |last: &i64| next.is_some_and(|next| next >= *last);
            if self.handed_on.get(&part.partition).is_some_and(is_done) {
                self.handed_on.remove(&part.partition);
            }
        }
        Ok(())
    }

    fn abort(&mut self, rebuild: bool) -> Result<(), Trouble> {
        self.inner.abort(rebuild)
    }

    fn rewind(&mut self, positions: &[Position]) -> Result<(), Trouble> {
        self.read_from(positions);
        self.inner.rewind(positions)
    }

    fn pause(&mut self, parts: &[TopicPartition], paused: bool) -> Result<(), Trouble> {
        self.inner.pause(parts, paused)
    }
}
