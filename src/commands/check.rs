//! `check`: prints a config with every default.

use std::io::Write;

use anyhow::{Context, Result};
use burnrec_bench::bench::plan::{BenchPlan, Extent};
use burnrec_bench::record::Task;

use super::jobs;
use super::retrain::Retraining;
use crate::cli::Check;
use crate::layers::{Overrides, given};

pub fn run(args: Check) -> Result<()> {
    let (file, set) = (&args.config, &args.settings.set);
    let (table, given) = (Overrides::default().table(file)?, given(set)?);
    let has = |key: &str| table.contains_key(key) || given.reach(key);
    let text = if has("models") {
        toml::to_string(&given.serve_config(file)?)?
    } else if has("at_once") || has("schedules") {
        toml::to_string(&jobs::read(file, &given)?)?
    } else if has("releases") {
        toml::to_string(&Retraining::read(file, given)?.config)?
    } else if has("search") {
        toml::to_string(&given.tune_config(file)?.to_table())?
    } else if Task::ALL.iter().any(|task| has(&task.to_string())) {
        let extent = Extent { peers: true, ..Extent::default() };
        let plan = BenchPlan::read(file, "auto", extent).with_context(|| file.display().to_string())?;
        toml::to_string(&plan)?
    } else {
        toml::to_string(&given.train_config(file)?.to_table())?
    };
    write!(std::io::stdout(), "{text}")?;
    Ok(())
}
