//! Keys of a config as JSON: set one by one.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// Sets the value at a path; a text stays one where one stands, and else JSON is read. Nothing removes the key.
pub fn set(at: &mut Value, path: &[&str], text: &str) -> Result<()> {
    let [key, rest @ ..] = path else { bail!("found no key, expected one such as flow.batch_events") };
    if let Value::Array(list) = at {
        let n = list.len();
        let place: usize = key
            .parse()
            .ok()
            .filter(|place| *place <= n)
            .with_context(|| format!("found {key:?}, expected the place in a list of {n}"))?;
        return match (rest.is_empty() && text.is_empty(), place == n) {
            (true, true) => Ok(()),
            (true, false) => {
                list.remove(place);
                Ok(())
            }
            (false, _) => {
                if place == n {
                    list.push(json!({}));
                }
                set_in(&mut list[place], rest, text)
            }
        };
    }
    let Value::Object(table) = at else { bail!("found a value, expected a table with a key {key:?}") };
    match (rest.is_empty() && text.is_empty(), rest.is_empty()) {
        (true, _) => {
            table.remove(*key);
            Ok(())
        }
        (false, _) => {
            let within = table.entry((*key).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            set_in(within, rest, text)
        }
    }
}

fn set_in(at: &mut Value, rest: &[&str], text: &str) -> Result<()> {
    if !rest.is_empty() {
        return set(at, rest, text);
    }
    let typed = || serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
    *at = if at.is_string() { Value::String(text.to_owned()) } else { typed() };
    Ok(())
}

/// Leaves out keys without a value.
pub fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(table) => {
            let kept = table.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_set_removed_and_added_at_its_place() {
        let mut config = json!({
            "flow": { "batch_events": 512, "order": "first-in" },
            "routes": [{ "models": { "main": 1.0 } }],
        });
        let mut change = |key: &str, text: &str| {
            let path: Vec<&str> = key.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect();
            set(&mut config, &path, text).map_err(|error| error.to_string())
        };
        change("flow.batch_events", "7").unwrap();
        change("flow.order", "7").unwrap();
        change("routes[0].models.next", "0.5").unwrap();
        change("routes.0.salt", "autumn").unwrap();
        change("routes.1.models", "{\"main\":1}").unwrap();
        change("failures.score.retries", "2").unwrap();
        change("limits.k", "3").unwrap();
        change("limits.k", "").unwrap();
        for (key, word) in [
            ("routes.9.salt", "list of 2"),
            ("routes.x", "list of 2"),
            ("flow.order.x", "a value"),
            ("", "no key"),
        ] {
            let error = change(key, "1").unwrap_err();
            assert!(error.contains(word), "{key}: {error}");
        }
        assert_eq!(
            config,
            json!({
                "flow": { "batch_events": 7, "order": "7" },
                "routes": [{ "models": { "main": 1.0, "next": 0.5 }, "salt": "autumn" }, { "models": { "main": 1 } }],
                "failures": { "score": { "retries": 2 } },
                "limits": {},
            })
        );
    }
}
