//! The space that a search takes settings from: for each setting a list of values, or a range of numbers.

use std::collections::BTreeSet;

use burnrec_data::rng::stream;
use burnrec_models::Error as ModelError;
use rand::{Rng, RngExt};
use toml::{Table, Value};

use super::range::{MOST, Range, refused};
use crate::Result;

/// The most draws for one trial until its settings differ from those of all trials before.
const MOST_DRAWS: usize = 1_000_000;

/// The settings to search, ordered by their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Space(Vec<(String, Axis)>);

/// The values that one setting may have.
#[derive(Clone, Debug, PartialEq)]
enum Axis {
    /// One of these.
    Values(Vec<Value>),
    /// A number of a range.
    Range(Range),
}

impl Space {
    /// Reads the table `[search.space]`; `defaults` are the model's settings, which tell integers from other numbers.
    ///
    /// # Errors
    /// When there is no setting, a list is empty or repeats a value, or a range makes no sense.
    pub fn new(table: &Table, defaults: &Table) -> Result<Self> {
        if table.is_empty() {
            let expected = "at least one setting, such as reg = [0.01, 0.1]";
            return Err(ModelError::config("search.space", "no setting", expected).into());
        }
        let axis =
            |(key, value): (&String, &Value)| Ok((key.clone(), Axis::new(key, value, defaults.get(key))?));
        Ok(Self(table.iter().map(axis).collect::<Result<_>>()?))
    }

    /// Returns every combination, the value of the last key changing fastest.
    ///
    /// # Errors
    /// When a range has no steps, or there are too many combinations.
    pub fn grid(&self) -> Result<Vec<Table>> {
        let mut all = vec![Table::new()];
        for (key, axis) in &self.0 {
            let Axis::Values(values) = axis else {
                let expected = "steps = N too, the number of values that a grid takes from low to high";
                return Err(refused(key, "a range without steps", expected));
            };
            if all.len() * values.len() > MOST {
                let expected = format!("at most {MOST}; method = \"random\" tries some of them");
                return Err(ModelError::config("search.space", "a larger grid", expected).into());
            }
            let with = |settings: &Table, value: &Value| {
                let mut settings = settings.clone();
                settings.insert(key.clone(), value.clone());
                settings
            };
            let with = &with;
            all = all
                .iter()
                .flat_map(|settings| values.iter().map(move |value| with(settings, value)))
                .collect();
        }
        Ok(all)
    }

    /// Draws the settings of trials 1 to `n`, no two the same. Those of a trial depend on `seed` and its number alone,
    /// not on `n`.
    ///
    /// # Errors
    /// When `n` is 0, or more than there are different settings.
    pub fn draws(&self, seed: u64, n: usize) -> Result<Vec<Table>> {
        let most = self.size().map_or(MOST, |size| size.min(MOST));
        if n == 0 || n > most {
            let why =
                if most < MOST { ", as many as the space has; method = \"grid\" tries them all" } else { "" };
            return Err(ModelError::config(
                "search.trials",
                n,
                format!("at least 1 and at most {most}{why}"),
            )
            .into());
        }
        let mut taken = BTreeSet::new();
        let draw = |trial: u64| {
            // A stream of its own for each key: another key in the space leaves the draws of this one as they are.
            let stream = |key: &str| stream(seed, &format!("tune.{key}"), trial);
            let mut streams: Vec<_> = self.0.iter().map(|(key, _)| stream(key)).collect();
            for _ in 0..MOST_DRAWS {
                let axes = self.0.iter().zip(&mut streams);
                let settings: Table = axes.map(|((key, axis), rng)| (key.clone(), axis.draw(rng))).collect();
                if taken.insert(settings.to_string()) {
                    return Ok(settings);
                }
            }
            let expected = format!("at most {}, or a wider range", trial - 1);
            Err(ModelError::config("search.trials", n, expected).into())
        };
        (1..=n as u64).map(draw).collect()
    }

    /// Returns how many different settings there are; `None` where there is a range of numbers that are not integers.
    pub fn size(&self) -> Option<usize> {
        self.0.iter().try_fold(1usize, |size, (_, axis)| {
            let of_axis = match axis {
                Axis::Values(values) => values.len(),
                Axis::Range(range) => range.size()?,
            };
            Some(size.saturating_mul(of_axis))
        })
    }
}

impl Axis {
    fn new(key: &str, value: &Value, default: Option<&Value>) -> Result<Self> {
        match value {
            Value::Array(values) if values.is_empty() => {
                Err(refused(key, "an empty list", "at least one value"))
            }
            Value::Array(values) => {
                match (1..values.len()).find(|&place| values[..place].contains(&values[place])) {
                    Some(place) => Err(refused(key, format!("{} twice", values[place]), "each value once")),
                    None => Ok(Self::Values(values.clone())),
                }
            }
            Value::Table(table) => Ok(match Range::read(key, table, default)? {
                (range, None) => Self::Range(range),
                (range, Some(steps)) => Self::Values(range.steps(steps)),
            }),
            other => {
                let expected = "a list such as [32, 64], or a range such as { low = 0.001, high = 0.1 }";
                Err(refused(key, other, expected))
            }
        }
    }

