//! Draws the rows of one user: items, ratings and times.

use rand::distr::Distribution;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Exp1, StandardNormal};

use super::world::{N_TASTES, Taste, World};
use crate::ItemIx;
use crate::rng::stream;

/// The earliest time at which a user may join, 2000-01-01, and how long after it users join and rate.
const FIRST_TIME: i64 = 946_684_800;
const SPAN_SECONDS: f64 = 3.0 * 365.25 * 86_400.0;
/// The mean number of rows in a session, and the mean number of seconds between two rows.
const SESSION_ROWS: usize = 30;
const GAP_SECONDS: f32 = 15.0;

/// Slices of the output for the rows of one user.
pub(super) struct UserRows<'a> {
    pub(super) user: u32,
    pub(super) items: &'a mut [ItemIx],
    pub(super) values: &'a mut [f32],
    pub(super) times: &'a mut [i64],
}

/// Scratch memory of a thread.
pub(super) struct Scratch {
    seen: Vec<bool>,
    shares: Vec<f32>,
    keys: Vec<(f32, u32)>,
    sessions: Vec<f64>,
}

impl Scratch {
    pub(super) fn new(n_items: u32) -> Self {
        let n_items = n_items as usize;
        Self {
            seen: vec![false; n_items],
            shares: vec![0.0; n_items],
            keys: Vec::new(),
            sessions: Vec::new(),
        }
    }
}

/// Returns the generator of a user's rows; its first draw is the user's taste.
pub(super) fn user_rng(seed: u64, user: u32) -> rand_pcg::Pcg64 {
    stream(seed, "synth.user", u64::from(user))
}

impl UserRows<'_> {
    /// Draws all rows.
    pub(super) fn draw(self, world: &World, seed: u64, scratch: &mut Scratch) {
        let mut rng = user_rng(seed, self.user);
        let taste = world.user(&mut rng);
        draw_items(self.items, world, &taste, &mut rng, scratch);
        // Without this the first rows of each user would be the most popular ones.
        self.items.shuffle(&mut rng);
        let bias: f32 = 0.35 * normal(&mut rng);
        for (value, item) in self.values.iter_mut().zip(&*self.items) {
            let liking = 1.3 * (world.match_of(&taste, item.0) - 0.5) + world.quality[item.at()];
            *value = (3.55 + bias + liking + 0.8 * normal(&mut rng)).round().clamp(1.0, 5.0);
        }
        draw_times(self.times, &mut rng, scratch);
    }
}

/// Fills `items` with different items, as if each were drawn from the user's mixture among those left.
fn draw_items(items: &mut [ItemIx], world: &World, taste: &Taste, rng: &mut impl Rng, scratch: &mut Scratch) {
    let mut n_drawn = 0;
    // Rejecting repeats is cheap while few items are drawn; else `race` weighs all of them at once.
    if items.len() * 8 <= world.n_items() {
        let mut upto = taste.mixture;
        (1..N_TASTES).for_each(|k| upto[k] += upto[k - 1]);
        let mut tries = 50 * items.len();
        while n_drawn < items.len() && tries > 0 {
            tries -= 1;
            let place = rng.random::<f32>() * upto[N_TASTES - 1];
            let k = upto.iter().filter(|&&end| end <= place).count().min(N_TASTES - 1);
            let item = world.draw(k, rng);
            if !std::mem::replace(&mut scratch.seen[item as usize], true) {
                items[n_drawn] = ItemIx(item);
                n_drawn += 1;
            }
        }
    }
    let (drawn, left) = items.split_at_mut(n_drawn);
    if !left.is_empty() {
        race(left, world, taste, rng, scratch);
    }
    drawn.iter().chain(&*left).for_each(|item| scratch.seen[item.at()] = false);
}

/// Draws exactly and without repeats: each item gets an exponential arrival time, and the earliest ones are taken
/// (Efraimidis and Spirakis 2006).
fn race(items: &mut [ItemIx], world: &World, taste: &Taste, rng: &mut impl Rng, scratch: &mut Scratch) {
    let Scratch { seen, shares, keys, .. } = scratch;
    world.probabilities(taste, shares);
    keys.clear();
    for (item, (share, seen)) in (0..).zip(shares.iter().zip(&*seen)) {
        let arrival: f32 = Exp1.sample(rng);
        if !seen {
            keys.push((arrival / share, item));
        }
    }
    let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    keys.select_nth_unstable_by(items.len() - 1, order);
    keys.truncate(items.len());
    // The selection leaves the earliest items in no defined order.
    keys.sort_unstable_by(order);
    items.iter_mut().zip(keys).for_each(|(item, key)| *item = ItemIx(key.1));
}

/// Fills `times` with ascending seconds, in sessions between joining and the end of the span.
fn draw_times(times: &mut [i64], rng: &mut impl Rng, scratch: &mut Scratch) {
    let sessions = &mut scratch.sessions;
    let joined = rng.random::<f64>();
    sessions.clear();
    sessions.push(joined);
    sessions.extend((0..times.len() / SESSION_ROWS).map(|_| joined + (1.0 - joined) * rng.random::<f64>()));
    sessions.sort_unstable_by(f64::total_cmp);
    let per_session = times.len().div_ceil(sessions.len());
    let mut previous = i64::MIN;
    for (rows, start) in times.chunks_mut(per_session).zip(&*sessions) {
        let mut time = FIRST_TIME + (start * SPAN_SECONDS) as i64;
        for row in rows {
            let gap: f32 = Exp1.sample(rng);
            time = time.max(previous) + 1 + (GAP_SECONDS * gap) as i64;
            (*row, previous) = (time, time);
        }
    }
}

fn normal(rng: &mut impl Rng) -> f32 {
    StandardNormal.sample(rng)
}
