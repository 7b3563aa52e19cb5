//! Filters rating rows: repeats, a rating threshold, and a k-core.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::csr::counting_sort;
use crate::{Dataset, Error, Interactions, ItemIx, Result, Titles, UserIx, Vocab};

/// The filters to apply, in the order of the fields. Before them repeated rows are dropped: of the rows of one user
/// and item only the last by time stays, and at equal times the last in the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Makes ratings implicit: values of at least this value become 1, the others are dropped.
    pub threshold: Option<f32>,
    /// The minimum number of rows per user; it holds in the filtered data (k-core).
    pub min_user: u32,
    /// The minimum number of rows per item, as for users.
    pub min_item: u32,
}

/// How many rows each filter dropped, and how many ids went with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSummary {
    /// Rows before the filters.
    pub rows: u64,
    /// Rows dropped because a later row has the same user and item.
    pub repeated: u64,
    /// Rows dropped because their value is below the threshold.
    pub below_threshold: u64,
    /// Rows dropped because their user or item has too few.
    pub outside_core: u64,
    /// Users left without a row.
    pub users_dropped: u64,
    /// Items left without a row.
    pub items_dropped: u64,
}

/// Applies the filters. Users and items left without a row leave the vocabularies, and their titles go with them.
///
/// # Errors
/// When the threshold is not finite, or when fewer than two users are left.
pub fn apply(dataset: Dataset, filters: &Filters) -> Result<(Dataset, FilterSummary)> {
    if let Some(threshold) = filters.threshold.filter(|threshold| !threshold.is_finite()) {
        return Err(Error::setting("threshold", threshold.to_string(), "a finite rating"));
    }
    let (n_users, n_items) = (dataset.users.len(), dataset.items.len());
    let mut summary = FilterSummary { rows: dataset.interactions.len() as u64, ..FilterSummary::default() };
    let (mut rows, repeated) = dedupe(dataset.interactions, n_users);
    summary.repeated = repeated;
    if let Some(threshold) = filters.threshold {
        let keep: Vec<bool> = rows.values.iter().map(|&value| value >= threshold).collect();
        summary.below_threshold = retain(&mut rows, &keep);
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
            "at least 2 users; loosen the filters (threshold, min_user, min_item)",
        ));
    }
    let dataset = compact(Dataset { interactions: rows, ..dataset }, &users, &items);
    Ok((dataset, summary))
}

/// Drops all but the last row, by time and then by position, of each user and item; the others keep their order.
/// Returns the rows left, and how many were dropped.
pub fn dedupe(mut rows: Interactions, n_users: usize) -> (Interactions, u64) {
    let (starts, order) = counting_sort(n_users, rows.len(), |k| rows.users[k].at(), |k| k as u32);
    let repeats: Vec<u32> = (0..n_users)
        .into_par_iter()
        .flat_map_iter(|user| {
            let mut of_user = order[starts[user]..starts[user + 1]].to_vec();
            of_user.sort_unstable_by_key(|&k| (rows.items[k as usize], rows.times[k as usize], k));
            let same = |pair: &&[u32]| rows.items[pair[0] as usize] == rows.items[pair[1] as usize];
            of_user.windows(2).filter(same).map(|pair| pair[0]).collect::<Vec<u32>>()
        })
        .collect();
    if repeats.is_empty() {
        return (rows, 0);
    }
    let mut keep = vec![true; rows.len()];
    repeats.iter().for_each(|&k| keep[k as usize] = false);
    let dropped = retain(&mut rows, &keep);
    (rows, dropped)
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
            "dropped {} repeated, {} below the threshold, {} of users or items with too few rows",
            self.repeated, self.below_threshold, self.outside_core
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
    fn of_repeats_the_last_by_time_then_by_place_stays() {
        let rows = [(0, 0, 1.0, 9), (0, 0, 2.0, 3), (1, 1, 3.0, 5), (1, 1, 4.0, 5), (1, 0, 5.0, 5)];
        let (left, summary) = apply(dataset(&rows), &Filters::default()).unwrap();
        assert_eq!(left.interactions.values, [1.0, 4.0, 5.0]);
        assert_eq!((summary.rows, summary.repeated), (5, 2));
    }

    #[test]
    fn the_threshold_makes_ones_and_ids_without_rows_leave() {
        let rows = [(0, 0, 4.0, 0), (1, 1, 3.5, 0), (2, 2, 5.0, 0), (2, 1, 1.0, 0)];
        let filters = Filters { threshold: Some(4.0), ..Filters::default() };
        let (left, summary) = apply(dataset(&rows), &filters).unwrap();
        assert_eq!(left.interactions.values, [1.0, 1.0]);
        assert_eq!(left.users, Vocab::Int(vec![100, 102]));
        assert_eq!(left.items, Vocab::Int(vec![200, 202]));
        assert_eq!(left.titles.unwrap().0, ["title 0", "title 2"]);
        assert_eq!(left.interactions.items, [ItemIx(0), ItemIx(1)]);
        assert_eq!((summary.below_threshold, summary.users_dropped, summary.items_dropped), (2, 1, 1));
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
        let message = |threshold| {
            let filters = Filters { threshold: Some(threshold), ..Filters::default() };
            apply(dataset(&rows), &filters).unwrap_err().to_string()
        };
        assert!(message(6.0).contains("no user in 0 rows left of 2"), "{}", message(6.0));
        assert!(message(4.0).contains("one user only in 1 rows left of 2"), "{}", message(4.0));
        assert!(message(f32::NAN).contains("threshold: found NaN"), "{}", message(f32::NAN));
        assert!(apply(dataset(&[]), &Filters::default()).is_err());
    }
}
