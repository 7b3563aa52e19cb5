//! A training config with a `[search]` table: which settings a search tries, and the config of each of its trials.

use burnrec_models::Error as ModelError;
use burnrec_models::registry::model_name;
use burnrec_models::settings::{Settings, decode, refuse_unknown};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::log::is_false;
use super::space::Space;
use crate::metrics::Metric;
use crate::{Error, Result, TrainConfig};

/// A search with all its trials.
#[derive(Clone, Debug, PartialEq)]
pub struct TuneConfig {
    /// The settings that all trials share, without defaults.
    base: Table,
    search: SearchConfig,
    metric: Metric,
    trials: Vec<Trial>,
}

/// The settings of a search: the table `[search]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// How settings are taken from the space.
    pub method: Method,
    /// How many trials a random search has; 20 by default. A grid has as many as it has combinations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trials: Option<usize>,
    /// Seeds the draws of a random search and the cut into folds; 42 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Into how many folds train and valid are cut for a cross-validation; the data's own train and valid are used when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<u32>,
    /// No trial begins after those before it took so many seconds together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Whether trial 1 has the settings as they stand outside the space, which the others then must beat.
    #[serde(skip_serializing_if = "is_false")]
    pub incumbent: bool,
    /// Whether a trial stops where its best value so far is below the median of the earlier trials' after as many evaluations
    /// (the median stopping rule of Golovin et al. 2017, section 3.2.2). Without folds alone.
    #[serde(skip_serializing_if = "is_false")]
    pub prune: bool,
    /// For each setting to search a list of values, or a range.
    pub space: Table,
}

/// How settings are taken from the space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every combination.
    #[default]
    Grid,
    /// Combinations drawn at random, no two the same (Bergstra and Bengio 2012).
    Random,
}

/// One trial of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Counted from 1.
    pub number: usize,
    /// The values of the searched settings.
    pub settings: Table,
    /// The training config, with all settings.
    pub config: TrainConfig,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            method: Method::Grid,
            trials: None,
            seed: None,
            folds: None,
            seconds: None,
            incumbent: false,
            prune: false,
            space: Table::new(),
        }
    }
}

impl TuneConfig {
    /// Reads a flat training table with a table `search`. Every trial's config is decoded, so that bad settings are
    /// refused before the search starts.
    ///
    /// # Errors
    /// When there is no `search`, a key of it is unknown or has an impossible value, a setting in the space does not
    /// belong to the model, or the settings of a trial are refused.
    pub fn from_table(mut base: Table) -> Result<Self> {
        let search = match base.remove("search") {
            Some(Value::Table(search)) => SearchConfig::from_table(search)?,
            other => {
                let found = other.map_or("no such table".to_owned(), |value| value.to_string());
                let expected = "a table with what to search, such as [search.space] with reg = [0.01, 0.1]";
                return Err(ModelError::config("search", found, expected).into());
            }
        };
        let model = model_name(&base)?;
        let keys = TrainConfig::keys(&model)?;
        for (key, why) in FIXED {
            if search.space.contains_key(key) {
                let expected = format!("no such key, as {why}");
                return Err(ModelError::config(format!("search.space.{key}"), "a setting", expected).into());
            }
        }
        refuse_unknown(&search.space, "search.space.", &format!("a setting of {model}"), &keys)?;
        let defaults =
            TrainConfig::from_table(Table::from_iter([("model".to_owned(), Value::String(model))]))?;
        let space = Space::new(&search.space, &defaults.to_table())?;
        let mut settings = match search.method {
            Method::Grid => space.grid()?,
            Method::Random => space.draws(search.seed(), search.trials.unwrap_or(TRIALS))?,
        };
        if search.incumbent {
            let mut stands = TrainConfig::from_table(base.clone())?.to_table();
            stands.retain(|key, _| search.space.contains_key(key));
            settings.retain(|other| *other != stands);
            settings.insert(0, stands);
        }
        let trial = |(settings, number)| Trial::new(&base, number, settings);
        let trials: Vec<Trial> = settings.into_iter().zip(1..).map(trial).collect::<Result<_>>()?;
        let metric = one_metric(&trials)?;
        Ok(Self { base, search, metric, trials })
    }

    /// Returns the settings of the search, with every default.
    pub fn search(&self) -> &SearchConfig {
        &self.search
    }

