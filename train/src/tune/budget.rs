//! Searches within a budget, for a comparison in which every model has the same.

use burnrec_models::Error as ModelError;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::TuneConfig;
use super::space::Space;
use crate::Result;

/// How much a search may try.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The most trials, the settings as they stand among them.
    pub trials: usize,
    /// No trial begins after those before it took so many seconds together.
    pub seconds: f64,
}

impl Budget {
    /// Refuses a budget that no search fits in.
    ///
    /// # Errors
    /// When there are less than two trials, or no seconds.
    pub fn check(&self) -> Result<()> {
        let refused = |key: &str, found: &dyn ToString, expected: &str| {
            Err(ModelError::config(format!("tune.{key}"), found.to_string(), expected).into())
        };
        if self.trials < 2 {
            return refused(
                "trials",
                &self.trials,
                "at least 2, as the first is of the settings as they stand",
            );
        }
        if !(self.seconds > 0.0 && self.seconds.is_finite()) {
            return refused("seconds", &self.seconds, "more than 0");
        }
        Ok(())
    }

    /// Returns the search of a training config's table over a space: first the settings as they stand, then every combination
    /// of the space where there are so few, else drawn ones. Bad trials are stopped early.
    ///
    /// # Errors
    /// As [`TuneConfig::from_table`].
    pub fn search(&self, mut config: Table, space: &Table, seed: u64) -> Result<TuneConfig> {
        let mut search = Table::new();
        search.insert("space".to_owned(), space.clone().into());
        search.insert("seconds".to_owned(), self.seconds.into());
        search.insert("incumbent".to_owned(), true.into());
        search.insert("prune".to_owned(), true.into());
        let drawn = self.trials - 1;
        if Space::new(space, &config)?.size().is_none_or(|size| size > drawn) {
            search.insert("method".to_owned(), "random".into());
            search.insert("trials".to_owned(), (drawn as i64).into());
            search.insert("seed".to_owned(), (seed as i64).into());
        }
        config.insert("search".to_owned(), search.into());
        TuneConfig::from_table(config)
    }

    /// Returns the values that a program other than burnrec tries of a space: as [`Budget::search`] those that stand come
    /// first.
    ///
    /// # Errors
    /// When the space makes no sense.
    pub fn settings(&self, stands: &Table, space: &Table, seed: u64) -> Result<Vec<Table>> {
        let (space, drawn) = (Space::new(space, stands)?, self.trials - 1);
        let mut all = match space.size() {
            Some(size) if size <= drawn => space.grid()?,
            _ => space.draws(seed, drawn)?,
        };
        all.retain(|other| other != stands);
        all.insert(0, stands.clone());
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { trials: 4, seconds: 10.0 };

    fn table(text: &str) -> Table {
        toml::from_str(text).expect("TOML")
    }

    #[test]
    fn what_stands_comes_first_and_the_rest_fills_the_budget() {
        let config = table("model = 'als'\nreg = 0.5\ndim = 8");
        let regs = |space: &str| {
            let search = BUDGET.search(config.clone(), &table(space), 7).expect("a search");
            assert!(search.search().prune && search.search().seconds == Some(10.0));
            let trials = search.trials().iter();
            trials
                .map(|trial| (trial.number, trial.settings["reg"].as_float().expect("a number")))
                .collect::<Vec<_>>()
        };
        assert_eq!(regs("reg = [0.1, 0.5, 0.2]"), [(1, 0.5), (2, 0.1), (3, 0.2)]);
        let drawn = regs("reg = { low = 0.01, high = 1, scale = 'log' }");
        assert_eq!((drawn.len(), drawn[0]), (4, (1, 0.5)));
        assert!(drawn[1..].iter().all(|(_, reg)| (0.01..=1.0).contains(reg)));
        let few = BUDGET.settings(&table("reg = 0.5"), &table("reg = [0.1, 0.5, 0.2]"), 7).expect("settings");
        assert_eq!(few, ["reg = 0.5", "reg = 0.1", "reg = 0.2"].map(table));
        let many =
            BUDGET.settings(&table("reg = 0.5"), &table("reg = { low = 1, high = 2 }"), 7).expect("settings");
        assert_eq!((many.len(), &many[0]), (4, &table("reg = 0.5")));
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        for (budget, words) in [
            (Budget { trials: 1, ..BUDGET }, "tune.trials: found 1, expected at least 2"),
            (Budget { seconds: 0.0, ..BUDGET }, "tune.seconds: found 0, expected more than 0"),
        ] {
            let error = budget.check().expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        let error =
            BUDGET.search(table("model = 'als'"), &table("dims = [1]"), 7).expect_err("no such setting");
        assert!(error.to_string().contains("search.space.dims"), "{error}");
    }
}
