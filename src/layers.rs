//! Reads settings from the config file, the environment and the command line. Each overrides those named before it;
//! what none of them sets keeps its default. No error repeats a value: it may be a secret.

mod expected;

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
    let table: Table = toml::from_str(&text).map_err(|error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        anyhow::anyhow!("{}, line {line}: {}, expected TOML", file.display(), error.message())
    })?;
    laid_over(table, environment(), set)
}

/// Returns settings of a TOML text, overridden by `--set` settings alone.
pub fn settings(text: &str, set: &[String]) -> Result<Table> {
    laid_over(toml::from_str(text)?, std::iter::empty(), set)
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
            let path: Vec<&str> = path.split("__").collect();
            put(&mut table, &path, value(&path, &text))
                .with_context(|| format!("environment variable {name}"))?;
        }
    }
    for setting in set {
        let Some((key, text)) = setting.split_once('=') else {
            bail!("--set: found no `=`, expected KEY=VALUE, for example --set dim=64");
        };
        let path: Vec<&str> = key.trim().split('.').collect();
        put(&mut table, &path, value(&path, text.trim())).with_context(|| format!("--set {}", key.trim()))?;
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
            other => bail!("{key}: found the type {}, expected a table", other.type_str()),
        },
    }
}

/// Returns the value of a key as it is typed on a command line: a text as it stands where the service expects one, so
/// that a password may look like a number; else TOML, where the quotes around a text may be left out.
fn value(path: &[&str], text: &str) -> Value {
    match expected::expects_text::<ServeConfig>(path) {
        true => Value::String(text.to_owned()),
        false => text.parse().unwrap_or_else(|_| Value::String(text.to_owned())),
    }
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
    fn a_text_stays_as_it_is_where_one_is_expected() {
        const TEXTS: [&str; 9] =
            ["12#34", "1e5", "123456", "true", "1979-05-27", "\"a\"", "[1]", "{}", "a=b"];
        let texts = [
            "http.token",
            "kafka.librdkafka.sasl.password",
            "kafka.group",
            "kafka.instance",
            "kafka.state",
            "kafka.from",
            "models.main.version",
            "models.main.run",
            "routes_none",
            "table.on",
            "output.csv",
            "http.listen",
            "device",
        ];
        for (key, text) in texts.iter().flat_map(|key| TEXTS.map(|text| (*key, text))) {
            let name = format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"));
            let environment = [(name, text.to_owned())].into_iter();
            let by_environment = laid_over(Table::new(), environment, &[]).expect("laid over");
            let by_set = laid_over(Table::new(), std::iter::empty(), &[format!("{key}={text}")]);
            for table in [by_environment, by_set.expect("laid over")] {
                let found = key.split('.').try_fold(Value::Table(table), |at, key| at.get(key).cloned());
                let is_text = found == Some(Value::String(text.to_owned()));
                assert_eq!(
                    is_text,
                    key != "routes_none" || ["12#34", "a=b"].contains(&text),
                    "{key} = {text}"
                );
            }
        }
        for (key, text) in [("http.scoring_requests", "3"), ("limits.k", "3"), ("flow.batch_ms", "3")] {
            let table = laid_over(Table::new(), std::iter::empty(), &[format!("{key}={text}")]).unwrap();
            let (table_name, name) = key.split_once('.').unwrap();
            assert_eq!(table[table_name][name].as_integer(), Some(3), "{key}");
        }
    }

    #[test]
    fn no_error_repeats_a_value() {
        let file: Table = toml::from_str("http.token = 'hunter2'").expect("TOML");
        let under = [("BURNREC__HTTP__TOKEN__X".to_owned(), "hunter2".to_owned())].into_iter();
        let set = |text: &str| laid_over(file.clone(), std::iter::empty(), &[text.to_owned()]);
        let errors = [
            laid_over(file.clone(), under, &[]),
            set("http.token.x=hunter2"),
            set("http.token:hunter2"),
            set("http.token.hunter.x=hunter2"),
        ];
        for error in errors {
            let error = format!("{:#}", error.expect_err("it is refused"));
            assert!(!error.contains("hunter2"), "{error}");
            assert!(
                error.contains("http.token") || error.contains("HTTP__TOKEN") || error.contains("KEY=VALUE")
            );
        }
    }
}
