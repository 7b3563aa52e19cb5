//! Answers a batch: each step of the engine, one after the other.

use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::encode::Encoder;
use super::plan::BatchPlan;
use super::{Engine, Reading, steps};
use crate::config::{InputFormat, Place};
use crate::event::{BYTES, Incoming};
use crate::message::{Request, decode};
use crate::outbox::{EventOutcome, Outbox};
use crate::provenance::Trace;
use crate::settings::{Live, Settings};
use crate::state::Undo;
use crate::{Kind, Reject};

/// The most bytes of a request that may be quick: decoding them takes some tens of microseconds.
const QUICK_BYTES: usize = 1 << 14;

/// The longest that scoring a quick request takes.
const QUICK: Duration = Duration::from_micros(500);

impl Engine {
    /// Answers a batch into `out` by the settings and the models as they are now. Its events change histories at once; `undo`
    /// gets what takes each change back.
    pub fn answer(&self, events: &[Incoming], reading: Reading, undo: &mut Vec<Undo>, out: &mut Outbox) {
        self.answer_by(&self.models.live(), events, reading, undo, out);
    }

    /// Does the same by these settings and models.
    pub fn answer_by(
        &self,
        live: &Arc<Live>,
        events: &[Incoming],
        reading: Reading,
        undo: &mut Vec<Undo>,
        out: &mut Outbox,
    ) {
        let plan = self.plan(live, events, reading, undo, out);
        self.finish(live, plan, events, reading, out);
    }

    /// Answers a request over HTTP if that is quick: there are no steps of one's own, nobody is to be folded in, no catalogue to be gone through, and the pairs
    /// take less than half a millisecond by what the model's pairs took of late. Returns whether it was; else nothing is
    /// changed.
    pub fn answer_if_quick(&self, event: &Incoming, kind: Kind, out: &mut Outbox) -> bool {
        let is_large = event.payload().is_some_and(|payload| payload.len() > QUICK_BYTES);
        if is_large || !self.steps.is_empty() {
            return false;
        }
        let (live, reading, events) =
            (self.models.live(), Reading { http: Some(kind) }, slice::from_ref(event));
        // Only an event changes a history, and it is quick.
        let plan = self.plan(&live, events, reading, &mut Vec::new(), out);
        let is_quick = plan.is_of_pairs() && plan.takes().is_some_and(|time| time <= QUICK);
        if is_quick {
            self.finish(&live, plan, events, reading, out);
        }
        is_quick
    }

    /// Decodes a batch, lets it go through the steps before score, looks up its ids, and changes the histories of its events.
    fn plan<'a>(
        &'a self,
        live: &'a Live,
        events: &'a [Incoming],
        reading: Reading,
        undo: &mut Vec<Undo>,
        out: &mut Outbox,
    ) -> BatchPlan<'a> {
        let settings = &*live.settings;
        let mut plan = BatchPlan::new(self, live, events.len());
        let now_ms = self.clock.unix_ms();
        let (traces, elsewhere) = (&mut out.traces, &mut out.elsewhere);
        let read = events.iter().map(|event| {
            let read = self.read(settings, event, reading, now_ms);
            if let Some(tracer) = &self.tracer {
                traces.all.push(Trace::default());
                if let Ok(request) = &read {
                    traces.note(tracer.ids(), request, tracer.items());
                }
            }
            read
        });
        let mut add = |(at, read): (usize, Result<Request<'a>, EventOutcome>)| match read {
            Ok(request) => {
                let event = &events[at];
                let right = request.user().and_then(|user| self.belongs_elsewhere(event.part, user));
                elsewhere.extend(right.map(|right| (at, right)));
                plan.add(at, event, request, undo);
            }
            Err(end) => plan.end(at, end),
        };
        if self.steps.has_none(Place::BeforeScore) {
            read.enumerate().for_each(add);
        } else {
            let (read, fields) = self.before_score(settings, events, read.collect());
            read.into_iter().enumerate().for_each(&mut add);
            plan.fields = fields;
        }
        plan
    }

    /// Decodes an event, or says how it ends unread.
    fn read<'a>(
        &self,
        settings: &Settings,
        event: &'a Incoming,
        reading: Reading,
        now_ms: i64,
    ) -> Result<Request<'a>, EventOutcome> {
        if let Some(late) = Self::late(settings, event, now_ms) {
            return Err(EventOutcome::Expired(late));
        }
        if let Some(reject) = &event.refused {
            return Err(EventOutcome::Failed(Reject::clone(reject)));
        }
        if let Some(why) = self.hopeless(settings, event) {
            return Err(EventOutcome::GivenUp(why));
        }
        let format = if reading.http.is_some() { InputFormat::Json } else { self.input };
        decode(event.payload(), format, reading.http, &settings.limits).map_err(EventOutcome::Failed)
    }

    /// Computes what is planned, and writes the replies.
    fn finish(
        &self,
        live: &Arc<Live>,
        mut plan: BatchPlan<'_>,
        events: &[Incoming],
        reading: Reading,
        out: &mut Outbox,
    ) {
        let start = (reading.http.is_some() && plan.is_of_pairs()).then(Instant::now);
        plan.compute();
        if let Some(start) = start {
            plan.took(start.elapsed());
        }
        let settings = &*live.settings;
        let as_csv = settings.output.csv.is_some() && reading.http.is_none();
        steps::write(&Encoder { engine: self, settings, events, as_csv }, plan, out);
        out.live = Some(Arc::clone(live));
    }

    /// Returns why a reject is not to be tried again.
    fn hopeless(&self, settings: &Settings, event: &Incoming) -> Option<&'static str> {
        self.resubmits()?;
        match event.header(BYTES) {
            Some(_) => Some("cut"),
            None => (event.tries() > settings.limits.attempts).then_some("attempts"),
        }
    }

    fn late(settings: &Settings, event: &Incoming, now_ms: i64) -> Option<Reject> {
        let (most, at) = (settings.flow.max_event_age_ms?, event.timestamp_ms?);
        let age = u64::try_from(now_ms.saturating_sub(at)).unwrap_or(0);
        let text = || format!("{age} ms old; expected at most {most}");
        (age > most).then(|| Reject::queue("expired", text()))
    }
}
