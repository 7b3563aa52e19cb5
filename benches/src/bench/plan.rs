//! The plan of a bench: its config file after every file that it names is read, so that each case has all its settings.

mod file;

use std::collections::BTreeMap;

use burnrec_data::Interactions;
use burnrec_data::split::SplitConfig;
use burnrec_models::Error as ModelError;
use burnrec_train::metrics::Metric;
use burnrec_train::tune::Budget;
use burnrec_train::{Result, TrainConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::arguments;
use super::cluster::ClusterConfig;
use crate::record::{CaseRecord, Task};
pub use file::Extent;

/// The resolved config of a bench: it holds the settings of every case, so that no other file is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchPlan {
    /// The seeds; each draws a split, and every case is trained on it.
    pub seeds: Vec<u64>,
    /// The device of networks, as `--device` names it.
    pub device: String,
    /// What the search of each case's settings may take on each split; none where settings are taken as they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<Budget>,
    /// The tasks, each with its split and its cases.
    pub tasks: BTreeMap<Task, TaskPlan>,
}

/// The split and the cases of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskPlan {
    /// How the rows are split.
    pub split: SplitConfig,
    /// The metric that is shown first and tested; it is fixed before anything is trained.
    pub metric: Metric,
    /// The case that the others are tested against.
    pub against: String,
    /// The cases, in the order of the report.
    pub cases: Vec<CasePlan>,
}

/// A model with its settings, or a peer's program, to be trained and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CasePlan {
    /// The name, unique in its task.
    pub name: String,
    /// The name in reports.
    pub label: String,
    /// How it is trained.
    #[serde(rename = "way")]
    pub method: CaseMethod,
    /// The settings to search on valid, each with a list of values or a range; of a peer its arguments.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub space: Table,
}

/// Identifies a case on the split of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseKey {
    /// The task.
    pub task: Task,
    /// The seed of the split.
    pub seed: u64,
    /// The name of the case.
    pub case: String,
}

impl CaseKey {
    /// Returns the name of the case's directories.
    pub fn name(&self) -> String {
        format!("{}-seed{}-{}", self.task, self.seed, self.case)
    }
}

impl CaseRecord {
    /// Returns which case on which split the record is of.
    pub fn key(&self) -> CaseKey {
        CaseKey { task: self.task, seed: self.seed, case: self.case.clone() }
    }
}

/// How a case is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CaseMethod {
    /// A run of `burnrec train`.
    Train {
        /// The settings.
        config: Table,
    },
    /// Users are clustered, and ALS is trained on each cluster of users.
    Cluster {
        /// How many clusters.
        clusters: usize,
        /// The settings of ALS.
        config: Table,
    },
    /// A script of `benches/peers/`.
    Peer {
        /// The peer's name: `implicit`.
        peer: String,
        /// The script's file name.
        script: String,
        /// Its arguments, beside those that name the data.
        args: Vec<String>,
    },
}

impl BenchPlan {
    /// Returns all cases, each with its task.
    pub fn cases(&self) -> impl Iterator<Item = (Task, &CasePlan)> {
        self.tasks.iter().flat_map(|(&task, of)| of.cases.iter().map(move |case| (task, case)))
    }

    /// Leaves out what rows without times, of few users or with one value for all cannot be asked, and returns it in words.
    ///
    /// # Errors
    /// When nothing is left, or a task's baseline is left out.
    pub fn fit_to(&mut self, rows: &Interactions) -> Result<Vec<String>> {
        let mut left_out = Vec::new();
        if !rows.have_times() {
            let mut gone: Vec<String> = Vec::new();
            if self.tasks.remove(&Task::Temporal).is_some() {
                gone.push(Task::Temporal.title().to_owned());
            }
            for task in self.tasks.values_mut() {
                let mut kept: Vec<CasePlan> = Vec::new();
                for case in task.cases.drain(..) {
                    let has_parts =
                        case.starts_from().iter().all(|(_, part)| kept.iter().any(|kept| kept.name == *part));
                    if has_parts && !case.reads_order()? {
                        kept.push(case);
                    } else if !gone.contains(&case.label) {
                        gone.push(case.label);
                    }
                }
                task.cases = kept;
            }
            if !gone.is_empty() {
                left_out
                    .push(format!("Left out, as the times of the rows do not differ: {}.", gone.join("; ")));
            }
        }
        if let Some(TaskPlan { split: SplitConfig::UserHoldout { valid_users, test_users, .. }, .. }) =
            self.tasks.get(&Task::UserHoldout)
        {
            let (held_out, found) =
                (u64::from(*valid_users) + u64::from(*test_users), users_with_two_rows(rows));
            if held_out >= found {
                self.tasks.remove(&Task::UserHoldout);
                left_out.push(format!(
                    "Left out, as it holds out {held_out} users, and {found} have two rows: {}.",
                    Task::UserHoldout.title()
                ));
            }
        }
        if rows.values.iter().all(|value| *value == rows.values[0])
            && self.tasks.remove(&Task::Rating).is_some()
        {
            left_out.push("Left out, as all rows have one value: predictions of ratings.".to_owned());
        }
        if !left_out.is_empty() {
            self.check()?;
        }
        Ok(left_out)
    }

