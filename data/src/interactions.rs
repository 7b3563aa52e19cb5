//! The rating rows of a dataset as columns, and the dataset around them.

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
