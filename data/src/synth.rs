//! Synthetic ratings: seeded data with the distributions of real ratings, for tests, demos and measurements. Datasets
//! drawn here are marked as synthetic, and so is everything computed from them.
//!
//! Users and items belong to a few dozen tastes, which are points in a space of few dimensions. A user's rows are
//! drawn without repeats from a mixture of the tastes, where each taste has its own long-tailed popularity of items;
//! a rating adds up how well the item matches the user's taste, the biases of both, and noise.

mod activity;
mod files;
mod rows;
mod titles;
mod world;

pub use files::{SYNTHETIC_MARK, synthetic_name, write_movielens};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rng::stream;
use crate::{Dataset, Error, Interactions, ItemIx, Result, UserIx, Vocab};
use rand::RngExt;
use rows::UserRows;
use world::World;

/// The sizes of the data to draw, and the seed; the same setting gives the same rows on any number of threads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthConfig {
    /// What the dataset is called; starts with `synth`.
    pub name: String,
    /// The number of users.
    pub n_users: u32,
    /// The number of items; each gets at least one row.
    pub n_items: u32,
    /// The number of rows; no two have the same user and item.
    pub n_rows: u32,
    /// The minimum number of rows per user.
    pub min_user_rows: u32,
    /// The seed of all draws.
    pub seed: u64,
}

impl SynthConfig {
    /// Returns a setting of given sizes, with at least 20 rows a user, as MovieLens has, or fewer where 20 are too
    /// many.
    pub fn new(n_users: u32, n_items: u32, n_rows: u32, seed: u64) -> Self {
        let min_user_rows = (n_rows / n_users.max(1) / 2).clamp(1, 20);
        Self { name: format!("synth-{n_users}x{n_items}"), n_users, n_items, n_rows, min_user_rows, seed }
    }

    /// Returns a setting with the sizes of a MovieLens dataset, and seed 0.
    ///
    /// # Errors
    /// When the name is not `ml-100k`, `ml-1m` or `ml-20m`.
    pub fn like(name: &str) -> Result<Self> {
        let (n_users, n_items, n_rows) = match name {
            "ml-100k" => (943, 1682, 100_000),
            "ml-1m" => (6040, 3706, 1_000_209),
            "ml-20m" => (138_493, 26_744, 20_000_263),
            _ => return Err(Error::setting("like", format!("{name:?}"), "ml-100k, ml-1m or ml-20m")),
        };
        Ok(Self {
            name: format!("synth-{name}"),
            min_user_rows: 20,
            ..Self::new(n_users, n_items, n_rows, 0)
        })
    }

    fn check(&self) -> Result<()> {
        let Self { n_users, n_items, n_rows, min_user_rows, .. } = *self;
        let fail = |found: String, expected: String| Err(Error::setting("synth", found, expected));
        if n_users < 2 || n_items < 2 {
            return fail(format!("{n_users} users and {n_items} items"), "at least 2 of each".into());
        }
        let rows = u64::from(n_rows);
        let least = (u64::from(n_users) * u64::from(min_user_rows)).max(u64::from(n_items));
        // With more rows nearly every pair has one, and popularity has no long tail.
        let most = u64::from(n_users) * u64::from(most_rows_of_a_user(n_items));
        if rows < least || rows > most || min_user_rows == 0 {
            let found = format!("{rows} rows for {n_users} users and {n_items} items");
            return fail(found, format!("between {least} and {most}, and min_user_rows of at least 1"));
        }
        Ok(())
    }
}

/// Returns the maximum number of rows per user: three quarters of the items.
fn most_rows_of_a_user(n_items: u32) -> u32 {
    n_items - n_items / 4
}

/// Draws a dataset: rows user after user in the order of time, ids from 1, a title for each item.
///
/// # Errors
/// When the sizes do not fit each other.
pub fn synth(config: &SynthConfig) -> Result<Dataset> {
    config.check()?;
    let world = World::new(config);
    let n_rows = config.n_rows as usize;
    let mut interactions = Interactions {
        users: vec![UserIx(0); n_rows],
        items: vec![ItemIx(0); n_rows],
        values: vec![0.0; n_rows],
        times: vec![0; n_rows],
    };
    let mut work = Vec::with_capacity(config.n_users as usize);
    let Interactions { users, items, values, times } = &mut interactions;
    let mut rest = (&mut users[..], &mut items[..], &mut values[..], &mut times[..]);
    for (user, n) in (0..).zip(activity::rows_per_user(config)) {
        let (users, items, values, times);
        (users, rest.0) = rest.0.split_at_mut(n as usize);
        (items, rest.1) = rest.1.split_at_mut(n as usize);
        (values, rest.2) = rest.2.split_at_mut(n as usize);
        (times, rest.3) = rest.3.split_at_mut(n as usize);
        users.fill(UserIx(user));
        work.push(UserRows { user, items, values, times });
    }
    work.into_par_iter().for_each_init(
        || rows::Scratch::new(config.n_items),
        |scratch, rows| {
            rows.draw(&world, config.seed, scratch);
        },
    );
    give_every_item_a_row(&mut interactions.items, config);
    Ok(Dataset {
        name: config.name.clone(),
        synthetic: true,
        interactions,
        users: Vocab::Int((1..=i64::from(config.n_users)).collect()),
        items: Vocab::Int((1..=i64::from(config.n_items)).collect()),
        titles: Some(titles::titles(&world, config.seed)),
    })
}

/// Gives each item without a row the row of an item with several; no pair repeats.
fn give_every_item_a_row(items: &mut [ItemIx], config: &SynthConfig) {
    let mut counts = vec![0u32; config.n_items as usize];
    items.iter().for_each(|item| counts[item.at()] += 1);
    for item in (0..config.n_items).map(ItemIx) {
        if counts[item.at()] > 0 {
            continue;
        }
        let mut row = stream(config.seed, "synth.lone_item", item.0.into()).random_range(0..items.len());
        // There are at least as many rows as items, so some item has two while this one has none.
        while counts[items[row].at()] < 2 {
            row = (row + 1) % items.len();
        }
        counts[items[row].at()] -= 1;
        counts[item.at()] = 1;
        items[row] = item;
    }
}

#[cfg(test)]
mod tests;
