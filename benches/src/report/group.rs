//! Groups the models that may be compared: those judged on the same splits by the same metric, from one bench or
//! several.

use std::collections::BTreeMap;

use burnrec_train::metrics::Metric;
use burnrec_train::{Error, Result};
use serde_json::Value as Json;

use crate::chart::Style;
use crate::record::{BenchRecord, CaseRecord, Records, SplitRecord, Task};
use burnrec_train::stats::{Measure, Statistic};

/// Models with the splits that they share.
pub struct Group<'a> {
    /// The task.
    pub task: Task,
    /// The metric that the bench's config names; none where no model is finished.
    pub metric: Option<Metric>,
    /// The benches that the models are from.
    pub benches: Vec<&'a BenchRecord>,
    /// The splits, ascending by seed.
    pub splits: Vec<&'a SplitRecord>,
    /// The models in the order of the benches.
    pub models: Vec<Model<'a>>,
    /// The planned cases of the benches, each with the seeds of its bench.
    pub wanted: Vec<(&'a str, Vec<u64>)>,
}

/// One model with its runs.
pub struct Model<'a> {
    /// The name in the report; a peer's model has the peer's name before it.
    pub name: String,
    /// The style in charts.
    pub style: Style,
    /// Its runs, ascending by seed.
    pub runs: Vec<Run<'a>>,
}

/// One trained and judged case.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Its record.
    pub case: &'a CaseRecord,
    /// The split that it was judged on.
    pub split: &'a SplitRecord,
}

/// Groups the records of benches. The models of a bench join an earlier group of the same task and metric that shares a
/// split with it.
///
/// # Errors
/// When there is no finished case, or a case does not fit its split.
pub fn groups(records: &[Records]) -> Result<Vec<Group<'_>>> {
    let mut groups: Vec<Group> = Vec::new();
    for bench in records {
        let mut tasks: Vec<Task> = bench.bench.cases.iter().map(|name| name.task).collect();
        tasks.extend(bench.cases.iter().map(|case| case.task));
        tasks.sort();
        tasks.dedup();
        for task in tasks {
            for group in of_bench(bench, task)? {
                let joins = |other: &Group| {
                    let metric =
                        other.metric.is_none() || group.metric.is_none() || other.metric == group.metric;
                    let shares = group.splits.iter().any(|a| other.splits.iter().any(|b| same(a, b)));
                    other.task == task && metric && shares
                };
                match groups.iter_mut().find(|other| joins(other)) {
                    Some(other) => other.join(group),
                    None => groups.push(group),
                }
            }
        }
    }
    groups.sort_by_key(|group| group.task);
    for group in &mut groups {
        group.splits.sort_by_key(|split| (split.seed, &split.data.hash));
        group.name_models();
    }
    if groups.iter().all(|group| group.models.is_empty()) {
        return Err(unfit("no finished case", "at least one, to report on"));
    }
    Ok(groups)
}

