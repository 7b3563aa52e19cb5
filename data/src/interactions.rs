//! The rating rows of a dataset as columns, and the dataset around them.

use rand::seq::SliceRandom;

use crate::csr::{Entry, counting_sort};
use crate::rng::stream;
use crate::{Csr, ItemIx, UserIx, Vocab};

/// Rating rows as columns of equal length; row `k` says that `users[k]` gave `items[k]` the value `values[k]`
/// at `times[k]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interactions {
    /// Indices of users, each below the number of users in the vocabulary.
    pub users: Vec<UserIx>,
    /// Indices of items, each below the number of items in the vocabulary.
    pub items: Vec<ItemIx>,
    /// Ratings, or weights of implicit feedback; finite.
    pub values: Vec<f32>,
    /// Unix seconds, or 0 where the file has no time.
    pub times: Vec<i64>,
}

impl Interactions {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Appends one row.
    pub fn push(&mut self, user: UserIx, item: ItemIx, value: f32, time: i64) {
        self.users.push(user);
        self.items.push(item);
        self.values.push(value);
        self.times.push(time);
    }

    /// Returns the rows with the numbers `rows`, in that order.
    pub fn select(&self, rows: &[u32]) -> Self {
        fn gather<T: Copy>(column: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| column[row as usize]).collect()
        }
        Self {
            users: gather(&self.users, rows),
            items: gather(&self.items, rows),
            values: gather(&self.values, rows),
            times: gather(&self.times, rows),
        }
    }

    /// Whether times tell rows apart: not all are equal, as those of a file without times are.
    pub fn have_times(&self) -> bool {
        self.times.iter().any(|time| *time != self.times[0])
    }

    /// Sorts the numbers of a user's rows by time. The order at equal times is drawn with `seed`, from the items and not
    /// from the order of the file: a third of the users of ml-1m have several rows at their last time.
    pub(crate) fn sort_by_time(&self, of_user: &mut [u32], user: UserIx, seed: u64) {
        of_user.sort_unstable_by_key(|&row| self.items[row as usize]);
        of_user.shuffle(&mut stream(seed, "split.ties", u64::from(user.0)));
        of_user.sort_by_key(|&row| self.times[row as usize]);
    }

    /// Returns the values as a matrix `[n_users, n_items]` whose rows have the order of the times; equal times stand in an
    /// order drawn with `seed`. Of a repeated pair, the newest row counts.
    pub fn to_histories(&self, n_users: usize, n_items: usize, seed: u64) -> Csr {
        let (starts, order) =
            counting_sort(n_users, self.len(), |row| self.users[row].at(), |row| row as u32);
        let entry = |&row: &u32| {
            let row = row as usize;
            Entry { col: self.items[row].0, value: self.values[row], time: Some(self.times[row]) }
        };
        let history = |user: u32| {
            let mut rows = order[starts[user as usize]..starts[user as usize + 1]].to_vec();
            self.sort_by_time(&mut rows, UserIx(user), seed);
            rows.iter().map(entry).collect()
        };
        Csr::from_histories(n_items, (0..n_users as u32).map(history))
    }

    /// Returns the values as a matrix `[n_users, n_items]`; of a repeated pair, the last row counts.
    pub fn to_csr(&self, n_users: usize, n_items: usize) -> Csr {
        Csr::from_rows(n_users, n_items, &self.users, &self.items, &self.values)
    }
}

/// Ratings with the ids of their users and items, and titles where there are any.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Its name, for example `ml-1m`.
    pub name: String,
    /// Whether the rows were drawn by `synth`.
    pub synthetic: bool,
    /// The rating rows.
    pub interactions: Interactions,
    /// The users' ids.
    pub users: Vocab,
    /// The items' ids.
    pub items: Vocab,
    /// The items' titles.
    pub titles: Option<Titles>,
}

/// One title per item, by row index; empty where the file has none for the item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Titles(pub Vec<String>);

impl Titles {
    /// Returns the title of an item, if there is one.
    pub fn get(&self, item: ItemIx) -> Option<&str> {
        self.0.get(item.at()).map(String::as_str).filter(|title| !title.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows (user, item, time), whose values are their numbers.
    fn rows(rows: &[(u32, u32, i64)]) -> Interactions {
        let mut out = Interactions::default();
        for (number, &(user, item, time)) in rows.iter().enumerate() {
            out.push(UserIx(user), ItemIx(item), number as f32, time);
        }
        out
    }

    fn items(matrix: &Csr, user: usize) -> Vec<u32> {
        matrix.history(user).iter().map(|entry| entry.col).collect()
    }

    #[test]
    fn histories_have_the_order_of_the_times() {
        let rows = rows(&[(1, 3, 7), (0, 2, 4), (1, 0, 5), (1, 2, 6), (1, 3, 4)]);
        let matrix = rows.to_histories(3, 4, 1);
        assert_eq!(
            (items(&matrix, 0), items(&matrix, 1), items(&matrix, 2)),
            (vec![2], vec![0, 2, 3], vec![])
        );
        let newest = Entry { col: 3, value: 0.0, time: Some(7) };
        assert_eq!(
            matrix.history(1)[2],
            newest,
            "of a repeated pair the newest counts, not the last of the file"
        );
        assert!(rows.have_times() && !rows.select(&[1, 4]).have_times());
    }

    #[test]
    fn equal_times_stand_in_a_drawn_order_of_neither_items_nor_file() {
        let ascending: Vec<(u32, u32, i64)> = (0..20).map(|item| (0, item, 5)).collect();
        let descending: Vec<(u32, u32, i64)> = ascending.iter().rev().copied().collect();
        let drawn = |of: &[(u32, u32, i64)], seed| items(&rows(of).to_histories(1, 20, seed), 0);
        let first = drawn(&ascending, 1);
        assert_eq!(first, drawn(&descending, 1), "the file's order does not matter");
        assert!(!first.is_sorted() && !first.iter().rev().is_sorted());
        assert_ne!(first, drawn(&ascending, 2));
    }
}