    fn draw(&self, rng: &mut impl Rng) -> Value {
        match self {
            Self::Values(values) => values[rng.random_range(0..values.len())].clone(),
            Self::Range(range) => range.draw(rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = "dim = 64\nreg = 0.1\nsolver = \"cg\"\nnegatives = 4";

    fn space(text: &str) -> Result<Space> {
        Space::new(&toml::from_str(text).expect("TOML"), &toml::from_str(DEFAULTS).expect("TOML"))
    }

    fn lines(settings: &[Table]) -> Vec<String> {
        settings.iter().map(|table| table.to_string().trim().replace('\n', ", ")).collect()
    }

    #[test]
    fn a_grid_is_every_combination_the_last_key_changing_fastest() {
        let space = space("reg = [0.1, 0.01]\ndim = [32, 64]\nsolver = ['cg']").expect("a space");
        let grid = lines(&space.grid().expect("a grid"));
        assert_eq!(
            grid,
            [
                "dim = 32, reg = 0.1, solver = \"cg\"",
                "dim = 32, reg = 0.01, solver = \"cg\"",
                "dim = 64, reg = 0.1, solver = \"cg\"",
                "dim = 64, reg = 0.01, solver = \"cg\"",
            ]
        );
    }

    #[test]
    fn steps_go_from_low_to_high() {
        let grid = |text| lines(&space(text).and_then(|space| space.grid()).expect("a grid"));
        let log = grid("reg = { low = 0.001, high = 1, scale = 'log', steps = 4 }");
        assert_eq!(log, ["reg = 0.001", "reg = 0.01", "reg = 0.1", "reg = 1.0"]);
        assert_eq!(grid("reg = { low = 0, high = 1, steps = 3 }"), ["reg = 0.0", "reg = 0.5", "reg = 1.0"]);
        assert_eq!(grid("dim = { low = 2, high = 4, steps = 9 }"), ["dim = 2", "dim = 3", "dim = 4"]);
    }

    #[test]
    fn draws_stay_in_their_ranges_and_fill_them() {
        let text = "reg = { low = 0.001, high = 0.1, scale = 'log' }\nnegatives = { low = 2, high = 8 }\n\
                    dim = { low = 1, high = 100, scale = 'log' }\nsolver = ['cg', 'cholesky']";
        let draws = space(text).and_then(|space| space.draws(1, 2000)).expect("draws");
        let count = |holds: &dyn Fn(&Table) -> bool| draws.iter().filter(|table| holds(table)).count();
        let reg = |table: &Table| table["reg"].as_float().expect("a number");
        let whole = |table: &Table, key: &str| table[key].as_integer().expect("an integer");
        assert_eq!(count(&|table| (0.001..=0.1).contains(&reg(table))), 2000);
        // Half of a log range lies below the geometric mean of its ends.
        assert!((900..1100).contains(&count(&|table| reg(table) < 0.01)));
        for n in 2..=8 {
            let drawn = count(&|table| whole(table, "negatives") == n);
            assert!((200..380).contains(&drawn), "{n} negatives {drawn} times of 2000");
        }
        assert_eq!(count(&|table| (1..=100).contains(&whole(table, "dim"))), 2000);
        assert!((800..1200).contains(&count(&|table| whole(table, "dim") <= 7)));
        assert!((900..1100).contains(&count(&|table| table["solver"].as_str() == Some("cg"))));
    }

    #[test]
    fn draws_depend_on_seed_and_number_alone_and_do_not_repeat() {
        let text = "reg = { low = 0.001, high = 0.1 }\ndim = [1, 2, 3]";
        let space = space(text).expect("a space");
        let draws = |seed, n| lines(&space.draws(seed, n).expect("draws"));
        assert_eq!(draws(1, 5), draws(1, 20)[..5]);
        assert_ne!(draws(1, 5), draws(2, 5));
        let few = super::tests::space("dim = [1, 2, 3]\nnegatives = { low = 1, high = 2 }").expect("a space");
        let mut all = lines(&few.draws(1, 6).expect("draws"));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 6);
        let error = few.draws(1, 7).expect_err("too many").to_string();
        assert!(error.contains("search.trials: found 7") && error.contains("at most 6"), "{error}");
        assert!(few.draws(1, 0).is_err());
        let narrow = super::tests::space("reg = { low = 1, high = 1.000001 }").expect("a space");
        assert!(narrow.draws(1, 10).expect_err("no ten").to_string().contains("wider range"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = [
            ("", "search.space: found no setting"),
            ("reg = []", "search.space.reg: found an empty list"),
            ("reg = [1, 2, 1]", "search.space.reg: found 1 twice"),
            ("reg = 0.1", "search.space.reg: found 0.1, expected a list"),
            ("reg = { low = 0.1, high = 0.1 }", "search.space.reg: found low = 0.1 and high = 0.1"),
            ("dim = { low = 9, high = 1 }", "search.space.dim: found low = 9 and high = 1"),
            ("reg = { low = 0, high = 1, scale = 'log' }", "search.space.reg: found low = 0 with scale"),
            ("reg = { low = 0.1 }", "search.space.reg: found { low = 0.1 }, expected both low and high"),
            ("reg = { low = 0.1, high = inf }", "expected finite numbers"),
            ("reg = { low = 0.1, hihg = 1 }", "search.space.reg.hihg: found an unknown key"),
            ("reg = { low = 0.1, high = 1, scale = 'lag' }", "search.space.reg.scale: found \"lag\""),
            ("reg = { low = 0.1, high = 1, steps = 1 }", "search.space.reg.steps: found 1"),
            ("dim = { low = 1.5, high = 2 }", "expected integers for low and high"),
            ("solver = { low = 1, high = 2 }", "expected a list of values"),
        ];
        for (text, words) in refused {
            let error = space(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let hint = space("reg = { low = 0.1, hihg = 1 }").expect_err("a typo").to_string();
        assert!(hint.contains("did you mean \"high\"?"), "{hint}");
        let range = space("reg = { low = 0.1, high = 1 }").expect("a space");
        assert!(range.grid().expect_err("no steps").to_string().contains("steps = N"));
        let large = "dim = { low = 1, high = 1000, steps = 1000 }\nreg = { low = 1, high = 2, steps = 1000 }";
        assert!(space(large).expect("a space").grid().expect_err("too many").to_string().contains("random"));
    }
}