    /// Returns the metric on valid that trials are compared by.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Returns all trials, at least one, in the order of their numbers.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// Returns the search as one table, with the defaults that all trials have in common.
    pub fn to_table(&self) -> Table {
        let mut tables = self.trials.iter().map(|trial| trial.config.to_table());
        let mut common = tables.next().unwrap_or_default();
        tables.for_each(|table| common.retain(|key, value| table.get(key) == Some(value)));
        common.retain(|key, _| !self.search.space.contains_key(key));
        common.insert("search".to_owned(), table_of(&self.search).into());
        common
    }

    /// Returns all that the trials depend on beside the data: the shared settings as given, and the settings of the
    /// search. The number of trials is left out, because a random search may be continued with more.
    pub(super) fn identity(&self) -> Table {
        let mut search = table_of(&self.search);
        search.remove("trials");
        search.remove("seconds");
        let mut identity = Table::new();
        identity.insert("config".to_owned(), self.base.clone().into());
        identity.insert("search".to_owned(), search.into());
        identity
    }
}

/// Keys that cannot be searched, and why.
const FIXED: [(&str, &str); 3] = [
    ("model", "a search is over the settings of one model"),
    ("select_by", "values of different metrics cannot be compared"),
    ("refit", "trials are judged before any refit"),
];

const SEED: u64 = 42;
const TRIALS: usize = 20;

impl SearchConfig {
    /// Returns the seed of the draws and of the folds.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }

    /// Reads the table `[search]`, and fills in every default.
    fn from_table(table: Table) -> Result<Self> {
        refuse_unknown(&table, "search.", "a key of [search]", &<Self as Settings>::keys())?;
        let mut search: Self = decode(table).map_err(|error| Error::from(error).under("search"))?;
        let random = search.method == Method::Random;
        let refused = |key: &str, found: String, expected: &str| {
            Err(ModelError::config(format!("search.{key}"), found, expected).into())
        };
        match (random, search.trials, search.seed, search.folds) {
            (false, Some(trials), _, _) => {
                return refused("trials", trials.to_string(), "no such key, or method = \"random\"");
            }
            (false, _, Some(seed), None) => {
                return refused("seed", seed.to_string(), "no such key, or method = \"random\" or folds");
            }
            (_, _, _, Some(folds)) if folds < 2 => {
                return refused("folds", folds.to_string(), "at least 2, or no such key");
            }
            (_, _, _, Some(_)) if search.prune => {
                return refused("prune", "true with folds".to_owned(), "one of the two");
            }
            _ => {}
        }
        if let Some(seconds) = search.seconds.filter(|seconds| seconds.is_nan() || *seconds <= 0.0) {
            return refused("seconds", seconds.to_string(), "more than 0, or no such key");
        }
        if random {
            search.trials.get_or_insert(TRIALS);
        }
        if random || search.folds.is_some() {
            search.seed = Some(search.seed());
        }
        Ok(search)
    }
}

impl Trial {
    fn new(base: &Table, number: usize, settings: Table) -> Result<Self> {
        let mut table = base.clone();
        table.extend(settings.clone());
        let config = TrainConfig::from_table(table).map_err(|error| match error {
            Error::Model(ModelError::Config { key, found, expected }) => {
                let own = settings.contains_key(key.split('.').next().unwrap_or_default());
                let key = if own { format!("search.space.{key}") } else { key };
                let given: Vec<String> =
                    settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                let expected = format!("{expected} (in trial {number}: {})", given.join(", "));
                Error::Model(ModelError::Config { key, found, expected })
            }
            other => other,
        })?;
        Ok(Self { number, settings, config })
    }
}

/// Returns the metric that all trials are compared by; refuses trials with different ones.
fn one_metric(trials: &[Trial]) -> Result<Metric> {
    let metric = trials.first().map(|trial| trial.config.select_by()).unwrap_or(Metric::Ndcg(10));
    match trials.iter().find(|trial| trial.config.select_by() != metric) {
        None => Ok(metric),
        Some(other) => {
            let found =
                format!("{metric} in trial 1 and {} in trial {}", other.config.select_by(), other.number);
            let expected = "one metric for all trials, such as select_by = \"ndcg@10\"";
            Err(ModelError::config("select_by", found, expected).into())
        }
    }
}

