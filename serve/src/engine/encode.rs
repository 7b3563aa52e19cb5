//! Writes replies: JSON objects, or CSV lines of the columns that the config names.
//!
//! ```json
//! {"type":"score","id":"a1","user":7,"items":[{"item":12,"score":0.93}],"score_is":"probability",
//!  "model":"main","version":"mf","hash":"3f2a91c0d1e2","source":"requests/0/55"}
//! ```
//!
//! `recommend` and `similar` have the same shape, the best items first; the reply to an `event` says the length of the
//! user's history. `"by":"fold-in"` or `"by":"popularity"` is added where the scores are not those that the model was
//! trained to give this user; beside CSV it is the header `burnrec-by`.

use std::io::Write;

use burnrec_data::{Id, ItemIx};
use burnrec_models::Family;
use burnrec_models::popularity::PopularityConfig;

use super::plan::{BatchPlan, Job, MISSING, User, Work};
use super::{Engine, HTTP};
use crate::Reject;
use crate::event::Incoming;
use crate::message::{Ask, WireId};
use crate::outbox::{EventOutcome, Outbox, To};
use crate::served::Served;
use crate::settings::{Row, Settings};

/// Writes the replies of a batch.
pub struct Encoder<'a> {
    /// The engine that answered.
    pub engine: &'a Engine,
    /// The settings by which it answered.
    pub settings: &'a Settings,
    /// The events of the batch.
    pub events: &'a [Incoming],
    /// Whether replies are CSV lines instead of JSON objects.
    pub as_csv: bool,
}

/// An item of a reply.
pub(super) struct Line<'a> {
    pub item: Id<'a>,
    pub row: Option<ItemIx>,
    /// The score as replies show it, for example a probability; none for an item that the model does not know.
    pub score: Option<f32>,
    pub joined: Option<&'a Row>,
}

