//! The steps of a config, one after the other, and what is checked of each.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::registry::Registry;

use super::counts::{FailureLabels, StepCounts, StepLabels};
use super::pool::Pool;
use super::{Step, StepEnd, StepEvent, interned, registered};
use crate::config::{Limits, Place, StepConfig};
use crate::message::WireId;
use crate::outbox::EventOutcome;
use crate::reject::Stage;
use crate::{Kind, Reject, Result};

/// Fields of lines and replies, which no step may add.
const OWN: [&str; 23] = [
    "v",
    "line",
    "type",
    "id",
    "user",
    "item",
    "items",
    "only",
    "without",
    "k",
    "include_seen",
    "value",
    "score_is",
    "by",
    "model",
    "version",
    "hash",
    "source",
    "history",
    "forgotten",
    "filter",
    "filtered",
    "error",
];

/// The steps of a config.
#[derive(Default)]
pub struct Steps {
    before: Vec<Chained>,
    after: Vec<Chained>,
    counts: Arc<StepCounts>,
}

struct Chained {
    name: &'static str,
    step: Arc<dyn Step>,
}

/// What a step must leave as it is.
struct Kept {
    kind: Kind,
    id: Option<WireId<'static>>,
    user: Option<WireId<'static>>,
}

impl Kept {
    fn of(event: &StepEvent<'_>) -> Self {
        let owned = |id: &WireId<'_>| id.clone().into_owned();
        let request = &event.request;
        Self { kind: request.kind(), id: request.id.as_ref().map(owned), user: request.user().map(owned) }
    }
}

impl Steps {
    /// Opens the steps of a config: starts their processes.
    ///
    /// # Errors
    /// When a program cannot be started, or a step is not registered.
    pub fn open(config: &BTreeMap<String, StepConfig>) -> Result<Self> {
        let mut all = Self::default();
        for (name, config) in config {
            let name = interned(name);
            let step: Arc<dyn Step> = match config.command[..] {
                [] => registered(name)?,
                [..] => {
                    let restarts = all.counts.restarts.get_or_create_owned(&StepLabels { step: name });
                    Arc::new(Pool::open(name, config.clone(), restarts)?)
                }
            };
            let chain = match config.place {
                Place::BeforeScore => &mut all.before,
                Place::AfterScore => &mut all.after,
            };
            chain.push(Chained { name, step });
        }
        Ok(all)
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Returns whether there is none at a place.
    pub fn has_none(&self, place: Place) -> bool {
        self.of(place).is_empty()
    }

    /// Returns their names and places, in their order.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, Place)> {
        let of = |place| self.of(place).iter().map(move |step| (step.name, place));
        of(Place::BeforeScore).chain(of(Place::AfterScore))
    }

    /// Returns the metrics, if there is a step.
    pub fn metrics(&self) -> Option<&Registry> {
        (!self.is_empty()).then_some(&self.counts.registry)
    }

    fn of(&self, place: Place) -> &[Chained] {
        match place {
            Place::BeforeScore => &self.before,
            Place::AfterScore => &self.after,
        }
    }

    /// Lets events go through the steps of a place. Returns those that passed all of them in their order, and how the others
    /// ended, by their indices. `knows` says whether an item may stand in the answer to the event of this index.
    pub(crate) fn run<'a>(
        &self,
        place: Place,
        mut batch: Vec<StepEvent<'a>>,
        limits: &Limits,
        knows: &dyn Fn(usize, &WireId<'_>) -> bool,
    ) -> (Vec<StepEvent<'a>>, Vec<(usize, EventOutcome)>) {
        let mut ends = Vec::new();
        for Chained { name, step } in self.of(place) {
            if batch.is_empty() {
                break;
            }
            let kept: Vec<Kept> = batch.iter().map(Kept::of).collect();
            let start = Instant::now();
            let ran = catch_unwind(AssertUnwindSafe(|| step.apply(&mut batch)));
            let seconds = start.elapsed().as_secs_f64();
            self.counts.seconds.get_or_create(&StepLabels { step: name }).observe(seconds);
            for (event, kept) in batch.iter_mut().zip(&kept) {
                if ran.is_err() {
                    event.fail_for("panic", "a panic; its message stands in the log");
                } else if event.end.is_none()
                    && let Err((reason, text)) = check(event, kept, limits, knows)
                {
                    event.fail_for(reason, text);
                }
            }
            batch.retain_mut(|event| match event.end.take() {
                None => true,
                Some(end) => {
                    ends.push((event.at, self.ended(name, end)));
                    false
                }
            });
        }
        (batch, ends)
    }

    fn ended(&self, name: &'static str, end: StepEnd) -> EventOutcome {
        match end {
            StepEnd::Filtered => EventOutcome::FilteredBy(name),
            StepEnd::Failed(reason, text) => {
                self.counts.failures.get_or_create(&FailureLabels { step: name, reason }).inc();
                EventOutcome::Failed(Reject::new(Stage::Step(name), reason, text))
            }
        }
    }
}

/// Checks what a step made of an event; returns the reason and the text of its reject.
fn check(
    event: &StepEvent<'_>,
    kept: &Kept,
    limits: &Limits,
    knows: &dyn Fn(usize, &WireId<'_>) -> bool,
) -> Result<(), (&'static str, String)> {
    let request = &event.request;
    let same = |field: &str, is_same: bool| match is_same {
        true => Ok(()),
        false => Err(("changed", format!("another {field}; expected that of the request"))),
    };
    same("type", request.kind() == kept.kind)?;
    same("id", request.id == kept.id)?;
    same("user", request.user() == kept.user.as_ref())?;
    if let Some(name) = event.fields.keys().find(|name| OWN.contains(&name.as_str())) {
        return Err((
            "taken-field",
            format!("a field {name:?}; expected a name that no reply has of its own"),
        ));
    }
    let Some(answer) = &event.answer else {
        return request.within(limits).map_err(|reject| (reject.reason, reject.text));
    };
    if answer.items.len() > limits.items {
        let text = format!("{} items; expected at most {}", answer.items.len(), limits.items);
        return Err(("too-many-items", text));
    }
    for item in &answer.items {
        if let Some(score) = item.score.filter(|score| !score.is_finite()) {
            return Err(("not-finite", format!("the score of item {} is {score}", item.item.id())));
        }
        if let Some(name) = item.columns.keys().find(|name| ["item", "score"].contains(&name.as_str())) {
            return Err(("taken-field", format!("a column {name:?}; expected another name")));
        }
        if !knows(event.at, &item.item) {
            let text = format!("item {}; expected one that the model knows", item.item.id());
            return Err(("unknown-item", text));
        }
    }
    Ok(())
}
