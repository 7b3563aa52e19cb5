//! Steps of one's own in the engine: requests go to those before score, answers to those after it.
//!
//! What a shadow model answers goes to none, and so do requests of type `event` after score: the history has changed by then.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Engine;
use super::encode::{Encoder, Line, by, score_is};
use super::plan::{BatchPlan, Job, Work};
use crate::Kind;
use crate::config::Place;
use crate::event::Incoming;
use crate::message::{Ask, Request, WireId};
use crate::outbox::{EventOutcome, Outbox, To};
use crate::served::Served;
use crate::settings::{Row, Settings};
use crate::step::{StepAnswer, StepEvent, StepItem};

/// What steps add to events, by an index.
type Fields = BTreeMap<usize, Map<String, Value>>;

impl Engine {
    /// Lets requests go through the steps before score; also returns what these add, by the event's index.
    pub(super) fn before_score<'a>(
        &self,
        settings: &Settings,
        events: &[Incoming],
        mut read: Vec<Result<Request<'a>, EventOutcome>>,
    ) -> (Vec<Result<Request<'a>, EventOutcome>>, Fields) {
        let mut batch = Vec::new();
        for (at, read) in read.iter_mut().enumerate() {
            // A replay skips events, or writes them back as they are.
            let goes = |request: &Request<'_>| self.replaying.is_none() || request.kind() != Kind::Event;
            if read.as_ref().is_ok_and(goes)
                && let Ok(request) = std::mem::replace(read, Err(EventOutcome::Filtered))
            {
                batch.push(StepEvent::new(at, self.step_source(&events[at]), request));
            }
        }
        let (passed, ends) = self.steps.run(Place::BeforeScore, batch, &settings.limits, &|_, _| true);
        ends.into_iter().for_each(|(at, end)| read[at] = Err(end));
        let mut fields = Fields::new();
        for event in passed {
            read[event.at] = Ok(event.request);
            if !event.fields.is_empty() {
                fields.insert(event.at, event.fields);
            }
        }
        (read, fields)
    }

    fn step_source(&self, event: &Incoming) -> Option<String> {
        self.topics.get(usize::from(event.part.topic)).map(|_| self.source(event))
    }
}

/// Writes the replies of a batch in the order of the events, those that go to steps as these leave them.
pub fn write(encoder: &Encoder<'_>, mut plan: BatchPlan<'_>, out: &mut Outbox) {
    if encoder.engine.steps.has_none(Place::AfterScore) && plan.fields.is_empty() {
        encoder.each(&plan, out, |_, job, out| encoder.job(job, &plan, out));
    } else {
        let fields = std::mem::take(&mut plan.fields);
        let mut stepped = Stepped::of(encoder, &plan, fields);
        encoder.each(&plan, out, |at, job, out| stepped.job(at, job, out));
    }
}

/// The answers of a batch after the steps.
struct Stepped<'a> {
    encoder: &'a Encoder<'a>,
    plan: &'a BatchPlan<'a>,
    /// By the job's index, for those that went to the steps.
    answers: BTreeMap<usize, Result<StepEvent<'a>, EventOutcome>>,
    /// What steps added to the others, by the event's index.
    fields: Fields,
}

