//! Filters rating rows: repeats, a least value of positives, and a k-core.

mod duplicates;

use serde::{Deserialize, Serialize};

pub use duplicates::Duplicates;
pub(crate) use duplicates::dedupe;

use crate::{Dataset, Error, Interactions, ItemIx, Result, Titles, UserIx, Vocab};

/// The filters to apply, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// What becomes of several rows of one user and item.
    pub duplicates: Duplicates,
    /// Makes ratings implicit: rows of at least this value are positives and have the value 1, the others are dropped.
    #[serde(alias = "threshold")]
    pub positive_from: Option<f32>,
    /// The minimum number of rows per user; it holds in the filtered data (k-core).
    pub min_user: u32,
    /// The minimum number of rows per item, as for users.
    pub min_item: u32,
}

/// The values of some rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueRange {
    /// The least value.
    pub least: f32,
    /// The greatest value.
    pub greatest: f32,
    /// How many values are below 0.
    pub negative: u64,
}

/// How many rows each filter dropped, and how many ids went with them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSummary {
    /// Rows before the filters.
    pub rows: u64,
    /// The values of these rows; none in data that was prepared by a version that did not look at them.
    #[serde(default)]
    pub values: Option<ValueRange>,
    /// Rows dropped because another row of the same user and item stays.
    pub repeated: u64,
    /// Rows dropped because their value is below the least value of a positive.
    #[serde(alias = "below_threshold")]
    pub not_positive: u64,
    /// Rows dropped because their user or item has too few.
    pub outside_core: u64,
    /// Users left without a row.
    pub users_dropped: u64,
    /// Items left without a row.
    pub items_dropped: u64,
}

impl FilterSummary {
    /// Returns the summary of rows before any filter.
    pub fn of(rows: &Interactions) -> Self {
        let values = rows.values.first().map(|&first| {
            let values = rows.values.iter().copied();
            ValueRange {
                least: values.clone().fold(first, f32::min),
                greatest: values.clone().fold(first, f32::max),
                negative: values.filter(|&value| value < 0.0).count() as u64,
            }
        });
        Self { rows: rows.len() as u64, values, ..Self::default() }
    }
}

/// Applies the filters. Users and items left without a row leave the vocabularies, and their titles go with them.
///
/// # Errors
/// When the least value of a positive is not finite, a sum of duplicates is too large, or fewer than two users are left.
pub fn apply(dataset: Dataset, filters: &Filters) -> Result<(Dataset, FilterSummary)> {
    if let Some(least) = filters.positive_from.filter(|least| !least.is_finite()) {
        return Err(Error::setting("positive_from", least.to_string(), "a finite rating"));
    }
    let (n_users, n_items) = (dataset.users.len(), dataset.items.len());
    let mut summary = FilterSummary::of(&dataset.interactions);
    let (mut rows, repeated) =
        dedupe(dataset.interactions, &dataset.users, &dataset.items, filters.duplicates)?;
    summary.repeated = repeated;
    if let Some(least) = filters.positive_from {
        let keep: Vec<bool> = rows.values.iter().map(|&value| value >= least).collect();
        summary.not_positive = retain(&mut rows, &keep);
        rows.values.fill(1.0);
    }
    if filters.min_user > 1 || filters.min_item > 1 {
        let keep = core(&rows, n_users, n_items, filters);
        summary.outside_core = retain(&mut rows, &keep);
    }
    let users = used(n_users, rows.users.iter().map(|user| user.at()));
    let items = used(n_items, rows.items.iter().map(|item| item.at()));
    summary.users_dropped = (n_users - users.len()) as u64;
    summary.items_dropped = (n_items - items.len()) as u64;
    if users.len() < 2 {
        let left = if users.is_empty() { "no user" } else { "one user only" };
        let found = format!("{left} in {} rows left of {} ({summary})", rows.len(), summary.rows);
        return Err(Error::setting(
            "filters",
            found,
            "at least 2 users; loosen the filters (positive_from, min_user, min_item)",
        ));
    }
    let dataset = compact(Dataset { interactions: rows, ..dataset }, &users, &items);
    Ok((dataset, summary))
}

