//! The plan of a batch: its requests with their ids looked up, and what is to be computed for them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use burnrec_data::{Id, ItemIx, UserIx};
use burnrec_models::Scorer;
use serde_json::{Map, Value};

use super::{Engine, HTTP};
use crate::config::{UnknownItem, UnknownUser};
use crate::event::{Home, Incoming, SOURCE};
use crate::message::{Ask, Request, WireId};
use crate::outbox::EventOutcome;
use crate::served::Served;
use crate::settings::{Live, Route};
use crate::state::{History, Undo};
use crate::{Kind, Reject};

/// Stands in [`BatchPlan::rows`] for an item that the model does not know: one without training rows, too.
pub const MISSING: u32 = u32::MAX;

/// What is to be computed for each request of a batch, and the results once they are computed.
pub struct BatchPlan<'a> {
    pub(super) engine: &'a Engine,
    live: &'a Live,
    /// The requests to be answered, in the order of the events.
    pub jobs: Vec<Job<'a>>,
    /// How the events ended that get no answer, by their index in the batch, ascending.
    pub ends: Vec<(usize, EventOutcome)>,
    /// What steps before score added to events, by their index in the batch.
    pub fields: BTreeMap<usize, Map<String, Value>>,
    /// The item indices of all requests, one request after the other.
    pub rows: Vec<u32>,
    /// A logit for each of `rows`; NaN where there is none.
    pub scores: Vec<f32>,
}

/// A request with the model that answers it.
pub struct Job<'a> {
    /// The event's index in the batch.
    pub event: usize,
    /// Whether it is a second answer, by a shadow model.
    pub shadow: bool,
    /// The request.
    pub request: Request<'a>,
    /// The model; none is needed to remember an event.
    pub served: Option<&'a Served>,
    /// How the model knows the user.
    pub user: User,
    /// What to compute, and then its result.
    pub work: Work<'a>,
    /// Why it cannot be answered.
    pub failed: Option<Reject>,
}

/// Whose histories are looked into.
#[derive(Clone, Copy)]
enum Seen {
    /// Nobody's.
    None,
    /// All that are there.
    All,
    /// Those of the topics of a tenant, or of no tenant.
    OfTenant(Option<usize>),
    /// Those of a partition.
    Of(Home),
}

/// How a model knows a user.
pub enum User {
    /// The request names no user.
    None,
    /// A user that the model was trained on, by rows of the user's own.
    Row(UserIx),
    /// A user to be folded in from this history, after the training rows if the model was trained on the user.
    ToFold(History, Option<UserIx>),
    /// A user who was folded in; it is the only user of this scorer.
    Folded(Arc<dyn Scorer>),
    /// A user unknown to the model, who is answered by popularity.
    Unknown,
}

/// What to compute for a request, with its result.
pub enum Work<'a> {
    /// The scores of this range of the plan's `rows`.
    Score(Range<usize>),
    /// The best items.
    Recommend {
        /// Indices of the items that must not be recommended, ascending.
        exclude: Cow<'a, [u32]>,
        /// The range of the plan's `rows` with the only items that may be recommended.
        only: Option<Range<usize>>,
        /// The result.
        best: Vec<(ItemIx, f32)>,
    },
    /// The items most similar to one.
    Similar {
        /// The item to compare with.
        item: ItemIx,
        /// The result.
        best: Vec<(ItemIx, f32)>,
    },
    /// Nothing: the event is in the user's history.
    Event {
        /// The history's length now.
        length: usize,
        /// How many of the oldest events the history lost for this one.
        forgotten: usize,
    },
}

impl<'a> BatchPlan<'a> {
    /// Makes an empty plan with room for one request per event.
    pub fn new(engine: &'a Engine, live: &'a Live, events: usize) -> Self {
        let (jobs, rows) = (Vec::with_capacity(events), Vec::with_capacity(events));
        Self { engine, live, jobs, ends: Vec::new(), fields: BTreeMap::new(), rows, scores: Vec::new() }
    }

