//! A range of numbers to search.

use burnrec_models::Error as ModelError;
use burnrec_models::settings::{decode, fields_of, refuse_unknown};
use rand::{Rng, RngExt};
use serde::Deserialize;
use toml::{Table, Value};

use crate::{Error, Result};

/// The most trials of a search, and so the most steps of a range; more are a mistake.
pub(super) const MOST: usize = 100_000;

/// The numbers between two ends, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    ends: Ends,
    scale: Scale,
}

/// The ends of a range of any numbers, or of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Real(f64, f64),
    Whole(i64, i64),
}

/// Whether steps and draws are even in the number or in its logarithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scale {
    #[default]
    Linear,
    Log,
}

/// A range as it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    low: Option<Value>,
    high: Option<Value>,
    #[serde(default)]
    scale: Scale,
    steps: Option<u32>,
}

impl Range {
    /// Reads a table with `low` and `high`, for a setting with this default; returns the range, and the number of steps
    /// if the table has one.
    ///
    /// # Errors
    /// When the ends are not numbers that the setting takes, or `low` is not below `high`.
    pub fn read(key: &str, table: &Table, default: Option<&Value>) -> Result<(Self, Option<u32>)> {
        let prefix = format!("search.space.{key}");
        refuse_unknown(table, &format!("{prefix}."), "a key of a range", fields_of::<Given>())?;
        let given: Given = decode(table.clone()).map_err(|error| Error::from(error).under(&prefix))?;
        let range = Self { ends: Ends::new(key, table, &given, default)?, scale: given.scale };
        let (low, high) = range.ends.as_numbers();
        if low >= high {
            return Err(refused(key, format!("low = {low} and high = {high}"), "low below high"));
        }
        if range.scale == Scale::Log && low <= 0.0 {
            return Err(refused(key, format!("low = {low} with scale = \"log\""), "low above 0"));
        }
        match given.steps {
            Some(n) if n < 2 || n as usize > MOST => {
                let expected = format!("at least 2 and at most {MOST}");
                Err(ModelError::config(format!("{prefix}.steps"), n, expected).into())
            }
            steps => Ok((range, steps)),
        }
    }

    /// Returns `n` numbers from low to high, at least 2, evenly on the scale; integers that round to the same number
    /// appear once.
    pub fn steps(self, n: u32) -> Vec<Value> {
        let mut values: Vec<Value> = (0..n).map(|step| self.at(f64::from(step) / f64::from(n - 1))).collect();
        values.dedup();
        values
    }

    /// Returns how many numbers the range has; `None` where they are not integers.
    pub fn size(self) -> Option<usize> {
        match self.ends {
            Ends::Real(..) => None,
            Ends::Whole(low, high) => usize::try_from(high.abs_diff(low)).ok()?.checked_add(1),
        }
    }

    /// Returns the number at a fraction of the way from low to high.
    fn at(self, share: f64) -> Value {
        let number = self.scale.between(self.ends.as_numbers(), share);
        match self.ends {
            Ends::Real(low, high) => Value::Float(short(number).clamp(low, high)),
            Ends::Whole(low, high) => Value::Integer((number.round() as i64).clamp(low, high)),
        }
    }

    /// Draws a number of the range, uniformly on its scale.
    pub fn draw(self, rng: &mut impl Rng) -> Value {
        match self.ends {
            Ends::Real(..) => self.at(rng.random()),
            Ends::Whole(low, high) => {
                // Each integer is drawn for all numbers that round to it, so that both ends get their full share.
                let number = self.scale.between((low as f64 - 0.5, high as f64 + 0.5), rng.random());
                Value::Integer((number.round() as i64).clamp(low, high))
            }
        }
    }
}

impl Ends {
    /// Reads the ends of a range for a setting with this default: integers if the setting takes integers.
    fn new(key: &str, table: &Table, given: &Given, default: Option<&Value>) -> Result<Self> {
        let (Some(low), Some(high)) = (&given.low, &given.high) else {
            return Err(refused(key, Value::Table(table.clone()), "both low and high"));
        };
        let whole = low.as_integer().zip(high.as_integer());
        let any = number(low).zip(number(high));
        let (ends, expected) = match default {
            Some(Value::Integer(_)) => (whole.map(Self::from), "integers for low and high"),
            Some(Value::Float(_)) => (any.map(Self::from), "finite numbers for low and high"),
            Some(_) => (None, "a list of values, as this setting is no number"),
            None => (whole.map(Self::from).or(any.map(Self::from)), "finite numbers for low and high"),
        };
        ends.ok_or_else(|| refused(key, Value::Table(table.clone()), expected))
    }

    fn as_numbers(self) -> (f64, f64) {
        match self {
            Self::Real(low, high) => (low, high),
            Self::Whole(low, high) => (low as f64, high as f64),
        }
    }
}

impl From<(f64, f64)> for Ends {
    fn from((low, high): (f64, f64)) -> Self {
        Self::Real(low, high)
    }
}

impl From<(i64, i64)> for Ends {
    fn from((low, high): (i64, i64)) -> Self {
        Self::Whole(low, high)
    }
}

impl Scale {
    /// Returns the number at a fraction of the way between two numbers.
    fn between(self, (low, high): (f64, f64), share: f64) -> f64 {
        match self {
            Self::Linear => low + share * (high - low),
            Self::Log => (low.ln() + share * (high.ln() - low.ln())).exp(),
        }
    }
}

/// Rounds to six digits, which is precise enough for a setting and readable.
fn short(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

fn number(value: &Value) -> Option<f64> {
    let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    number.filter(|number| number.is_finite())
}

/// Returns the error of a setting in the space.
pub fn refused(key: &str, found: impl ToString, expected: impl Into<String>) -> Error {
    ModelError::config(format!("search.space.{key}"), found, expected).into()
}