/// Keeps the marked rows; returns how many were dropped.
pub(crate) fn retain(rows: &mut Interactions, keep: &[bool]) -> u64 {
    fn column<T>(column: &mut Vec<T>, keep: &[bool]) {
        let mut marks = keep.iter();
        column.retain(|_| *marks.next().expect("one mark per row"));
    }
    let before = rows.len();
    column(&mut rows.users, keep);
    column(&mut rows.items, keep);
    column(&mut rows.values, keep);
    column(&mut rows.times, keep);
    (before - rows.len()) as u64
}

/// Marks the rows of the k-core: the largest subset in which every user and item has enough rows.
fn core(rows: &Interactions, n_users: usize, n_items: usize, filters: &Filters) -> Vec<bool> {
    let mut keep = vec![true; rows.len()];
    let (mut per_user, mut per_item) = (vec![0u32; n_users], vec![0u32; n_items]);
    for (user, item) in rows.users.iter().zip(&rows.items) {
        per_user[user.at()] += 1;
        per_item[item.at()] += 1;
    }
    loop {
        let mut changed = false;
        for (k, keep) in keep.iter_mut().enumerate().filter(|(_, keep)| **keep) {
            let (user, item) = (rows.users[k].at(), rows.items[k].at());
            if per_user[user] < filters.min_user || per_item[item] < filters.min_item {
                per_user[user] -= 1;
                per_item[item] -= 1;
                (*keep, changed) = (false, true);
            }
        }
        if !changed {
            return keep;
        }
    }
}

/// Returns the indices below `n` that occur in `rows`, ascending.
fn used(n: usize, rows: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut occurs = vec![false; n];
    rows.for_each(|row| occurs[row] = true);
    (0..n as u32).filter(|&row| occurs[row as usize]).collect()
}

/// Returns the dataset with `users` and `items`, ascending, as its only ids.
fn compact(dataset: Dataset, users: &[u32], items: &[u32]) -> Dataset {
    fn select(vocab: Vocab, rows: &[u32]) -> Vocab {
        if rows.len() == vocab.len() { vocab } else { vocab.select(rows) }
    }
    fn new_rows(n: usize, rows: &[u32]) -> Vec<u32> {
        let mut new = vec![0; n];
        rows.iter().enumerate().for_each(|(new_row, &row)| new[row as usize] = new_row as u32);
        new
    }
    let (new_user, new_item) = (new_rows(dataset.users.len(), users), new_rows(dataset.items.len(), items));
    let mut interactions = dataset.interactions;
    interactions.users.iter_mut().for_each(|user| *user = UserIx(new_user[user.at()]));
    interactions.items.iter_mut().for_each(|item| *item = ItemIx(new_item[item.at()]));
    let titles = dataset.titles.map(|titles| {
        let title = |&row| titles.get(ItemIx(row)).unwrap_or_default().to_owned();
        Titles(items.iter().map(title).collect())
    });
    Dataset {
        users: select(dataset.users, users),
        items: select(dataset.items, items),
        interactions,
        titles,
        ..dataset
    }
}

