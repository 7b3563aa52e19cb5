//! Leaves one row of each user and item.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::retain;
use crate::csr::counting_sort;
use crate::{Error, Interactions, Result, Vocab};

/// What becomes of several rows of one user and item. They come in the order of their times, and at equal times in that of
/// the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The last row stays.
    #[default]
    Last,
    /// The first row stays.
    First,
    /// The last row stays, with the sum of all values.
    Sum,
    /// The last row stays, with the mean of all values.
    Mean,
    /// The last row stays, with the greatest value.
    Max,
}

/// Every rule with its name and with what it does, for the summary.
const RULES: [(Duplicates, &str, &str); 5] = [
    (Duplicates::Last, "last", "the last by time counts"),
    (Duplicates::First, "first", "the first by time counts"),
    (Duplicates::Sum, "sum", "the sum of their values counts, at the last time"),
    (Duplicates::Mean, "mean", "the mean of their values counts, at the last time"),
    (Duplicates::Max, "max", "the greatest of their values counts, at the last time"),
];

impl Duplicates {
    fn entry(self) -> (&'static str, &'static str) {
        let entry = RULES.iter().find(|(rule, ..)| *rule == self).expect("every rule has an entry");
        (entry.1, entry.2)
    }

    /// Says what counts where several rows have the same user and item.
    pub fn what_counts(self) -> &'static str {
        self.entry().1
    }

    /// Returns the value of the row that stays in place of rows with these values, which are in the order of the rows.
    fn value(self, values: impl DoubleEndedIterator<Item = f32> + ExactSizeIterator + Clone) -> f32 {
        let sum = || values.clone().map(f64::from).sum::<f64>();
        match self {
            Self::Last => values.clone().next_back().unwrap_or_default(),
            Self::First => values.clone().next().unwrap_or_default(),
            Self::Sum => sum() as f32,
            Self::Mean => (sum() / values.len() as f64) as f32,
            Self::Max => values.clone().fold(f32::NEG_INFINITY, f32::max),
        }
    }
}

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.entry().0)
    }
}

impl FromStr for Duplicates {
    type Err = Error;

    /// Reads `last`, `first`, `sum`, `mean` or `max`.
    fn from_str(text: &str) -> Result<Self> {
        let known = RULES.iter().find(|(_, name, _)| *name == text);
        known
            .map(|(rule, ..)| *rule)
            .ok_or_else(|| Error::setting("duplicates", format!("{text:?}"), "last, first, sum, mean or max"))
    }
}

