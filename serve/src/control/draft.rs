//! Reads the config that somebody wants, and refuses what cannot change while the service runs.

use toml::{Table, Value};

use crate::config::{CHANGEABLE, Changeable, HIDDEN, ServeConfig};
use crate::{Error, Result};

/// Reads a config as it is kept in a file, or the part of it that may change, from TOML or JSON.
///
/// The tables that may not change may be left out; what stands in them must be what the service runs with. A secret is not
/// compared: it is nowhere shown, and comes from the environment as often as not.
///
/// # Errors
/// When it is no config, or a key has another value that needs a restart.
pub fn read(text: &str, is_json: bool, running: &ServeConfig) -> Result<Changeable> {
    let bad = |found: String| Error::config("config", found, "a table in TOML, or an object in JSON");
    let table: Table = match is_json {
        true => {
            let object = serde_json::from_str(text).map(without_nulls).and_then(serde_json::from_value);
            object.map_err(|error| bad(error.to_string()))?
        }
        false => toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?,
    };
    let (tables, fixed): (Table, Table) =
        table.into_iter().partition(|(key, _)| CHANGEABLE.contains(&key.as_str()));
    check_fixed(fixed, running)?;
    tables.try_into().map_err(|error| crate::config::refused(&error))
}

/// Leaves out what is null: a key that is not there.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(array) => array.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn check_fixed(given: Table, running: &ServeConfig) -> Result<()> {
    let table = |config: &ServeConfig| match Value::try_from(config) {
        Ok(Value::Table(table)) => Ok(table),
        other => Err(Error::config("config", format!("{other:?}"), "a table")),
    };
    let now = table(running)?;
    let mut wanted = now.clone();
    given.into_iter().for_each(|(key, value)| lay_over(&mut wanted, key, value));
    // Read as a config, so that what is written in another way, such as a span of time, is the same.
    let wanted = wanted.try_into().map_err(|error| crate::config::refused(&error))?;
    let wanted = table(&wanted)?;
    same(String::new(), &Value::Table(now), &Value::Table(wanted))
}

fn lay_over(into: &mut Table, key: String, value: Value) {
    match (into.get_mut(&key), value) {
        // The names of these settings may be written in two ways.
        (Some(Value::Table(into)), Value::Table(from)) if key != "librdkafka" => {
            from.into_iter().for_each(|(key, value)| lay_over(into, key, value));
        }
        (_, value) => drop(into.insert(key, value)),
    }
}

fn same(field: String, now: &Value, wanted: &Value) -> Result<()> {
    if let (Value::Table(now), Value::Table(wanted)) = (now, wanted) {
        let none = Value::String("none".into());
        let keys = now.keys().chain(wanted.keys().filter(|key| !now.contains_key(*key)));
        for key in keys {
            let under = if field.is_empty() { key.clone() } else { format!("{field}.{key}") };
            let of = |table: &Table| table.get(key).unwrap_or(&none).clone();
            same(under, &of(now), &of(wanted))?;
        }
        return Ok(());
    }
    // Whether a secret stands in a file or comes from the environment.
    let is_secret = [now, wanted].into_iter().any(|value| value.as_str() == Some(HIDDEN));
    match now == wanted || is_secret {
        true => Ok(()),
        false => {
            let expected = format!("{now} as the service runs: only a restart changes it");
            Err(Error::config(field, wanted, expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: &str = "models.main.run = 'r'\nhttp.token = 'hunter2'\nstate.ttl = '2h'\n[kafka]\nbootstrap = 'b'\n\
                           requests = ['q']\nreplies = 'r'\nrejects = 'x'\nlibrdkafka.\"sasl.password\" = 'hunter2'\n\
                           librdkafka.\"linger.ms\" = 5\n";

    fn running() -> ServeConfig {
        RUNNING.parse().unwrap()
    }

    #[test]
    fn a_whole_config_and_a_part_of_it_are_read_and_the_rest_must_be_as_it_runs() {
        let read = |text: &str| super::read(text, false, &running());
        let changed =
            format!("{RUNNING}[flow]\nbatch_events = 7\n[[routes]]\ntopic = 'q'\nmodels = {{ main = 1 }}");
        for text in [
            &changed,
            "models.main.run = 'r'\nflow.batch_events = 7\nrouts = 1",
            "models.main.run = 'r'\nflow.batch_events = 7",
            "models.main.run = 'r'\nflow.batch_events = 7\nkafka.librdkafka = { linger.ms = 5, sasl.password = 'other' }",
            "models.main.run = 'r'\nflow.batch_events = 7\nkafka.librdkafka = { linger.ms = 5 }",
            "models.main.run = 'r'\nflow.batch_events = 7\nstate.ttl = '120m'\nkafka.workers = 2",
        ] {
            match read(text) {
                Ok(found) => assert_eq!(found.flow.batch_events, 7, "{text}"),
                Err(error) => {
                    assert!(text.contains("routs") && error.to_string().contains("routs"), "{text}: {error}")
                }
            }
        }
        let json = r#"{"models":{"main":{"run":"r","version":null}},"table":null,"flow":{"batch_events":7}}"#;
        assert_eq!(super::read(json, true, &running()).unwrap().flow.batch_events, 7);
        for (text, field) in [
            ("kafka.workers = 4", "kafka.workers: found 4, expected 2 as"),
            ("kafka.requests = ['p']", "kafka.requests"),
            ("kafka.guarantee = 'exactly-once'", "kafka.guarantee"),
            ("kafka.librdkafka.linger.ms = 6", "kafka.librdkafka"),
            ("http.listen = '127.0.0.1:1'", "http.listen"),
            ("http.tls_key = 'k'", "http.tls_key: found \"k\", expected \"none\""),
            ("state.ttl = '3h'", "state.ttl"),
            ("device = 'cpu'", "device"),
            ("input.format = 'csv'", "input.format"),
            ("steps.cap = { place = 'after-score', command = ['cat'] }", "steps.cap: found"),
            ("flow.batch_events = 'x'", "flow.batch_events"),
            ("flow.bach_events = 1", "bach_events"),
            ("[[[", "config"),
        ] {
            let error = read(&format!("models.main.run = 'r'\n{text}")).unwrap_err().to_string();
            assert!(error.contains(field) && !error.contains("hunter2"), "{text}: {error}");
        }
        assert!(
            read("flow.batch_events = 7").unwrap_err().to_string().contains("models"),
            "a whole part or nothing"
        );
    }
}