impl std::fmt::Display for FilterSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "dropped {} repeated, {} below the least positive value, {} of users or items with too few rows",
            self.repeated, self.not_positive, self.outside_core
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a dataset of rows (user, item, value, time).
    fn dataset(rows: &[(u32, u32, f32, i64)]) -> Dataset {
        let mut interactions = Interactions::default();
        rows.iter().for_each(|&(user, item, value, time)| {
            interactions.push(UserIx(user), ItemIx(item), value, time);
        });
        let n_users = rows.iter().map(|row| row.0 + 1).max().unwrap_or(0) as i64;
        let n_items = rows.iter().map(|row| row.1 + 1).max().unwrap_or(0) as i64;
        Dataset {
            name: "planted".into(),
            synthetic: false,
            interactions,
            users: Vocab::from_ints((0..n_users).map(|id| id + 100).collect()),
            items: Vocab::from_ints((0..n_items).map(|id| id + 200).collect()),
            titles: Some(Titles((0..n_items).map(|id| format!("title {id}")).collect())),
        }
    }

    #[test]
    fn repeats_are_joined_before_positives_are_told() {
        let rows = [(0, 0, 3.0, 1), (0, 0, 2.0, 3), (1, 1, -3.0, 5), (1, 1, 7.0, 5), (1, 0, 5.0, 5)];
        let with = |duplicates, positive_from| {
            let filters = Filters { duplicates, positive_from, ..Filters::default() };
            let (left, summary) = apply(dataset(&rows), &filters).unwrap();
            (left.interactions.values, summary.repeated, summary.not_positive)
        };
        assert_eq!(with(Duplicates::Last, None), (vec![2.0, 7.0, 5.0], 2, 0));
        assert_eq!(with(Duplicates::Sum, None), (vec![5.0, 4.0, 5.0], 2, 0));
        assert_eq!(with(Duplicates::Sum, Some(5.0)), (vec![1.0, 1.0], 2, 1));
        let (_, summary) = apply(dataset(&rows), &Filters::default()).unwrap();
        assert_eq!(summary.values, Some(ValueRange { least: -3.0, greatest: 7.0, negative: 1 }));
    }

    #[test]
    fn positives_are_ones_and_ids_without_rows_leave() {
        let rows = [(0, 0, 4.0, 0), (1, 1, 3.5, 0), (2, 2, 5.0, 0), (2, 1, 1.0, 0)];
        let filters = Filters { positive_from: Some(4.0), ..Filters::default() };
        let (left, summary) = apply(dataset(&rows), &filters).unwrap();
        assert_eq!(left.interactions.values, [1.0, 1.0]);
        assert_eq!(left.users, Vocab::Int(vec![100, 102]));
        assert_eq!(left.items, Vocab::Int(vec![200, 202]));
        assert_eq!(left.titles.unwrap().0, ["title 0", "title 2"]);
        assert_eq!(left.interactions.items, [ItemIx(0), ItemIx(1)]);
        assert_eq!((summary.not_positive, summary.users_dropped, summary.items_dropped), (2, 1, 1));
    }

    #[test]
    fn the_core_is_iterated_until_all_have_enough() {
        // Item 3 has one row; without it user 2 has one row, and without that item 2 has one.
        let rows = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2), (2, 3)];
        let rows = rows.map(|(user, item)| (user, item, 1.0, 0));
        let filters = Filters { min_user: 2, min_item: 2, ..Filters::default() };
        let (left, summary) = apply(dataset(&rows), &filters).unwrap();
        assert_eq!((left.users.len(), left.items.len(), left.interactions.len()), (2, 2, 4));
        assert_eq!((summary.outside_core, summary.users_dropped, summary.items_dropped), (3, 1, 2));
    }

    #[test]
    fn nothing_left_and_one_user_are_errors_that_say_why() {
        let rows = [(0, 0, 3.0, 0), (1, 0, 5.0, 0)];
        let message = |least| {
            let filters = Filters { positive_from: Some(least), ..Filters::default() };
            apply(dataset(&rows), &filters).unwrap_err().to_string()
        };
        assert!(message(6.0).contains("no user in 0 rows left of 2"), "{}", message(6.0));
        assert!(message(4.0).contains("one user only in 1 rows left of 2"), "{}", message(4.0));
        assert!(message(f32::NAN).contains("positive_from: found NaN"), "{}", message(f32::NAN));
        assert!(apply(dataset(&[]), &Filters::default()).is_err());
    }
}