/// Returns the groups of one bench and task, one for each metric; as a rule there is one metric.
fn of_bench(records: &Records, task: Task) -> Result<Vec<Group<'_>>> {
    let cases = || records.cases.iter().filter(|case| case.task == task);
    let splits: Vec<&SplitRecord> = records.splits.iter().filter(|split| split.task == task).collect();
    let mut metrics: Vec<Option<Metric>> = Vec::new();
    for case in cases() {
        if !metrics.contains(&Some(case.metric)) {
            metrics.push(Some(case.metric));
        }
    }
    if metrics.is_empty() {
        metrics.push(None);
    }
    let mut groups = Vec::new();
    for (at, metric) in metrics.into_iter().enumerate() {
        // An unfinished case has no metric yet: it is listed with the first group.
        let wanted = records.bench.cases.iter().filter(|name| name.task == task).filter(|name| {
            let found = cases().find(|case| case.case == name.case);
            found.map_or(at == 0, |case| Some(case.metric) == metric)
        });
        let seeds: Vec<u64> = splits.iter().map(|split| split.seed).collect();
        let mut group = Group {
            task,
            metric,
            benches: vec![&records.bench],
            splits: splits.clone(),
            models: Vec::new(),
            wanted: wanted.map(|name| (name.case.as_str(), seeds.clone())).collect(),
        };
        for case in cases().filter(|case| Some(case.metric) == metric) {
            let fits = |split: &&&SplitRecord| split.seed == case.seed && split.data.hash == case.data_hash;
            let split = splits.iter().find(fits).ok_or_else(|| {
                let found = format!("case {} of seed {} on data {}", case.case, case.seed, case.data_hash);
                unfit(found, "a split with this seed and hash")
            })?;
            check(case, split)?;
            let run = Run { case, split };
            match group.models.iter_mut().find(|model| model.runs[0].case.case == case.case) {
                Some(model) => model.runs.push(run),
                None => group.models.push(Model::new(run)),
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Refuses a case whose figures cannot be of its split: other numbers of users or items, impossible counts, or values
/// that are not finite.
fn check(case: &CaseRecord, split: &SplitRecord) -> Result<()> {
    let what = |part: &str| format!("case {} of seed {}: {part}", case.case, case.seed);
    let (n_users, n_items) = (split.user_activity.len(), split.item_ids.len());
    let fits = |part: &str, len: usize, expected: usize, of: &str| match len == expected || len == 0 {
        true => Ok(()),
        false => Err(unfit(what(&format!("{part} of {len} {of}")), format!("{expected}, as its split has"))),
    };
    for (metric, values) in &case.per_user {
        fits(&metric.to_string(), values.len(), n_users, "users")?;
    }
    fits("rating errors", case.per_user_errors.len(), n_users, "users")?;
    fits("items shown", case.item_shown.len(), n_items, "items")?;
    fits("items hit", case.item_hits.len(), case.item_shown.len(), "items")?;
    fits("popularity", split.item_popularity.len(), n_items, "items")?;
    fits("relevance", split.item_relevant.len(), n_items, "items")?;
    let too_many = case.item_hits.iter().zip(&case.item_shown).any(|(hits, shown)| hits > shown)
        || case.item_hits.iter().zip(&split.item_relevant).any(|(hits, relevant)| hits > relevant);
    if too_many {
        return Err(unfit(what("an item with more hits than it was shown or relevant"), "at most as many"));
    }
    let values = case.per_user.values().flatten().all(|value| value.is_finite());
    let errors = case.per_user_errors.iter().flatten().all(|value| value.is_finite() && *value >= 0.0);
    let seconds =
        [case.fit_seconds, case.total_seconds].iter().all(|value| value.is_finite() && *value >= 0.0);
    if !(values && errors && seconds) {
        return Err(unfit(what("a user's value or a time that is no number"), "finite ones"));
    }
    case.test.value(case.metric).filter(|value| value.is_finite()).map(|_| ()).ok_or_else(|| {
        unfit(what(&format!("no finite {} on test", case.metric)), "the metric that was decided beforehand")
    })
}

fn unfit(found: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::Evaluate { found: found.into(), expected: expected.into() }
}

/// Returns whether two splits are the same.
pub fn same(a: &SplitRecord, b: &SplitRecord) -> bool {
    a.seed == b.seed && a.data.hash == b.data.hash
}

impl<'a> Group<'a> {
    /// Adds the models of another bench. A case of both becomes one model if its settings are equal, and of two records
    /// of one training the first is kept.
    fn join(&mut self, other: Self) {
        self.metric = self.metric.or(other.metric);
        self.benches.extend(other.benches);
        for split in other.splits {
            if !self.splits.iter().any(|have| same(have, split)) {
                self.splits.push(split);
            }
        }
        for model in other.models {
            let alike = |have: &&mut Model| {
                let (a, b) = (have.runs[0].case, model.runs[0].case);
                let again = model.runs.iter().all(|run| {
                    have.runs.iter().all(|old| !same(old.split, run.split) || old.case == run.case)
                });
                a.case == b.case && a.peer == b.peer && settings(a) == settings(b) && again
            };
            match self.models.iter_mut().find(alike) {
                Some(have) => {
                    for run in model.runs {
                        if !have.runs.iter().any(|old| same(old.split, run.split)) {
                            have.runs.push(run);
                        }
                    }
                }
                None => self.models.push(model),
            }
        }
        for wanted in other.wanted {
            if !self.wanted.contains(&wanted) {
                self.wanted.push(wanted);
            }
        }
    }

    /// Gives each model a unique name and a style.
    fn name_models(&mut self) {
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        for (index, model) in self.models.iter_mut().enumerate() {
            model.runs.sort_by_key(|run| (run.split.seed, &run.split.data.hash));
            model.style.index = index;
            if taken.contains_key(&model.name) {
                model.name = format!("{} ({})", model.name, model.runs[0].case.case);
            }
            let times = taken.entry(model.name.clone()).or_insert(0);
            *times += 1;
            if *times > 1 {
                model.name = format!("{} {times}", model.name);
            }
        }
    }

    /// Returns the cases that are not finished, with the seeds that they lack.
    pub fn missing(&self) -> Vec<String> {
        let lacking = |(case, seeds): &(&str, Vec<u64>)| {
            let models: Vec<&Model> =
                self.models.iter().filter(|model| model.runs[0].case.case == *case).collect();
            let Some(model) = models.first() else { return Some((*case).to_owned()) };
            let has = |seed: &u64| models.iter().any(|m| m.runs.iter().any(|run| run.split.seed == *seed));
            let seeds: Vec<String> =
                seeds.iter().filter(|seed| !has(seed)).map(|seed| seed.to_string()).collect();
            let word = if seeds.len() == 1 { "seed" } else { "seeds" };
            (!seeds.is_empty()).then(|| format!("{} ({word} {})", model.name, seeds.join(", ")))
        };
        self.wanted.iter().filter_map(lacking).collect()
    }

    /// Returns the name of the case that the others are tested against.
    pub fn against(&self) -> Option<&'a str> {
        self.benches.iter().find_map(|bench| bench.against.get(&self.task)).map(String::as_str)
    }

    /// Returns the index of that case among the models, if it is finished.
    pub fn baseline(&self) -> Option<usize> {
        let name = self.against()?;
        self.models.iter().position(|model| model.runs[0].case.case == name)
    }
}

impl<'a> Model<'a> {
    fn new(run: Run<'a>) -> Self {
        let CaseRecord { label, peer, order_aware, .. } = run.case;
        let mut name = match peer {
            Some(peer) if !label.starts_with(peer.as_str()) => format!("{peer} {label}"),
            _ => label.clone(),
        };
        if *order_aware {
            name += ", order-aware";
        }
        Self { name, style: Style { index: 0, hollow: peer.is_some() }, runs: vec![run] }
    }

    /// Returns the mean over runs.
    pub fn mean(&self, value: impl Fn(&CaseRecord) -> f64) -> f64 {
        burnrec_train::stats::mean(self.runs.iter().map(|run| value(run.case)))
    }

    /// Returns the mean over runs, if every run has a value.
    pub fn maybe_mean(&self, value: impl Fn(&CaseRecord) -> Option<f64>) -> Option<f64> {
        let values: Option<Vec<f64>> = self.runs.iter().map(|run| value(run.case)).collect();
        values.map(burnrec_train::stats::mean)
    }

    /// Returns what each user contributes to a metric, where the records have it.
    pub fn measure(&self, metric: Metric) -> Option<Measure> {
        measure(&self.runs, metric)
    }
}

/// Returns what each user contributes to a metric in each run, where the records have it.
pub fn measure(runs: &[Run], metric: Metric) -> Option<Measure> {
    let column = if metric == Metric::Rmse { 0 } else { 1 };
    let statistic = if metric == Metric::Rmse { Statistic::RootMean } else { Statistic::Mean };
    let users = |run: &Run| -> Option<Vec<[f64; 2]>> {
        let users: Vec<[f64; 2]> = match metric.is_rating() {
            true => run.case.per_user_errors.iter().map(|errors| [errors[column], errors[2]]).collect(),
            false => run.case.per_user.get(&metric)?.iter().map(|&value| [f64::from(value), 1.0]).collect(),
        };
        // Without any rated pair the metric has no value.
        Some(users).filter(|users| users.iter().map(|user| user[1]).sum::<f64>() > 0.0)
    };
    Some(Measure { statistic, seeds: runs.iter().map(users).collect::<Option<_>>()? })
}

/// Returns a case's settings without its seed, and without those that were searched, which each split has its own values of.
fn settings(case: &CaseRecord) -> Json {
    let mut config = case.config.clone();
    if let Some(table) = config.as_object_mut() {
        table.remove("seed");
        let searched = case.tuned.iter().filter_map(|tuned| tuned.space.as_object());
        searched.flat_map(|space| space.keys()).for_each(|key| drop(table.remove(key)));
    }
    config
}