fn table_of(search: &SearchConfig) -> Table {
    Table::try_from(search).expect("settings of a search are plain TOML values")
}

#[cfg(test)]
mod tests {
    use burnrec_models::nn::NnTraining;

    use super::*;

    fn parse(text: &str) -> Result<TuneConfig> {
        TuneConfig::from_table(toml::from_str(text).expect("TOML"))
    }

    #[test]
    fn trials_are_the_base_with_their_settings() {
        let text = "model = 'mf'\nepochs = 3\n[search.space]\nlearning_rate = [0.1, 0.2]\ndim = [4]";
        let config = parse(text).expect("a search");
        let [first, second] = config.trials() else { panic!("two trials") };
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(second.config.trainer.training::<NnTraining>().expect("a network's").learning_rate, 0.2);
        assert_eq!((second.config.run.epochs, second.settings["dim"].as_integer()), (3, Some(4)));
        let whole = config.to_table();
        assert_eq!(whole["epochs"].as_integer(), Some(3));
        assert!(!whole.contains_key("dim") && whole.contains_key("batch_size"));
        let again = TuneConfig::from_table(whole).expect("a search again");
        assert_eq!(again.trials(), config.trials());
    }

    #[test]
    fn defaults_that_depend_on_the_space_are_each_trials_own() {
        let text = "model = 'als'\nweighting = 'bm25'\n[search.space]\nconvention = ['implicit', 'spark']";
        let config = parse(text).expect("a search");
        let regs = config.trials().iter().map(|trial| trial.config.to_table()["reg"].as_float());
        assert_eq!(regs.collect::<Vec<_>>(), [Some(0.01), Some(0.1)]);
        assert!(!config.to_table().contains_key("reg"));
    }

    #[test]
    fn a_random_search_may_grow_but_not_change() {
        let search = |more: &str, reg: &str| {
            let text =
                format!("model = 'als'\n[search]\nmethod = 'random'\n{more}\n[search.space]\nreg = {reg}");
            parse(&text).expect("a search")
        };
        let range = "{ low = 0.1, high = 1 }";
        let (five, more) = (search("trials = 5", range), search("", range));
        assert_eq!((five.trials().len(), more.trials().len()), (5, 20));
        assert_eq!(five.trials(), &more.trials()[..5]);
        assert_eq!(five.identity(), more.identity());
        assert_ne!(five.identity(), search("seed = 7", range).identity());
        assert_ne!(five.identity(), search("", "{ low = 0.1, high = 2 }").identity());
    }

    #[test]
    fn wrong_searches_are_refused_by_name() {
        let refused = [
            ("", "search: found no such table"),
            ("[search]", "search.space: found no setting"),
            ("[search]\nmethod = 'gird'\n[search.space]\ndim = [1]", "search.method: found \"gird\""),
            ("[search]\ntrails = 3\n[search.space]\ndim = [1]", "did you mean \"trials\"?"),
            ("[search]\ntrials = 3\n[search.space]\ndim = [1]", "search.trials: found 3"),
            ("[search]\nseed = 3\n[search.space]\ndim = [1]", "search.seed: found 3"),
            ("[search]\nfolds = 1\n[search.space]\ndim = [1]", "search.folds: found 1"),
            (
                "[search]\nmethod = 'random'\ntrials = -1\n[search.space]\ndim = [1]",
                "search.trials: found -1",
            ),
            (
                "[search.space]\ndims = [1]",
                "search.space.dims: found an unknown key, expected a setting of als; did you mean \"dim\"?",
            ),
            ("[search.space]\nbatch_size = [1]", "search.space.batch_size: found an unknown key"),
            ("[search.space]\nselect_by = ['auc']", "search.space.select_by: found a setting"),
            (
                "[search.space]\ndim = [8, 0]",
                "search.space.dim: found 0, expected at least 1 (in trial 2: dim = 0)",
            ),
            ("[search.space]\ndim = ['x']", "search.space.dim: found \"x\""),
            (
                "[search.space]\nfeedback = ['explicit', 'implicit']",
                "select_by: found rmse in trial 1 and ndcg@10",
            ),
            ("epoch = 3\n[search.space]\ndim = [1]", "epoch: found an unknown key"),
        ];
        for (text, words) in refused {
            let error = parse(&format!("model = 'als'\n{text}")).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
