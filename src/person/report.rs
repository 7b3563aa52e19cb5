//! What places hold of a user, as reports say it.

use serde_json::{Map, Value, json};

/// What a place holds of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// What kind of place: `state`, `index`, `events`, `data`, `run` or `release`.
    pub place: &'static str,
    /// Its directory, or the config of the service.
    pub name: String,
    /// What it holds, by name: rows as arrays, what a run has as its fields; empty where it holds nothing.
    pub parts: Map<String, Value>,
    /// Whether an erasure is in the state topic that the service has not confirmed: it may still have the history in memory.
    pub unconfirmed: bool,
}

impl Held {
    /// Returns whether the place holds anything.
    pub fn is_found(&self) -> bool {
        !self.parts.is_empty() || self.unconfirmed
    }

    /// Returns how much each part holds: rows, or arrays with a row of the user.
    pub fn counts(&self) -> Map<String, Value> {
        let count = |(name, part): (&String, &Value)| {
            let n = match part {
                Value::Array(rows) => rows.len(),
                Value::Object(arrays) => arrays.len(),
                _ => return None,
            };
            Some((name.clone(), json!(n)))
        };
        self.parts.iter().filter_map(count).collect()
    }

    /// Returns [`Held::counts`] as a text: `train 3, valid 1`.
    pub fn told(&self) -> String {
        let counts = self.counts();
        let held = counts.iter().filter(|(_, n)| **n != 0).map(|(name, n)| format!("{name} {n}"));
        let told = held.collect::<Vec<String>>().join(", ");
        match (self.is_found(), told.is_empty()) {
            (true, true) if self.unconfirmed => "an erasure that is not confirmed".to_owned(),
            (true, true) => "the id".to_owned(),
            (true, false) => told,
            (false, _) => "nothing".to_owned(),
        }
    }

    /// Returns all that the place holds, as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "place": self.place,
            "name": self.name,
            "found": self.is_found(),
            "unconfirmed": self.unconfirmed,
            "holds": self.parts,
        })
    }
}

/// What became of a user in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing.
    Nothing,
    /// What there was is gone.
    Erased,
    /// It is gone from the topic, and the service has not confirmed that it has forgotten the user.
    Unconfirmed,
    /// There is something, written after it was erased.
    Left,
}

impl Outcome {
    /// Returns the name of the outcome, in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Erased => "erased",
            Self::Unconfirmed => "unconfirmed",
            Self::Left => "left",
        }
    }
}

/// A place before and after a user was erased from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Erased {
    /// What it held.
    pub before: Held,
    /// What it holds.
    pub after: Held,
}

impl Erased {
    /// Returns what became of the user.
    pub fn outcome(&self) -> Outcome {
        match (self.before.is_found(), &self.after) {
            (_, after) if !after.parts.is_empty() => Outcome::Left,
            (_, after) if after.unconfirmed => Outcome::Unconfirmed,
            (true, _) => Outcome::Erased,
            (false, _) => Outcome::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(parts: Value, unconfirmed: bool) -> Held {
        let Value::Object(parts) = parts else { panic!("an object") };
        Held { place: "run", name: "runs/als".into(), parts, unconfirmed }
    }

    #[test]
    fn counts_are_of_rows_and_arrays() {
        let of_run =
            held(json!({ "model": "als", "seen": [1, 2], "weights": { "user_factors": [0.5] } }), false);
        assert_eq!(of_run.told(), "seen 2, weights 1");
        assert_eq!(held(json!({ "train": [] }), false).told(), "the id");
        assert_eq!(held(json!({}), false).told(), "nothing");
        assert_eq!(held(json!({}), true).told(), "an erasure that is not confirmed");
    }

    #[test]
    fn what_came_back_is_not_erased() {
        let (some, none, waits) =
            (held(json!({ "a": [1] }), false), held(json!({}), false), held(json!({}), true));
        let outcome = |before: &Held, after: &Held| {
            Erased { before: before.clone(), after: after.clone() }.outcome().name()
        };
        assert_eq!(outcome(&some, &none), "erased");
        assert_eq!(outcome(&some, &waits), "unconfirmed");
        assert_eq!(outcome(&none, &none), "nothing");
        assert_eq!(outcome(&some, &some), "left");
        assert_eq!(outcome(&waits, &none), "erased");
    }
}