impl<'a> Stepped<'a> {
    /// Lets the answers of a batch go through the steps after score.
    fn of(encoder: &'a Encoder<'a>, plan: &'a BatchPlan<'a>, mut fields: Fields) -> Self {
        let (mut answers, mut batch) = (BTreeMap::new(), Vec::new());
        for (at, job) in plan.jobs.iter().enumerate() {
            let goes = !job.shadow && job.failed.is_none() && !matches!(job.work, Work::Event { .. });
            let Some(served) = job.served.filter(|_| goes) else { continue };
            match encoder.answer(job, served, plan) {
                Err(end) => drop(answers.insert(at, Err(end))),
                Ok(lines) => {
                    let source = encoder.engine.step_source(&encoder.events[job.event]);
                    let mut event = StepEvent::new(at, source, job.request.clone());
                    event.fields = fields.remove(&job.event).unwrap_or_default();
                    event.answer = Some(answer(encoder, job, served, &lines));
                    batch.push(event);
                }
            }
        }
        let knows = |at: usize, item: &WireId<'_>| {
            let job: &Job<'_> = &plan.jobs[at];
            let is_known = job.served.is_some_and(|served| served.recommender.item_row(item.id()).is_some());
            is_known || matches!(&job.request.ask, Ask::Score { items, .. } if items.contains(item))
        };
        let limits = &encoder.settings.limits;
        let (passed, ends) = encoder.engine.steps.run(Place::AfterScore, batch, limits, &knows);
        answers.extend(ends.into_iter().map(|(at, end)| (at, Err(end))));
        answers.extend(passed.into_iter().map(|event| (event.at, Ok(event))));
        Self { encoder, plan, answers, fields }
    }

    /// Writes the reply of a job.
    fn job(&mut self, at: usize, job: &Job<'_>, out: &mut Outbox) -> EventOutcome {
        let encoder = self.encoder;
        match (self.answers.remove(&at), &job.work) {
            (Some(Err(end)), _) => end,
            (Some(Ok(event)), _) => self.put(job, &event, out),
            (None, Work::Event { .. }) => {
                out.put(To::Replies, job.event, |bytes| encoder.event_json(job, bytes));
                add_fields(&self.fields.remove(&job.event).unwrap_or_default(), out);
                encoder.remember(job, out);
                EventOutcome::Replied(job.kind())
            }
            (None, _) => encoder.job(job, self.plan, out),
        }
    }

    fn put(&self, job: &Job<'_>, event: &StepEvent<'_>, out: &mut Outbox) -> EventOutcome {
        let (Some(answer), Some(served)) = (&event.answer, job.served) else {
            return self.encoder.job(job, self.plan, out);
        };
        let join = self.encoder.settings.join.as_ref();
        let rows: Vec<Row> = answer.items.iter().map(|item| Row::of_columns(&item.columns, join)).collect();
        let lines = answer.items.iter().zip(&rows);
        let lines = lines.map(|(item, row)| Line {
            item: item.item.id(),
            row: None,
            score: item.score,
            joined: Some(row),
        });
        let outcome = self.encoder.put(job, served, &lines.collect::<Vec<_>>(), out);
        if !self.encoder.as_csv {
            add_fields(&event.fields, out);
        }
        outcome
    }
}

fn answer<'a>(
    encoder: &Encoder<'_>,
    job: &Job<'a>,
    served: &'a Served,
    lines: &[Line<'_>],
) -> StepAnswer<'a> {
    let titles = served.recommender.titles.as_ref().filter(|_| encoder.settings.output.titles);
    let item = |line: &Line<'_>| {
        let mut columns = Map::new();
        let title = titles.zip(line.row).map(|(titles, row)| titles.0[row.at()].as_str());
        columns.extend(title.map(|title| ("title".to_owned(), title.into())));
        columns.extend(line.joined.map(Row::columns).unwrap_or_default());
        StepItem { item: WireId::from(line.item).into_owned(), score: line.score, columns }
    };
    StepAnswer {
        items: lines.iter().map(item).collect(),
        score_is: score_is(job, served),
        by: by(job),
        model: &served.name,
        version: &served.version,
        hash: &served.hash,
    }
}

/// Adds fields to the object that was written last.
fn add_fields(fields: &Map<String, Value>, out: &mut Outbox) {
    let Some(value) = out.messages.last_mut().and_then(|message| message.value.as_mut()) else { return };
    if !fields.is_empty() {
        // In place of the brace that closes it.
        out.bytes.pop();
        for (name, field) in fields {
            let member = format!(",{}:{field}", Value::from(name.as_str()));
            out.bytes.extend_from_slice(member.as_bytes());
        }
        out.bytes.push(b'}');
        value.end = out.bytes.len();
    }
}
