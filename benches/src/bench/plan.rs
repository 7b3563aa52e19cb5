//! The plan of a bench: its config file after every file that it names is read, so that each case has all its settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burnrec_data::Error as DataError;
use burnrec_data::split::SplitConfig;
use burnrec_models::Error as ModelError;
use burnrec_train::metrics::Metric;
use burnrec_train::tune::Budget;
use burnrec_train::{Result, TrainConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::cluster::ClusterConfig;
use super::peer;
use crate::record::{CaseRecord, Task};

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

/// How much of the config is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Runs one seed, with the settings under `quick` of each case.
    pub quick: bool,
    /// Runs only so many of the seeds, the first ones.
    pub seeds: Option<usize>,
    /// Runs the peers too.
    pub peers: bool,
    /// Takes the settings as they stand in the config.
    pub no_tune: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    seeds: Vec<u64>,
    tune: Option<Budget>,
    ranking: Option<FileTask>,
    rating: Option<FileTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTask {
    split: SplitConfig,
    metric: Metric,
    against: String,
    case: Vec<FileCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCase {
    name: String,
    label: Option<String>,
    config: Option<String>,
    #[serde(default)]
    set: Table,
    #[serde(default)]
    quick: Table,
    #[serde(default)]
    space: Table,
    clusters: Option<usize>,
    peer: Option<String>,
    script: Option<String>,
    #[serde(default)]
    args: Vec<String>,
}

impl BenchPlan {
    /// Reads a config file and the configs that it names, which lie beside it.
    ///
    /// # Errors
    /// When a file cannot be read, has an unknown key, or its settings make no sense.
    pub fn read(path: &Path, device: &str, extent: Extent) -> Result<Self> {
        let text = |path: &Path| fs::read_to_string(path).map_err(DataError::io("read", path));
        let folder = path.parent().unwrap_or(Path::new("."));
        let of = |name: &str| Ok(text(&folder.join(name))?);
        Self::parse(&text(path)?, &of, device, extent).map_err(|error| {
            DataError::malformed(path, error.to_string(), "a config of a bench, such as configs/bench.toml")
                .into()
        })
    }

    /// Parses a config's text; `file` gives the text of the configs that it names.
    ///
    /// # Errors
    /// As [`BenchPlan::read`].
    pub fn parse(
        text: &str,
        file: &dyn Fn(&str) -> Result<String>,
        device: &str,
        extent: Extent,
    ) -> Result<Self> {
        let refused = |error: toml::de::Error| {
            ModelError::config("bench", error.message(), "what configs/bench.toml shows")
        };
        let File { mut seeds, tune, ranking, rating } = toml::from_str(text).map_err(refused)?;
        tune.as_ref().map_or(Ok(()), Budget::check)?;
        let tune = tune.filter(|_| !extent.quick && !extent.no_tune);
        seeds.truncate(extent.seeds.unwrap_or(if extent.quick { 1 } else { usize::MAX }));
        let mut tasks = BTreeMap::new();
        for (task, of) in [(Task::Ranking, ranking), (Task::Rating, rating)] {
            if let Some(FileTask { split, metric, against, case }) = of {
                let cases = case.into_iter().filter(|case| extent.peers || case.peer.is_none());
                let cases =
                    cases.map(|case| case.resolve(task, file, extent.quick)).collect::<Result<Vec<_>>>()?;
                tasks.insert(task, TaskPlan { split, metric, against, cases });
            }
        }
        let plan = Self { seeds, device: device.to_owned(), tune, tasks };
        plan.check()?;
        Ok(plan)
    }

    /// Returns all cases, each with its task.
    pub fn cases(&self) -> impl Iterator<Item = (Task, &CasePlan)> {
        self.tasks.iter().flat_map(|(&task, of)| of.cases.iter().map(move |case| (task, case)))
    }

    fn check(&self) -> Result<()> {
        let refuse = |key: &str, found: &dyn ToString, expected: &str| {
            Err(ModelError::config(key, found.to_string(), expected).into())
        };
        if self.seeds.is_empty() || self.tasks.is_empty() {
            return refuse(
                "seeds, ranking, rating",
                &"none",
                "at least one seed, and one of [ranking] and [rating]",
            );
        }
        for (task, TaskPlan { metric, against, cases, .. }) in &self.tasks {
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

impl CasePlan {
    /// Returns the names of the cases whose runs this one starts from, each with the setting that names it.
    pub fn starts_from(&self) -> Vec<(&'static str, String)> {
        let CaseMethod::Train { config } = &self.method else { return Vec::new() };
        let mut config = config.clone();
        let runs = runs_of(&mut config).into_iter();
        runs.filter_map(|(key, run)| Some((key, case_of(run)?.to_owned()))).collect()
    }
}

impl CasePlan {
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
            CaseMethod::Peer { args, .. } => peer::stands(args, &self.space)
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

impl FileCase {
    fn resolve(self, task: Task, file: &dyn Fn(&str) -> Result<String>, quick: bool) -> Result<CasePlan> {
        let Self { name, label, config, set, quick: shortened, space, clusters, peer, script, args } = self;
        let label = label.unwrap_or_else(|| name.clone());
        let method = match (config, peer, script) {
            (Some(config), None, None) => {
                let refused = |error: toml::de::Error| {
                    ModelError::config(&config, error.message(), "a training config")
                };
                let mut table: Table = toml::from_str(&file(&config)?).map_err(refused)?;
                table.extend(set);
                if quick {
                    table.extend(shortened);
                }
                let config = TrainConfig::from_table(table)?;
                if (config.model().output() == burnrec_models::Output::Rating) != (task == Task::Rating) {
                    let found = format!("a model of {:?}", config.model().output());
                    return Err(ModelError::config(
                        format!("{task} {name}"),
                        found,
                        "ratings for [rating], else none",
                    )
                    .into());
                }
                let config = config.to_table();
                match clusters {
                    Some(0) => {
                        return Err(ModelError::config(format!("{name}.clusters"), 0, "at least 1").into());
                    }
                    Some(clusters) => CaseMethod::Cluster { clusters, config },
                    None => CaseMethod::Train { config },
                }
            }
            (None, Some(peer), Some(script)) => CaseMethod::Peer { peer, script, args },
            _ => {
                let expected = "either config, or peer and script";
                return Err(ModelError::config(format!("case {name}"), "neither or both", expected).into());
            }
        };
        let case = CasePlan { name, label, method, space };
        case.check_space()?;
        Ok(case)
    }
}
