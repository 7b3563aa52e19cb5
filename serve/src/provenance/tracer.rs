//! Notes what happened to the events of a batch, as the index takes it.

use std::sync::Arc;
use std::time::Instant;

use super::Index;
use super::ids::IdHasher;
use super::record::{Batch, Facts, ModelFacts, Row};
use crate::event::{HTTP, Incoming};
use crate::metrics::OutcomeLabels;
use crate::outbox::{EventOutcome, Outbox};

/// An index, as an engine writes to it.
#[derive(Clone)]
pub struct Tracer {
    /// The index.
    pub index: Arc<Index>,
    topics: Arc<[String]>,
    /// The number of the replay that this engine answers.
    replay: Option<u64>,
}

/// What an event has in common with the one before it.
#[derive(Clone, Copy)]
struct Before {
    at: usize,
    tries: u32,
    facts: u16,
}

impl Tracer {
    /// Writes to an index as an engine of these topics, in a replay of this number.
    pub fn new(index: Arc<Index>, topics: &[String], replay: Option<u64>) -> Self {
        Self { index, topics: topics.into(), replay }
    }

    /// Returns the hashes of ids.
    pub fn ids(&self) -> &IdHasher {
        self.index.ids()
    }

    /// Returns by how many of its items an event is found.
    pub fn items(&self) -> usize {
        self.index.config.items
    }

    /// Returns the number of the replay.
    pub fn replay(&self) -> Option<u64> {
        self.replay
    }

    /// Returns what happened to the events of a batch, but for those at `except`, which are tried again. They ended now, which is
    /// given as a moment and in Unix milliseconds.
    pub fn batch(
        &self,
        events: &[Incoming],
        outbox: &Outbox,
        except: &[usize],
        (now, at_ms): (Instant, i64),
    ) -> Batch {
        let (mut facts, mut rows) = (Vec::new(), Vec::with_capacity(events.len()));
        let mut items = Vec::with_capacity(outbox.traces.items.len());
        let mut before: Option<Before> = None;
        for (at, event) in
            events.iter().enumerate().filter(|(at, _)| except.is_empty() || !except.contains(at))
        {
            let trace = outbox.traces.all.get(at).copied().unwrap_or_default();
            let tries = event.tries();
            let is_alike = |before: &Before| {
                let kind = outbox.traces.all.get(before.at).and_then(|trace| trace.kind);
                before.tries == tries
                    && kind == trace.kind
                    && outbox.answered.get(before.at) == outbox.answered.get(at)
                    && outbox.outcomes[before.at] == outbox.outcomes[at]
            };
            let of = match before.filter(is_alike) {
                Some(before) => before.facts,
                None => {
                    let new = self.facts(outbox, at, tries);
                    let found = facts.iter().position(|known| *known == new);
                    found.unwrap_or_else(|| {
                        facts.push(new);
                        facts.len() - 1
                    }) as u16
                }
            };
            before = Some(Before { at, tries, facts: of });
            for span in [trace.asked, trace.best] {
                items.extend_from_slice(outbox.traces.items(span));
            }
            let latency = now.saturating_duration_since(event.received).as_micros();
            rows.push(Row {
                part: event.part,
                offset: event.offset,
                facts: of,
                latency_us: u32::try_from(latency).unwrap_or(u32::MAX),
                user: trace.user,
                id: trace.id,
                items: trace.asked.1 + trace.best.1,
            });
        }
        Batch { topics: Arc::clone(&self.topics), at_ms, facts, rows, items, inputs: Vec::new() }
    }

    /// Takes a request that was answered over HTTP, with who sent it.
    pub fn http(&self, event: &Incoming, outbox: &Outbox, by: Option<&str>, now: (Instant, i64)) {
        let mut batch = self.batch(std::slice::from_ref(event), outbox, &[], now);
        // Tenants have partitions of their own, which are no places to look at.
        batch.rows.iter_mut().for_each(|row| (row.part, row.offset) = (HTTP, self.index.next_http()));
        batch.facts.iter_mut().for_each(|facts| facts.by = by.map(str::to_owned));
        let input = event.payload().unwrap_or_default();
        let most = self.index.config.input_bytes;
        // What could not be read is of nobody who could be erased from the index.
        let is_read = outbox.traces.all.first().is_some_and(|trace| trace.kind.is_some());
        if is_read && most > 0 {
            batch.inputs.push((0, input[..input.len().min(most)].to_vec()));
        }
        self.index.take(vec![batch]);
    }

    fn facts(&self, outbox: &Outbox, at: usize, attempts: u32) -> Facts {
        let outcome = &outbox.outcomes[at];
        let labels = OutcomeLabels::of(outcome);
        let reason = if matches!(outcome, EventOutcome::Replied(_)) { "" } else { labels.of };
        let model = outbox.answered_by(at).map(|served| ModelFacts {
            name: served.name.clone(),
            version: served.version.clone(),
            hash: served.hash.clone(),
            data: served.recommender.data.hash.clone(),
        });
        let kind = outbox.traces.all.get(at).and_then(|trace| trace.kind);
        Facts {
            kind: kind.map_or("", |kind| kind.name()).to_owned(),
            outcome: labels.outcome.to_owned(),
            reason: reason.to_owned(),
            stage: labels.stage.to_owned(),
            model,
            config: outbox.live.as_ref().map_or(0, |live| live.settings.version),
            attempts,
            replay: self.replay,
            by: None,
            unconfirmed: false,
        }
    }
}
