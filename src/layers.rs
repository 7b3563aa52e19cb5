//! Reads settings from the config file, the environment and the command line. Each overrides those named before it;
//! what none of them sets keeps its default.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burnrec::serve::ServeConfig;
use burnrec::train::TrainConfig;
use burnrec::train::tune::TuneConfig;
use toml::{Table, Value};

const PREFIX: &str = "BURNREC__";

/// Returns the table of a config file, overridden by the environment (`BURNREC__DIM=64`,
/// `BURNREC__EARLY_STOPPING__PATIENCE=3`) and then by the `--set` settings (`dim=64`, `early_stopping.patience=3`).
pub fn table(file: &Path, set: &[String]) -> Result<Table> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let table: Table =
        toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    laid_over(table, environment(), set)
}

/// Returns the training config of [`table`].
pub fn train_config(file: &Path, set: &[String]) -> Result<TrainConfig> {
    TrainConfig::from_table(table(file, set)?).with_context(|| file.display().to_string())
}

/// Returns the search config of [`table`].
pub fn tune_config(file: &Path, set: &[String]) -> Result<TuneConfig> {
    TuneConfig::from_table(table(file, set)?).with_context(|| file.display().to_string())
}

/// Returns the service's config of [`table`].
pub fn serve_config(file: &Path, set: &[String]) -> Result<ServeConfig> {
    ServeConfig::from_table(table(file, set)?).with_context(|| file.display().to_string())
}

/// Returns the environment variables that set a key of the config.
pub fn overrides() -> impl Iterator<Item = (String, String)> {
    environment().filter(|(name, _)| name.starts_with(PREFIX))
}

/// Returns the environment variables that are UTF-8; no setting can be in the others.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
}

fn laid_over(
    mut table: Table,
    environment: impl Iterator<Item = (String, String)>,
    set: &[String],
) -> Result<Table> {
    for (name, text) in environment {
        if let Some(path) = name.strip_prefix(PREFIX) {
            let path = path.to_lowercase();
            put(&mut table, &path.split("__").collect::<Vec<_>>(), value(&text))
                .with_context(|| format!("environment variable {name}"))?;
        }
    }
    for setting in set {
        let Some((path, text)) = setting.split_once('=') else {
            bail!("--set {setting}: found no `=`, expected KEY=VALUE, for example --set dim=64");
        };
        put(&mut table, &path.trim().split('.').collect::<Vec<_>>(), value(text.trim()))
            .with_context(|| format!("--set {setting}"))?;
    }
    Ok(table)
}

fn put(table: &mut Table, path: &[&str], value: Value) -> Result<()> {
    match path {
        [] => unreachable!("splitting gives at least one piece"),
        [key] => {
            table.insert((*key).to_owned(), value);
            Ok(())
        }
        [key, rest @ ..] => match table.entry((*key).to_owned()).or_insert_with(|| Table::new().into()) {
            Value::Table(inner) => put(inner, rest, value),
            other => bail!("{key}: found the value {other}, expected a table"),
        },
    }
}

/// Parses a TOML value as it is typed on a command line, where the quotes around a string may be left out.
fn value(text: &str) -> Value {
    toml::from_str::<Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_beats_the_environment_beats_the_file() {
        let file: Table = toml::from_str("model = 'mf'\ndim = 1\nreg = 0.5\nseed = 3").expect("TOML");
        let environment = [
            ("BURNREC__DIM", "2"),
            ("BURNREC__SEED", "9"),
            ("BURNREC__SEARCH__TRIALS", "5"),
            ("OTHER__DIM", "7"),
        ];
        let environment = environment.map(|(name, text)| (name.to_owned(), text.to_owned())).into_iter();
        let set = ["dim=4", "early_stopping.patience = 2", "loss=bce", "search.space.reg=[1, 2]"]
            .map(str::to_owned);
        let table = laid_over(file, environment, &set).expect("laid over");
        assert_eq!(table["dim"].as_integer(), Some(4));
        assert_eq!(table["seed"].as_integer(), Some(9));
        assert_eq!(table["reg"].as_float(), Some(0.5));
        assert_eq!(table["early_stopping"]["patience"].as_integer(), Some(2));
        assert_eq!(table["loss"].as_str(), Some("bce"));
        assert_eq!(table["search"]["trials"].as_integer(), Some(5));
        assert_eq!(table["search"]["space"]["reg"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn a_setting_without_a_value_is_refused() {
        assert!(laid_over(Table::new(), std::iter::empty(), &["dim".to_owned()]).is_err());
    }
}
