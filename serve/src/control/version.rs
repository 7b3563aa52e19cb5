//! A version of the config, and what differs between two.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Changeable;
use crate::settings::Run;

/// How many versions are kept, the newest.
pub const KEPT: usize = 1000;

/// How many bytes of JSON they may be together.
const MOST_BYTES: usize = 32 << 20;

/// How a version came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// The service started with a config file that was new to it.
    Start,
    /// A whole config was put.
    Put,
    /// An earlier version was taken up again.
    Rollback,
    /// The flow pauses.
    Pause,
    /// The flow answers what it has read, and reads no more.
    Drain,
    /// The flow goes on.
    Resume,
}

/// A version of what may change in the config.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Version {
    /// Its number, from 1 on.
    pub version: u64,
    /// When it was made, in UTC: `2026-11-27T20:40:12Z`.
    pub at: String,
    /// Who made it: the name of a token, or `config file`.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// How it came to be.
    pub act: Act,
    /// Whether the flow takes events.
    pub run: Run,
    /// What differs from the version before.
    pub changes: Vec<Change>,
    /// The hash of the file that `table.path` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_hash: Option<String>,
    /// The hashes of what the config files say of it that were taken up so far, the last one last.
    #[serde(default)]
    pub files: Vec<String>,
    /// The tables themselves.
    pub config: Changeable,
}

/// A key with another value; `null` where there is none.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Change {
    /// The key, such as `routes[0].models.next`.
    pub field: String,
    /// Its value before.
    pub from: Value,
    /// Its value now.
    pub to: Value,
}

impl Version {
    /// Returns what differs from here to another version.
    pub fn changes_to(&self, config: &Changeable, run: Run, table_hash: Option<&String>) -> Vec<Change> {
        let mut changes = Vec::new();
        differ(String::new(), &value(&self.config), &value(config), &mut changes);
        if self.run != run {
            changes.push(Change { field: "run".into(), from: self.run.name().into(), to: run.name().into() });
        }
        if self.table_hash.as_ref() != table_hash {
            let (from, to) = (self.table_hash.clone().into(), table_hash.cloned().into());
            changes.push(Change { field: "table's file".into(), from, to });
        }
        changes
    }
}

/// Drops the oldest of too many versions, and of those that are too large together.
pub fn keep_newest(versions: &mut Vec<Version>) {
    let mut bytes = 0;
    let newest = versions.iter().rev().take(KEPT).take_while(|version| {
        bytes += serde_json::to_string(version).map_or(0, |text| text.len());
        bytes <= MOST_BYTES
    });
    let kept = newest.count().max(1);
    versions.drain(..versions.len().saturating_sub(kept));
}

impl Change {
    /// Returns whether it is of what names files, which others than administrators may not have read.
    pub fn names_files(&self) -> bool {
        self.field.starts_with("models") || self.field == "table" || self.field == "table.path"
    }
}

/// Returns tables as JSON.
pub fn value(config: &Changeable) -> Value {
    serde_json::to_value(config).expect("the keys of a config are texts")
}

/// Adds the leaves at which two values differ.
fn differ(field: String, from: &Value, to: &Value, changes: &mut Vec<Change>) {
    let (none, under) = (Value::Null, |key: &str| match field.is_empty() {
        true => key.to_owned(),
        false => format!("{field}.{key}"),
    });
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differ(under(key), a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none), changes);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for at in 0..a.len().max(b.len()) {
                let (from, to) = (a.get(at).unwrap_or(&none), b.get(at).unwrap_or(&none));
                differ(format!("{field}[{at}]"), from, to, changes);
            }
        }
        (from, to) if from == to => {}
        (from, to) => changes.push(Change { field, from: from.clone(), to: to.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ServeConfig;

    fn version(text: &str) -> Version {
        let config: ServeConfig =
            format!("models.main.run = 'r'\nmodels.next.run = 'n'\n{text}").parse().unwrap();
        Version {
            version: 1,
            at: String::new(),
            by: String::new(),
            note: String::new(),
            act: Act::Start,
            run: Run::Running,
            changes: Vec::new(),
            table_hash: None,
            files: Vec::new(),
            config: config.changeable(),
        }
    }

    #[test]
    fn the_difference_names_each_key_with_both_values() {
        let one = version("[[routes]]\nmodels = { main = 1 }\n[flow]\nbatch_events = 9");
        let two = version(
            "[[routes]]\nmodels = { main = 1, next = 0.5 }\n[[routes]]\nmodels = { main = 1 }\n\
             [failures.score]\nretries = 2\n[table]\npath = 'offers.csv'",
        );
        let changes = one.changes_to(&two.config, Run::Paused, Some(&"ab".to_owned()));
        let found: Vec<(&str, Value, Value)> =
            changes.iter().map(|of| (of.field.as_str(), of.from.clone(), of.to.clone())).collect();
        assert_eq!(found.len(), 7, "{found:?}");
        assert_eq!(found[0], ("failures.score.retries", json!(0), json!(2)));
        assert_eq!(found[1], ("flow.batch_events", json!(9), json!(512)));
        assert_eq!(found[2], ("routes[0].models.next", json!(null), json!(0.5)));
        assert_eq!(
            (found[3].0, &found[3].1, &found[3].2["models"]),
            ("routes[1]", &json!(null), &json!({"main": 1.0}))
        );
        assert_eq!((found[4].0, &found[4].2["path"]), ("table", &json!("offers.csv")));
        assert_eq!(found[5], ("run", json!("running"), json!("paused")));
        assert_eq!(found[6], ("table's file", json!(null), json!("ab")));
        let of_files: Vec<bool> = changes.iter().map(Change::names_files).collect();
        assert_eq!(of_files, [false, false, false, false, true, false, false]);
        assert!(one.changes_to(&one.config, Run::Running, None).is_empty());
        let mut many = vec![one.clone(); 2 * KEPT];
        keep_newest(&mut many);
        assert_eq!(many.len(), KEPT);
        let large = Version { note: "x".repeat(MOST_BYTES / 3), ..one.clone() };
        many.extend([large.clone(), large.clone(), large]);
        keep_newest(&mut many);
        assert_eq!(many.len(), 2, "two of three large ones");
        let text = serde_json::to_string(&two).unwrap();
        let read: Version = serde_json::from_str(&text).unwrap();
        assert!(two.changes_to(&read.config, Run::Running, None).is_empty(), "{text}");
    }
}