/// Leaves one row of each user and item by a rule; the rows left keep their order. Returns them, and how many were dropped.
///
/// # Errors
/// When a sum is too large for a value; the error names user and item.
pub fn dedupe(
    mut rows: Interactions,
    users: &Vocab,
    items: &Vocab,
    rule: Duplicates,
) -> Result<(Interactions, u64)> {
    let n_users = users.len();
    let (starts, order) = counting_sort(n_users, rows.len(), |k| rows.users[k].at(), |k| k as u32);
    // Each row of a repeated pair, and the value of the one that stays.
    let repeated: Vec<(u32, Option<f32>)> = (0..n_users)
        .into_par_iter()
        .flat_map_iter(|user| {
            let mut of_user = order[starts[user]..starts[user + 1]].to_vec();
            of_user.sort_unstable_by_key(|&k| (rows.items[k as usize], rows.times[k as usize], k));
            let of_item = of_user.chunk_by(|&a, &b| rows.items[a as usize] == rows.items[b as usize]);
            let mut repeated = Vec::new();
            for same in of_item.filter(|same| same.len() > 1) {
                let value = rule.value(same.iter().map(|&k| rows.values[k as usize]));
                let stays = if rule == Duplicates::First { same[0] } else { same[same.len() - 1] };
                repeated.extend(same.iter().map(|&k| (k, (k == stays).then_some(value))));
            }
            repeated
        })
        .collect();
    if repeated.is_empty() {
        return Ok((rows, 0));
    }
    let mut keep = vec![true; rows.len()];
    for (k, value) in repeated {
        let k = k as usize;
        match value {
            Some(value) if value.is_finite() => rows.values[k] = value,
            Some(value) => {
                let (user, item) = (users.id(rows.users[k].0), items.id(rows.items[k].0));
                let found = format!("{rule}, which is {value} for user {user} and item {item}");
                let expected = format!("sums of at most {:e}, or another rule", f32::MAX);
                return Err(Error::setting("duplicates", found, expected));
            }
            None => keep[k] = false,
        }
    }
    let dropped = retain(&mut rows, &keep);
    Ok((rows, dropped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ItemIx, UserIx};

    /// The item, the value and the time of a row.
    type Row = (u32, f32, i64);

    /// Returns what a rule leaves of rows (user, item, value, time), and how many it drops.
    fn left(rule: Duplicates, rows: &[(u32, u32, f32, i64)]) -> Result<(Vec<Row>, u64)> {
        let mut interactions = Interactions::default();
        rows.iter().for_each(|&(user, item, value, time)| {
            interactions.push(UserIx(user), ItemIx(item), value, time)
        });
        let (users, items) = (Vocab::from_strs(["ann", "bob"]), Vocab::from_ints(vec![10, 20]));
        let (rows, dropped) = dedupe(interactions, &users, &items, rule)?;
        let of = |k: usize| (rows.items[k].0, rows.values[k], rows.times[k]);
        Ok(((0..rows.len()).map(of).collect(), dropped))
    }

    #[test]
    fn one_row_of_each_user_and_item_is_left_by_the_rule() {
        // Ann plays item 0 four times, twice at time 5, and bob plays it as well; of item 1 there is one row.
        let rows =
            [(0, 0, 4.0, 5), (0, 0, 7.0, 2), (1, 0, 9.0, 5), (0, 0, -1.5, 5), (0, 1, 3.0, 1), (0, 0, 0.5, 3)];
        let bob = (0, 9.0, 5);
        for (rule, expected) in [
            (Duplicates::Last, vec![bob, (0, -1.5, 5), (1, 3.0, 1)]),
            (Duplicates::First, vec![(0, 7.0, 2), bob, (1, 3.0, 1)]),
            (Duplicates::Sum, vec![bob, (0, 10.0, 5), (1, 3.0, 1)]),
            (Duplicates::Mean, vec![bob, (0, 2.5, 5), (1, 3.0, 1)]),
            (Duplicates::Max, vec![bob, (0, 7.0, 5), (1, 3.0, 1)]),
        ] {
            assert_eq!(left(rule, &rows).unwrap(), (expected, 3), "{rule}");
        }
        assert_eq!(left(Duplicates::Sum, &rows[2..3]).unwrap(), (vec![bob], 0));
    }

    #[test]
    fn without_times_the_file_has_the_order() {
        let rows = [(0, 0, 1.0, 0), (0, 0, 5.0, 0), (0, 0, 2.0, 0)];
        assert_eq!(left(Duplicates::First, &rows).unwrap().0, [(0, 1.0, 0)]);
        assert_eq!(left(Duplicates::Last, &rows).unwrap().0, [(0, 2.0, 0)]);
    }

    #[test]
    fn a_sum_that_no_value_holds_is_an_error_and_its_mean_is_not() {
        let rows = [(1, 1, 3e38, 0), (1, 1, 3e38, 1)];
        let error = left(Duplicates::Sum, &rows).unwrap_err().to_string();
        let start = "duplicates: found sum, which is inf for user bob and item 20, expected";
        assert!(error.starts_with(start), "{error}");
        assert_eq!(left(Duplicates::Mean, &rows).unwrap().0, [(1, 3e38, 1)]);
    }

    #[test]
    fn every_rule_is_read_back_from_its_name() {
        for (rule, name, _) in RULES {
            assert_eq!(name.parse::<Duplicates>().unwrap(), rule);
            assert_eq!(serde_json::to_value(rule).unwrap(), name);
        }
        let error = "least".parse::<Duplicates>().unwrap_err().to_string();
        assert_eq!(error, "duplicates: found \"least\", expected last, first, sum, mean or max");
    }
}
