//! Reads the plan of a bench from its config file and the training configs that it names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burnrec_data::Error as DataError;
use burnrec_data::split::SplitConfig;
use burnrec_models::{Error as ModelError, Output};
use burnrec_train::metrics::Metric;
use burnrec_train::tune::Budget;
use burnrec_train::{Result, TrainConfig};
use serde::Deserialize;
use toml::Table;

use super::{BenchPlan, CaseMethod, CasePlan, TaskPlan};
use crate::record::Task;

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
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    seeds: Vec<u64>,
    tune: Option<Budget>,
    ranking: Option<FileTask>,
    temporal: Option<FileTask>,
    user_holdout: Option<FileTask>,
    rating: Option<FileTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTask {
    split: SplitConfig,
    metric: Metric,
    against: String,
    /// Cases of `[ranking]` by their names, with the same settings.
    #[serde(default)]
    cases: Vec<String>,
    #[serde(default)]
    case: Vec<FileCase>,
}

#[derive(Clone, Deserialize)]
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
    /// When a file cannot be read, has an unknown key, or its settings make no sense. The path of the file itself is not in the
    /// error.
    pub fn read(path: &Path, device: &str, extent: Extent) -> Result<Self> {
        let text = |path: &Path| fs::read_to_string(path).map_err(DataError::io("read", path));
        let folder = path.parent().unwrap_or(Path::new("."));
        let of = |name: &str| Ok(text(&folder.join(name))?);
        Self::parse(&text(path)?, &of, device, extent)
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
        let File { mut seeds, tune, ranking, temporal, user_holdout, rating } =
            toml::from_str(text).map_err(refused)?;
        tune.as_ref().map_or(Ok(()), Budget::check)?;
        let tune = tune.filter(|_| !extent.quick && !extent.no_tune);
        seeds.truncate(extent.seeds.unwrap_or(if extent.quick { 1 } else { usize::MAX }));
        let of_ranking = ranking.as_ref().map_or(Vec::new(), |ranking| ranking.case.clone());
        let tables = [ranking, temporal, user_holdout, rating];
        let mut tasks = BTreeMap::new();
        for (task, of) in Task::ALL.into_iter().zip(tables) {
            if let Some(FileTask { split, metric, against, cases, case }) = of {
                let named = cases.iter().map(|name| {
                    let found = of_ranking.iter().find(|case| case.name == *name).cloned();
                    let expected = "names of cases of [ranking]";
                    found.ok_or_else(|| ModelError::config(format!("{task}.cases"), name, expected))
                });
                let all = named.collect::<std::result::Result<Vec<_>, _>>()?.into_iter().chain(case);
                let cases = all.filter(|case| extent.peers || case.peer.is_none());
                let cases =
                    cases.map(|case| case.resolve(task, file, extent.quick)).collect::<Result<Vec<_>>>()?;
                tasks.insert(task, TaskPlan { split, metric, against, cases });
            }
        }
        let plan = Self { seeds, device: device.to_owned(), tune, tasks };
        plan.check()?;
        Ok(plan)
    }
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
                if (config.model().output() == Output::Rating) != (task == Task::Rating) {
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