impl Encoder<'_> {
    /// Ends the events in their order, those of jobs as `answer` says.
    pub(super) fn each(
        &self,
        plan: &BatchPlan<'_>,
        out: &mut Outbox,
        mut answer: impl FnMut(usize, &Job<'_>, &mut Outbox) -> EventOutcome,
    ) {
        let mut ends = plan.ends.iter().peekable();
        for (at, job) in plan.jobs.iter().enumerate() {
            while let Some((_, end)) = ends.next_if(|(event, _)| *event < job.event) {
                out.end(end.clone(), None);
            }
            let outcome = answer(at, job, out);
            // The job of a shadow model comes before the event's own job, and only the latter ends the event.
            if !job.shadow {
                out.end(outcome, job.served);
            }
        }
        ends.for_each(|(_, end)| out.end(end.clone(), None));
    }

    pub(super) fn job(&self, job: &Job<'_>, plan: &BatchPlan<'_>, out: &mut Outbox) -> EventOutcome {
        if let Some(reject) = &job.failed {
            return EventOutcome::Failed(reject.clone());
        }
        let (Some(served), false) = (job.served, matches!(job.work, Work::Event { .. })) else {
            out.put(To::Replies, job.event, |bytes| self.event_json(job, bytes));
            self.remember(job, out);
            return EventOutcome::Replied(job.kind());
        };
        match self.answer(job, served, plan) {
            Ok(lines) => self.put(job, served, &lines, out),
            Err(end) => end,
        }
    }

    /// Returns the items of the reply, or how the event ends without.
    pub(super) fn answer<'a>(
        &'a self,
        job: &'a Job<'_>,
        served: &'a Served,
        plan: &BatchPlan<'_>,
    ) -> Result<Vec<Line<'a>>, EventOutcome> {
        let mut lines = self.lines(job, served, plan);
        if let Some(line) = lines.iter().find(|line| line.score.is_some_and(|score| !score.is_finite())) {
            let text = format!("the score of item {} is {:?}", line.item, line.score.unwrap_or(f32::NAN));
            return Err(EventOutcome::Failed(Reject::score("not-finite", text)));
        }
        if let Some(join) = self.settings.join.as_ref().filter(|_| !matches!(job.work, Work::Similar { .. }))
        {
            let scale = (!is_other_scale(job)).then_some(self.settings.output.score_scale);
            let before = lines.len();
            lines.retain(|line| {
                join.passes(line.joined, line.score.zip(scale).map(|(score, scale)| scale * score))
            });
            if lines.is_empty() && before > 0 {
                if is_other_scale(job) {
                    let text = "scores by popularity; expected those of the model, as the thresholds are for";
                    return Err(EventOutcome::Failed(Reject::score("other-scale", text)));
                }
                if self.events[job.event].part.topic != HTTP.topic {
                    return Err(EventOutcome::Filtered);
                }
            }
        }
        Ok(lines)
    }

    /// Writes the reply.
    pub(super) fn put(
        &self,
        job: &Job<'_>,
        served: &Served,
        lines: &[Line<'_>],
        out: &mut Outbox,
    ) -> EventOutcome {
        let to = if job.shadow { To::Shadow } else { To::Replies };
        if let (Some(tracer), false, Work::Recommend { .. } | Work::Similar { .. }) =
            (&self.engine.tracer, job.shadow, &job.work)
        {
            let best = lines.iter().take(tracer.items()).map(|line| tracer.ids().item(line.item));
            out.traces.note_best(job.event, best);
        }
        if self.as_csv {
            let message = out.put(to, job.event, |bytes| self.csv(job, served, lines, bytes));
            message.headers = vec![
                ("burnrec-model", served.label().into_bytes()),
                ("burnrec-source", self.engine.source(&self.events[job.event]).into_bytes()),
            ];
            message.headers.extend(by(job).map(|by| ("burnrec-by", by.into())));
        } else {
            out.put(to, job.event, |bytes| self.json(job, served, lines, bytes));
        }
        EventOutcome::Replied(job.kind())
    }

    /// Adds the record with the user's history to the state topic's messages.
    pub(super) fn remember(&self, job: &Job<'_>, out: &mut Outbox) {
        let home = self.events[job.event].home();
        let (Some(topic), Some(user)) =
            (self.engine.topics.get(usize::from(home.part.topic)), job.request.user())
        else {
            return;
        };
        let start = out.bytes.len();
        let middle = self.engine.state.write(home, topic, user, &mut out.bytes);
        let end = out.bytes.len();
        let message = out.put(To::State, job.event, |_| {});
        (message.key, message.value) = (Some(start..middle), Some(middle..end));
    }

    fn lines<'a>(&'a self, job: &'a Job<'_>, served: &'a Served, plan: &BatchPlan<'_>) -> Vec<Line<'a>> {
        let join = |item: Id<'_>| self.settings.join.as_ref().and_then(|join| join.row(item));
        let shown = |score: f32| match job.user {
            User::Unknown => score,
            _ => served.recommender.shown(score),
        };
        match (&job.work, &job.request.ask) {
            (Work::Score(range), Ask::Score { items, .. }) => {
                let places = range.clone().zip(items);
                let line = |(place, item): (usize, &'a WireId<'_>)| {
                    let row = (plan.rows[place] != MISSING).then_some(ItemIx(plan.rows[place]));
                    let score = row.map(|_| shown(plan.scores[place]));
                    Line { item: item.id(), row, score, joined: join(item.id()) }
                };
                places.map(line).collect()
            }
            (Work::Recommend { best, .. } | Work::Similar { best, .. }, _) => {
                let is_similar = matches!(job.work, Work::Similar { .. });
                let line = |&(row, score): &(ItemIx, f32)| {
                    let item = served.recommender.items.vocab().id(row.0);
                    let score = if is_similar { score } else { shown(score) };
                    Line { item, row: Some(row), score: Some(score), joined: join(item) }
                };
                best.iter().map(line).collect()
            }
            _ => Vec::new(),
        }
    }

    fn json(&self, job: &Job<'_>, served: &Served, lines: &[Line<'_>], out: &mut Vec<u8>) {
        self.open(job, out);
        match &job.request.ask {
            Ask::Score { user, .. } | Ask::Recommend { user, .. } | Ask::Event { user, .. } => {
                out.extend_from_slice(b",\"user\":");
                id(user.id(), out);
            }
            Ask::Similar { item, .. } => {
                out.extend_from_slice(b",\"item\":");
                id(item.id(), out);
            }
        }
        out.extend_from_slice(b",\"items\":[");
        for (at, line) in lines.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"item\":" } else { b",{\"item\":" });
            id(line.item, out);
            if let (true, Some(titles), Some(row)) =
                (self.settings.output.titles, &served.recommender.titles, line.row)
            {
                out.extend_from_slice(b",\"title\":");
                id(Id::Str(&titles.0[row.at()]), out);
            }
            out.extend_from_slice(line.joined.map_or(&b""[..], |row| row.json.as_bytes()));
            out.extend_from_slice(b",\"score\":");
            serde_json::to_writer(&mut *out, &line.score).expect("a number or null");
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"score_is\":\"");
        out.extend_from_slice(score_is(job, served).as_bytes());
        out.push(b'"');
        if let Some(by) = by(job) {
            out.extend_from_slice(b",\"by\":\"");
            out.extend_from_slice(by.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(served.tail.as_bytes());
        self.close(job, out);
    }

    pub(super) fn event_json(&self, job: &Job<'_>, out: &mut Vec<u8>) {
        let Ask::Event { user, item, .. } = &job.request.ask else { return };
        let Work::Event { length, forgotten } = job.work else { return };
        self.open(job, out);
        out.extend_from_slice(b",\"user\":");
        id(user.id(), out);
        out.extend_from_slice(b",\"item\":");
        id(item.id(), out);
        out.extend_from_slice(b",\"history\":");
        id(Id::Int(length as i64), out);
        if forgotten > 0 {
            out.extend_from_slice(b",\"forgotten\":");
            id(Id::Int(forgotten as i64), out);
        }
        self.close(job, out);
    }

    fn open(&self, job: &Job<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(job.kind().name().as_bytes());
        out.push(b'"');
        if let Some(echo) = &job.request.id {
            out.extend_from_slice(b",\"id\":");
            id(echo.id(), out);
        }
    }

    fn close(&self, job: &Job<'_>, out: &mut Vec<u8>) {
        let event = &self.events[job.event];
        if let Some(topic) = self.engine.topics.get(usize::from(event.part.topic)) {
            // Topic names hold letters, digits, dots, dashes and underscores only.
            out.extend_from_slice(b",\"source\":\"");
            out.extend_from_slice(topic.as_bytes());
            out.push(b'/');
            id(Id::Int(event.part.partition.into()), out);
            out.push(b'/');
            id(Id::Int(event.offset), out);
            out.push(b'"');
        }
        out.push(b'}');
    }

    fn csv(&self, job: &Job<'_>, served: &Served, lines: &[Line<'_>], out: &mut Vec<u8>) {
        let columns = self.settings.output.csv.as_deref().unwrap_or_default();
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                out.push(b'\n');
            }
            for (place, column) in columns.split(',').map(str::trim).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                self.cell(column, job, served, line, out);
            }
        }
    }

    fn cell(&self, column: &str, job: &Job<'_>, served: &Served, line: &Line<'_>, out: &mut Vec<u8>) {
        let output = &self.settings.output;
        let joined = || {
            let at = self.settings.join.as_ref()?.column(column)?;
            line.joined.map(|row| row.cells[at].as_str())
        };
        match column {
            "user" => job.request.user().into_iter().for_each(|user| field(user.id(), out)),
            "item" => field(line.item, out),
            "id" => job.request.id.iter().for_each(|echo| field(echo.id(), out)),
            "model" => field(Id::Str(&served.name), out),
            "version" => field(Id::Str(&served.version), out),
            "score" => {
                let scale = if is_other_scale(job) { 1.0 } else { output.score_scale };
                let score = line.score.map(|score| scale * score);
                let written = match (score, output.score_decimals) {
                    (None, _) => Ok(()),
                    (Some(score), Some(digits)) => write!(out, "{score:.digits$}"),
                    (Some(score), None) => write!(out, "{score}"),
                };
                written.expect("writing into memory cannot fail");
            }
            _ => joined().into_iter().for_each(|cell| field(Id::Str(cell), out)),
        }
    }
}