    /// Returns whether nothing but pairs is to be scored: nobody is folded in, and no catalogue is gone through.
    pub fn is_of_pairs(&self) -> bool {
        let is_more = |job: &Job<'_>| {
            matches!(job.user, User::ToFold(..))
                || matches!(job.work, Work::Recommend { only: None, .. } | Work::Similar { .. })
        };
        !self.jobs.iter().any(is_more)
    }

    /// Returns how long its pairs take, by what pairs of the same models took of late; `None` where there were none.
    pub fn takes(&self) -> Option<Duration> {
        let served = |job: &Job<'a>| Some((job.served?, job.rows().len()));
        self.jobs.iter().filter_map(served).map(|(served, pairs)| served.takes(pairs)).sum()
    }

    /// Notes how long its pairs took.
    pub fn took(&self, time: Duration) {
        if !self.rows.is_empty() {
            self.jobs
                .iter()
                .filter_map(|job| job.served)
                .for_each(|served| served.took(self.rows.len(), time));
        }
    }

    /// Ends an event without an answer.
    pub fn end(&mut self, at: usize, outcome: EventOutcome) {
        self.ends.push((at, outcome));
    }

    /// Adds a request.
    pub fn add(&mut self, at: usize, event: &Incoming, request: Request<'a>, undo: &mut Vec<Undo>) {
        let route = self.route(event);
        if route.is_closed() {
            let text = "an event of no tenant; expected one that fits a route of [[routes]]";
            self.end(at, EventOutcome::Failed(Reject::queue("no-tenant", text)));
            return;
        }
        if let Ask::Event { user, item, value } = &request.ask {
            if self.engine.replaying.is_some() {
                let source = event.header(SOURCE).and_then(|source| source.split('/').next());
                let is_known = |topics: &[String]| topics.iter().any(|topic| Some(topic.as_str()) == source);
                self.end(
                    at,
                    match self.engine.resubmits() {
                        Some(topics) if is_known(topics) => EventOutcome::Resubmitted,
                        Some(_) => EventOutcome::GivenUp("source"),
                        None => EventOutcome::Filtered,
                    },
                );
                return;
            }
            if !self.engine.keeps_state {
                let text = "an event; expected none, as the config has no topic kafka.state to keep it";
                self.end(at, EventOutcome::Failed(Reject::score("no-state", text)));
                return;
            }
            let served = self.live.models.get(route.model(Some(user)));
            let recommender = &served.expect("the config's names were checked").recommender;
            if recommender.model.as_fold_in().is_some()
                && let Err(error) = recommender.trained().check_value(*value)
            {
                self.end(at, EventOutcome::Failed(Reject::score("bad-value", error.to_string())));
                return;
            }
            let (home, now) = (event.home(), self.engine.clock.unix_ms() / 1000);
            let most = self.engine.room(&self.live.settings.limits);
            let time = event.timestamp_ms.map_or(now, |ms| ms / 1000);
            let pushed = self.engine.state.push(home, user, (item, *value, time), now, most);
            let Some((length, change)) = pushed else {
                let text = format!(
                    "user {}, where {} have a history; expected no more, as limits.users says",
                    user.id(),
                    most.users
                );
                self.end(at, EventOutcome::Failed(Reject::score("no-room", text)));
                return;
            };
            let work = Work::Event { length, forgotten: change.forgotten };
            undo.push(change);
            let (shadow, served, user, failed) = (false, None, User::None, None);
            self.jobs.push(Job { event: at, shadow, request, served, user, work, failed });
            return;
        }
        let seen = self.seen(event, route);
        if let Some(shadow) = &route.shadow
            && let Ok(job) = self.job(at, seen, request.clone(), shadow)
        {
            self.jobs.push(Job { shadow: true, ..job });
        }
        let name = route.model(request.user());
        match self.job(at, seen, request, name) {
            Ok(job) => self.jobs.push(job),
            Err(reject) => self.end(at, EventOutcome::Failed(reject)),
        }
    }

    /// Returns the route of an event.
    fn route(&self, event: &Incoming) -> &'a Route {
        let routes = &self.live.settings.routes;
        &routes.all()[routes.of(event)]
    }

    /// Returns whose histories an event may be answered from.
    fn seen(&self, event: &Incoming, route: &Route) -> Seen {
        let engine = self.engine;
        match &engine.replaying {
            // The state that is there is of one topic: in another the same id may be of another user.
            Some(replaying) if replaying.resubmit.is_some() => {
                let source = event.header(SOURCE).and_then(|source| source.split('/').next());
                if source == Some(replaying.state_topic.as_str()) { Seen::All } else { Seen::None }
            }
            Some(_) => Seen::All,
            None if event.part.topic == HTTP.topic && !engine.topics.is_empty() => {
                Seen::OfTenant(route.tenant)
            }
            None => Seen::Of(event.home()),
        }
    }

    fn job(&mut self, at: usize, seen: Seen, request: Request<'a>, name: &str) -> Result<Job<'a>, Reject> {
        let served = self.live.models.get(name).expect("the config's names were checked");
        let kind = request.kind();
        let (user, history) = match request.user() {
            Some(user) => self.user(served, seen, user)?,
            None => (User::None, Cow::Borrowed(&[][..])),
        };
        let work = match &request.ask {
            Ask::Score { items, .. } => Work::Score(self.items(served, items)?),
            Ask::Recommend { only, without, include_seen, .. } => {
                let seen = if *include_seen { Cow::Borrowed(&[][..]) } else { history };
                let exclude = match without[..] {
                    [] => seen,
                    _ => {
                        union(&seen, without.iter().filter_map(|item| served.recommender.item_row(item.id())))
                    }
                };
                let only = only.as_ref().map(|only| self.items(served, only)).transpose()?;
                Work::Recommend { exclude, only, best: Vec::new() }
            }
            Ask::Similar { item, .. } => {
                if served.recommender.model.likeness().is_none() {
                    let text = format!("{} has no item vectors to compare", served.label());
                    return Err(Reject::score("no-vectors", text));
                }
                let row = served
                    .recommender
                    .item_row(item.id())
                    .ok_or_else(|| unknown("item", item.id(), served))?;
                Work::Similar { item: row, best: Vec::new() }
            }
            Ask::Event { .. } => unreachable!("{} is answered without a model", kind.name()),
        };
        Ok(Job { event: at, shadow: false, request, served: Some(served), user, work, failed: None })
    }

    /// Returns how the model knows the user, with the indices of the items that the user has interacted with.
    fn user(
        &self,
        served: &'a Served,
        seen: Seen,
        user: &WireId<'_>,
    ) -> Result<(User, Cow<'a, [u32]>), Reject> {
        let row = served.recommender.user_row(user.id());
        let trained: &[u32] = row.map(|row| served.recommender.seen.row(row.at()).0).unwrap_or_default();
        let (state, routes) = (&self.engine.state, &self.live.settings.routes);
        let found = match seen {
            Seen::None => None,
            Seen::All => state.get(None, user, served.number),
            Seen::OfTenant(tenant) => {
                state.find(|home| routes.sees(tenant, home.part.topic), user, served.number)
            }
            Seen::Of(home) => state.get(Some(home), user, served.number),
        };
        let policy = self.live.settings.unknown.user;
        let Some((history, folded)) = found else {
            let user = match (row, policy) {
                (Some(row), _) => User::Row(row),
                (None, UnknownUser::Reject) => return Err(unknown("user", user.id(), served)),
                (None, UnknownUser::FoldIn | UnknownUser::Popularity) => User::Unknown,
            };
            return Ok((user, Cow::Borrowed(trained)));
        };
        let items = history.events.iter().filter_map(|event| served.recommender.item_row(event.item.id()));
        let all = union(trained, items);
        let can_fold = served.recommender.model.as_fold_in().is_some() && !all.is_empty();
        let user = match (folded, row, policy) {
            (_, None, UnknownUser::Reject) => return Err(unknown("user", user.id(), served)),
            (_, None, UnknownUser::Popularity) => User::Unknown,
            (Some(folded), ..) => User::Folded(folded.scorer),
            (None, row, _) if can_fold => User::ToFold(history, row),
            (None, Some(row), _) => User::Row(row),
            (None, None, _) => User::Unknown,
        };
        Ok((user, all))
    }

    /// Adds items to the plan; returns their range in `rows`.
    fn items(&mut self, served: &Served, items: &[WireId<'_>]) -> Result<Range<usize>, Reject> {
        let start = self.rows.len();
        for item in items {
            match (served.recommender.item_row(item.id()), self.live.settings.unknown.item) {
                (Some(row), _) => self.rows.push(row.0),
                (None, UnknownItem::Null) => self.rows.push(MISSING),
                (None, UnknownItem::Reject) => {
                    self.rows.truncate(start);
                    return Err(unknown("item", item.id(), served));
                }
            }
        }
        Ok(start..self.rows.len())
    }
}

impl Job<'_> {
    /// Returns the request's type.
    pub fn kind(&self) -> Kind {
        self.request.kind()
    }
}

fn unknown(what: &'static str, id: Id<'_>, served: &Served) -> Reject {
    let reason = if what == "user" { "unknown-user" } else { "unknown-item" };
    let trained = served.recommender.trained();
    let n = if what == "user" { trained.users().len() } else { trained.items().len() };
    Reject::score(
        reason,
        format!("{what} {id}; expected one of the {n} that {} was trained on", served.label()),
    )
}

/// Returns the union of two sets of item indices, ascending.
fn union<'a>(rows: &[u32], more: impl Iterator<Item = ItemIx>) -> Cow<'a, [u32]> {
    let mut all: Vec<u32> = rows.iter().copied().chain(more.map(|item| item.0)).collect();
    all.sort_unstable();
    all.dedup();
    Cow::Owned(all)
}
