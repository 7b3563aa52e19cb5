//! Computes what a batch's plan needs: all pairs of a model in one call, all catalogues in another. A model that panics
//! fails the requests it panics at, and no other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burnrec_data::{Csr, Entry, ItemIx, UserIx};
use burnrec_models::Scorer;
use burnrec_models::topk::{select, top_k};
use rayon::prelude::*;

use super::plan::{BatchPlan, Job, MISSING, User, Work};
use crate::Reject;
use crate::message::Ask;
use crate::served::Served;
use crate::state::History;

impl BatchPlan<'_> {
    /// Computes the scores and lists of all jobs.
    pub fn compute(&mut self) {
        self.fold();
        self.scores.resize(self.rows.len(), f32::NAN);
        let (mut together, mut alone) = (BTreeMap::<u64, Vec<usize>>::new(), Vec::new());
        let mut lists = BTreeMap::<u64, Vec<usize>>::new();
        for (at, job) in self.jobs.iter().enumerate().filter(|(_, job)| job.failed.is_none()) {
            let Some(served) = job.served else { continue };
            match (&job.user, &job.work) {
                (User::Row(_), Work::Score(_) | Work::Recommend { only: Some(_), .. }) => {
                    together.entry(served.number).or_default().push(at);
                }
                (User::Row(_), Work::Recommend { .. }) => lists.entry(served.number).or_default().push(at),
                _ => alone.push(at),
            }
        }
        for jobs in together.values() {
            if guarded(|| self.pairs(jobs)).is_err() {
                alone.extend(jobs);
            }
        }
        for jobs in lists.values() {
            // A single list is faster on this thread alone: waking others takes time.
            let is_done = jobs.len() > 1 && guarded(|| self.lists(jobs)).is_ok();
            if !is_done {
                alone.extend(jobs);
            }
        }
        for at in alone {
            if let Err(panic) = guarded(|| self.one(at)) {
                self.jobs[at].failed = Some(Reject::score("model-failed", panic));
            }
        }
        for at in 0..self.jobs.len() {
            if let Work::Recommend { only: Some(only), .. } = &self.jobs[at].work {
                let only = only.clone();
                self.pick(at, only);
            }
        }
    }

    /// Scores the pairs of known users in one call.
    fn pairs(&mut self, jobs: &[usize]) {
        let (mut users, mut items, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for &at in jobs {
            let User::Row(user) = self.jobs[at].user else { continue };
            for place in self.jobs[at].rows() {
                if self.rows[place] != MISSING {
                    users.push(user);
                    items.push(ItemIx(self.rows[place]));
                    places.push(place);
                }
            }
        }
        let mut scores = vec![0.0; users.len()];
        if let Some(served) = jobs.first().and_then(|&at| self.jobs[at].served) {
            served.recommender.model.score_pairs(&users, &items, &mut scores);
        }
        places.iter().zip(scores).for_each(|(&place, score)| self.scores[place] = score);
    }

    /// Finds the best items of known users, a block of users at a time.
    fn lists(&mut self, jobs: &[usize]) {
        let Some(served) = jobs.first().and_then(|&at| self.jobs[at].served) else { return };
        let rows = jobs.iter().map(|&at| match self.jobs[at].user {
            User::Row(user) => user,
            _ => unreachable!("only known users are listed together"),
        });
        let users: Vec<UserIx> = rows.collect();
        let most = jobs.iter().map(|&at| self.jobs[at].k()).max().unwrap_or(0);
        let exclude = |at: usize| self.jobs[jobs[at]].exclude();
        let allowed = served.recommender.trained().allowed();
        let lists = top_k(&*served.recommender.model, &users, most, exclude, Some(allowed));
        for (&at, mut list) in jobs.iter().zip(lists) {
            list.truncate(self.jobs[at].k());
            if let Work::Recommend { best, .. } = &mut self.jobs[at].work {
                *best = list;
            }
        }
    }

    /// Answers one request alone.
    fn one(&mut self, at: usize) {
        let job = &self.jobs[at];
        let Some(served) = job.served else { return };
        let trained = served.recommender.trained();
        let (scorer, user): (&dyn Scorer, _) = match &job.user {
            User::Row(user) => (&*served.recommender.model, *user),
            User::Folded(scorer) => (&**scorer, UserIx(0)),
            User::None | User::Unknown | User::ToFold(..) => (trained.popularity(), UserIx(0)),
        };
        let best = match &job.work {
            Work::Event { .. } => return,
            Work::Similar { item, .. } => {
                let likeness = served.recommender.model.likeness();
                likeness.map(|likeness| likeness.nearest(*item, job.k(), trained.allowed()))
            }
            Work::Recommend { only: None, exclude, .. } => {
                let mut scores = vec![0.0; scorer.n_items()];
                scorer.score_catalog(&[user], &mut scores);
                Some(select(&scores, job.k(), exclude, Some(trained.allowed())))
            }
            Work::Score(_) | Work::Recommend { only: Some(_), .. } => {
                let known: Vec<usize> = job.rows().filter(|&place| self.rows[place] != MISSING).collect();
                let items: Vec<ItemIx> = known.iter().map(|&place| ItemIx(self.rows[place])).collect();
                let mut scores = vec![0.0; items.len()];
                scorer.score_pairs(&vec![user; items.len()], &items, &mut scores);
                known.iter().zip(scores).for_each(|(&place, score)| self.scores[place] = score);
                None
            }
        };
        if let (Some(found), Work::Recommend { best, .. } | Work::Similar { best, .. }) =
            (best, &mut self.jobs[at].work)
        {
            *best = found;
        }
    }

    /// Selects the best of the items that `only` allows.
    fn pick(&mut self, at: usize, only: Range<usize>) {
        let exclude = self.jobs[at].exclude();
        let allowed = |row: &u32| *row != MISSING && exclude.binary_search(row).is_err();
        let mut found: Vec<(ItemIx, f32)> = only
            .filter(|&place| allowed(&self.rows[place]))
            .map(|place| (ItemIx(self.rows[place]), self.scores[place]))
            .collect();
        let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
        found.sort_by(|a, b| key(b.1).total_cmp(&key(a.1)).then(a.0.cmp(&b.0)));
        found.dedup_by_key(|(item, _)| *item);
        found.truncate(self.jobs[at].k());
        if let Work::Recommend { best, .. } = &mut self.jobs[at].work {
            *best = found;
        }
    }

    /// Folds in the users whose histories changed since they were last folded in.
    fn fold(&mut self) {
        let state = &self.engine.state;
        let step = |job: &mut Job<'_>| {
            let (Some(served), User::ToFold(history, row)) = (job.served, &job.user) else { return };
            match guarded(|| fold(served, history, *row)) {
                Ok(Ok(scorer)) => {
                    if let Some(user) = job.request.user() {
                        state.keep(user, history, served.number, &scorer);
                    }
                    job.user = User::Folded(scorer);
                }
                Ok(Err(error)) => job.failed = Some(Reject::score("not-folded-in", error)),
                Err(panic) => job.failed = Some(Reject::score("model-failed", panic)),
            }
        };
        let jobs = self.jobs.iter_mut().filter(|job| matches!(job.user, User::ToFold(..)));
        let mut jobs: Vec<&mut Job<'_>> = jobs.collect();
        // Rayon's threads must be woken, which takes longer than one fold-in.
        match &mut jobs[..] {
            [] => {}
            [job] => step(job),
            jobs => jobs.par_iter_mut().for_each(|job| step(job)),
        }
    }
}

