//! Settings as they stand in a flat table of a file: which keys a struct takes, and strict decoding that names the key
//! to blame.
//!
//! A config file says `model = "als"` and then every setting at the top level, whoever it belongs to. The table is cut
//! by owner and each piece is decoded on its own, so that every unknown key is refused.

use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, Visitor, value};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

use crate::{Error, Result};

/// A group of settings with one owner. Every plain struct that derives serde's traits is one; a struct that holds
/// another group beside keys of its own implements it by hand.
pub trait Settings: Sized {
    /// Returns the keys that it takes.
    fn keys() -> Vec<&'static str>;

    /// Decodes a table that holds its keys alone; keys that are left out take their defaults.
    ///
    /// # Errors
    /// When a value has the wrong type; the error names the key, what was found and what was expected.
    fn from_table(table: Table) -> Result<Self>;

    /// Returns all settings as a table, defaults included.
    fn to_table(&self) -> Table;
}

impl<T: Serialize + DeserializeOwned> Settings for T {
    fn keys() -> Vec<&'static str> {
        fields_of::<T>().to_vec()
    }

    fn from_table(table: Table) -> Result<Self> {
        decode(table)
    }

    fn to_table(&self) -> Table {
        let mut table = Table::try_from(self).expect("settings are plain values that TOML has");
        table.iter_mut().for_each(|(_, value)| shorten(value));
        table
    }
}

/// The settings of a model or a training that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Writes an `f32` that became an `f64` as the short number that it was: 0.007, not 0.007000000216066837.
fn shorten(value: &mut Value) {
    match value {
        Value::Float(number) if f64::from(*number as f32) == *number => {
            *number = (*number as f32).to_string().parse().unwrap_or(*number);
        }
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| shorten(value)),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// Takes the entries of these keys out of a table.
pub fn cut(table: &mut Table, keys: &[&str]) -> Table {
    keys.iter().filter_map(|key| table.remove_entry(*key)).collect()
}

/// Decodes a table strictly.
///
/// # Errors
/// When the table is none of a `T`; the error names the key to blame.
pub fn decode<T: DeserializeOwned>(table: Table) -> Result<T> {
    table.clone().try_into().map_err(|error: toml::de::Error| {
        // A key that does not even decode alone is the one to blame.
        let alone = |key: &str| Table::from_iter(table.get(key).map(|value| (key.to_owned(), value.clone())));
        let blamed = table.keys().find(|key| alone(key).try_into::<T>().is_err());
        let key = blamed.cloned().unwrap_or_default();
        let found = table.get(&key).map(Value::to_string).unwrap_or_default();
        let message = error.message().trim();
        let expected = message.rsplit_once(", expected ").map_or(message, |(_, expected)| expected);
        Error::config(key, found, expected)
    })
}

/// Refuses a table with a key that is none of `known`; the error names the key behind `prefix`, and the nearest known
/// one.
///
/// # Errors
/// When there is such a key.
pub fn refuse_unknown(table: &Table, prefix: &str, what: &str, known: &[&str]) -> Result<()> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let expected = match did_you_mean(key, known.iter().copied()) {
        Some(near) => format!("{what}; did you mean {near:?}?"),
        None => format!("{what}: {}", known.join(", ")),
    };
    Err(Error::config(format!("{prefix}{key}"), "an unknown key", expected))
}

/// Returns the field names of a struct that derives `Deserialize`, taken from serde itself so that they are written
/// down only once.
pub fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names = Names(&[]);
    // The result is always an error, because `Names` stops once it knows the names.
    let _ = T::deserialize(&mut names);
    names.0
}

/// Returns the known name nearest to a mistyped one, if one is near.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(edits, name)| *edits <= (name.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// A deserializer that reads nothing: it records the field names that serde asks it for, and fails.
struct Names(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Names {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, value::Error> {
        Err(value::Error::custom("only the names were asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, value::Error> {
        self.0 = fields;
        Err(value::Error::custom("only the names were asked for"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mf::MfConfig;

    #[test]
    fn names_and_near_names() {
        assert!(fields_of::<MfConfig>().contains(&"init_std"));
        assert_eq!(did_you_mean("epoch", ["dim", "epochs"]), Some("epochs"));
        assert_eq!(did_you_mean("zzz", ["dim", "epochs"]), None);
    }
}