    fn check(&self) -> Result<()> {
        let refuse = |key: &str, found: &dyn ToString, expected: &str| {
            Err(ModelError::config(key, found.to_string(), expected).into())
        };
        if self.seeds.is_empty() || self.tasks.is_empty() {
            return refuse(
                "seeds, ranking, temporal, user-holdout, rating",
                &"none",
                "at least one seed, and a task with cases that the data can be asked",
            );
        }
        for (task, TaskPlan { split, metric, against, cases }) in &self.tasks {
            let splits_so = match task {
                Task::Ranking | Task::Rating => true,
                Task::Temporal => matches!(split, SplitConfig::Temporal { .. }),
                Task::UserHoldout => matches!(split, SplitConfig::UserHoldout { .. }),
            };
            if !splits_so {
                let found = serde_json::to_value(split).expect("a split has only string keys");
                return refuse(&format!("{task}.split"), &found, "the protocol of the task's name");
            }
            if metric.is_rating() != (*task == Task::Rating) {
                return refuse(
                    &format!("{task}.metric"),
                    metric,
                    "rmse or mae of ratings, another of a ranking",
                );
            }
            if matches!(metric, Metric::Coverage(_)) {
                return refuse(&format!("{task}.metric"), metric, "one that each user has a value of");
            }
            if !cases.iter().any(|case| case.name == *against) {
                return refuse(&format!("{task}.against"), against, "the name of one of its cases");
            }
            for (at, case) in cases.iter().enumerate() {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if case.name.is_empty() || !case.name.chars().all(plain) {
                    return refuse(
                        "case.name",
                        &case.name,
                        "letters, digits, - _ and . alone, as it names files",
                    );
                }
                if cases[..at].iter().any(|other| other.name == case.name) {
                    return refuse("case.name", &case.name, "a name that no other case has");
                }
                if *task == Task::UserHoldout && matches!(case.method, CaseMethod::Peer { .. }) {
                    let expected = "a model of burnrec: peers' programs are not given the rows to fold in";
                    return refuse(&format!("{task}.cases"), &case.name, expected);
                }
                for (key, part) in case.starts_from() {
                    if !cases[..at].iter().any(|other| other.name == part) {
                        let key = format!("{}.{key}", case.name);
                        return refuse(&key, &part, "a case that stands before it");
                    }
                }
            }
        }
        Ok(())
    }
}

/// Counts the users with at least two rows, of whom one can be folded in.
fn users_with_two_rows(rows: &Interactions) -> u64 {
    let mut users: Vec<u32> = rows.users.iter().map(|user| user.0).collect();
    users.sort_unstable();
    users.chunk_by(|a, b| a == b).filter(|of_user| of_user.len() > 1).count() as u64
}

impl CasePlan {
    /// Returns whether the model reads the order of a user's rows.
    fn reads_order(&self) -> Result<bool> {
        match &self.method {
            CaseMethod::Train { config } => {
                Ok(TrainConfig::from_table(config.clone())?.model().reads_order())
            }
            CaseMethod::Cluster { .. } | CaseMethod::Peer { .. } => Ok(false),
        }
    }

    /// Returns the names of the cases whose runs this one starts from, each with the setting that names it.
    pub fn starts_from(&self) -> Vec<(&'static str, String)> {
        let CaseMethod::Train { config } = &self.method else { return Vec::new() };
        let mut config = config.clone();
        let runs = runs_of(&mut config).into_iter();
        runs.filter_map(|(key, run)| Some((key, case_of(run)?.to_owned()))).collect()
    }

    /// Refuses a space that the case's settings cannot be taken from.
    fn check_space(&self) -> Result<()> {
        if self.space.is_empty() {
            return Ok(());
        }
        let budget = Budget { trials: 2, seconds: 1.0 };
        let checked = match &self.method {
            CaseMethod::Train { config } => budget.search(config.clone(), &self.space, 0).map(drop),
            CaseMethod::Cluster { clusters, config } => {
                let config = ClusterConfig::of(*clusters, &TrainConfig::from_table(config.clone())?)?;
                budget.search(config.to_table(), &self.space, 0).map(drop)
            }
            CaseMethod::Peer { args, .. } => arguments::stands(args, &self.space)
                .and_then(|stands| budget.settings(&stands, &self.space, 0))
                .map(drop),
        };
        checked.map_err(|error| {
            let expected = "settings of the case, each with a list of values or a range";
            ModelError::config(format!("space of {}", self.name), error, expected).into()
        })
    }
}

/// Returns the case's name, `gmf`, where a config names a run as `case:gmf`; none where it names a directory.
pub fn case_of(run: &str) -> Option<&str> {
    run.strip_prefix("case:")
}

/// The settings that name runs to start from: a table that has them among others, and a list.
const RUNS: [&str; 2] = ["pretrained", "parts"];

/// Returns the runs that a training config starts from, each with the setting that names it.
pub fn runs_of(config: &mut Table) -> Vec<(&'static str, &mut String)> {
    let mut runs = Vec::new();
    for (key, value) in config.iter_mut() {
        let Some(key) = RUNS.into_iter().find(|known| known == key) else { continue };
        let values: Vec<&mut Value> = match value {
            Value::Table(table) => table.iter_mut().map(|(_, value)| value).collect(),
            Value::Array(values) => values.iter_mut().collect(),
            _ => Vec::new(),
        };
        runs.extend(values.into_iter().filter_map(|value| match value {
            Value::String(run) => Some((key, run)),
            _ => None,
        }));
    }
    runs
}