/// Returns what scores are.
pub(super) fn score_is(job: &Job<'_>, served: &Served) -> &'static str {
    match (&job.work, &job.user) {
        (Work::Similar { .. }, _) => {
            served.recommender.model.likeness().map_or("cosine", |likeness| likeness.name())
        }
        (_, User::Unknown) => "score",
        _ => served.recommender.output.name(),
    }
}

/// Returns what gave the scores, where it is not the user's own row in the model.
pub(super) fn by(job: &Job<'_>) -> Option<&'static str> {
    match job.user {
        User::Folded(_) => Some("fold-in"),
        User::Unknown => Some("popularity"),
        _ => None,
    }
}

/// Returns whether the scores are counts of popularity in place of what the model's are, so that nothing that is meant for
/// the model's scores, such as a threshold, holds for them.
fn is_other_scale(job: &Job<'_>) -> bool {
    let is_popularity = |served: &Served| served.recommender.kind() == PopularityConfig::KIND;
    matches!(job.user, User::Unknown) && !job.served.is_some_and(is_popularity)
}

/// Writes an id as JSON.
fn id(id: Id<'_>, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &id).expect("an id is JSON");
}

/// Writes an id as a CSV field, quoted where it must be (RFC 4180).
fn field(id: Id<'_>, out: &mut Vec<u8>) {
    match id {
        Id::Int(id) => write!(out, "{id}").expect("writing into memory cannot fail"),
        Id::Str(text) if text.contains([',', '"', '\n', '\r']) => {
            out.push(b'"');
            out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        }
        Id::Str(text) => out.extend_from_slice(text.as_bytes()),
    }
}