/// Folds a user in from the history before the model was trained and, after it, the events since in the order in which they
/// came.
fn fold(served: &Served, history: &History, row: Option<UserIx>) -> Result<Arc<dyn Scorer>, String> {
    let recommender = &served.recommender;
    let mut all = row.map(|row| recommender.seen.history(row.at())).unwrap_or_default();
    all.extend(history.events.iter().filter_map(|event| {
        let col = recommender.item_row(event.item.id())?.0;
        Some(Entry { col, value: event.value, time: event.time })
    }));
    let all = Csr::from_histories(recommender.seen.n_cols(), [all]);
    recommender.fold_in_rows(&all).map(Arc::from).map_err(|error| error.to_string())
}

impl Job<'_> {
    /// Returns the range of the plan's `rows` whose scores the request needs.
    pub fn rows(&self) -> Range<usize> {
        match &self.work {
            Work::Score(rows) | Work::Recommend { only: Some(rows), .. } => rows.clone(),
            _ => 0..0,
        }
    }

    fn k(&self) -> usize {
        match self.request.ask {
            Ask::Recommend { k, .. } | Ask::Similar { k, .. } => k,
            _ => 0,
        }
    }

    fn exclude(&self) -> &[u32] {
        match &self.work {
            Work::Recommend { exclude, .. } => exclude,
            _ => &[],
        }
    }
}

/// Runs a step of a model; returns the message of a panic as an error.
fn guarded<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
    })
}
