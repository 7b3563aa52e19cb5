//! The tastes of a synthetic dataset, from which its rows are drawn.

use rand::distr::Distribution;
use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use rand_distr::weighted::WeightedAliasIndex;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::SynthConfig;
use crate::rng::stream;

/// The number of tastes.
pub(super) const N_TASTES: usize = 32;
/// The dimensions of the space in which they lie.
const DIM: usize = 8;
/// The standard deviation of items and of users around the centre of a taste; centres have length 1.
const ITEM_SPREAD: f32 = 0.2;
const USER_SPREAD: f32 = 0.15;
/// The inverse temperatures of a taste's softmax over items and of a user's over tastes.
const ITEM_FOCUS: f32 = 8.0;
const USER_FOCUS: f32 = 12.0;
/// The standard deviation of the logarithm of an item's popularity.
const POPULARITY_SPREAD: f32 = 1.5;

type Point = [f32; DIM];

/// Items in the space of tastes.
pub(super) struct World {
    centres: Vec<Point>,
    items: Vec<Point>,
    /// The taste that each item belongs to.
    pub(super) taste_of: Vec<u8>,
    /// How much better or worse than others each item is, in stars.
    pub(super) quality: Vec<f32>,
    /// `[tastes][items]`: with which probability a taste draws an item.
    shares: Vec<Vec<f32>>,
    tables: Vec<WeightedAliasIndex<f32>>,
}

/// A user in the space of tastes.
pub(super) struct Taste {
    point: Point,
    /// The share of each taste in the user's mixture.
    pub(super) mixture: [f32; N_TASTES],
}

impl World {
    /// Draws the items' tastes, popularity and quality.
    pub(super) fn new(config: &SynthConfig) -> Self {
        let mut rng = stream(config.seed, "synth.items", 0);
        let centres: Vec<Point> = (0..N_TASTES).map(|_| unit(normal_point(&mut rng))).collect();
        let n_items = config.n_items as usize;
        let mut world = Self {
            centres,
            items: Vec::with_capacity(n_items),
            taste_of: Vec::with_capacity(n_items),
            quality: Vec::with_capacity(n_items),
            shares: Vec::new(),
            tables: Vec::new(),
        };
        let mut popularity = Vec::with_capacity(n_items);
        for _ in 0..n_items {
            let taste = rng.random_range(0..N_TASTES);
            let point = near(&world.centres[taste], ITEM_SPREAD, &mut rng);
            let (fame, merit): (f32, f32) =
                (StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng));
            popularity.push(POPULARITY_SPREAD * fame);
            // Popular items are rated a little higher.
            world.quality.push(0.2 * fame + 0.35 * merit);
            world.items.push(point);
            world.taste_of.push(taste as u8);
        }
        world.shares =
            world.centres.par_iter().map(|centre| shares(centre, &world.items, &popularity)).collect();
        let table = |shares: &Vec<f32>| WeightedAliasIndex::new(shares.clone()).expect("shares are positive");
        world.tables = world.shares.par_iter().map(table).collect();
        world
    }

    /// Returns the number of items.
    pub(super) fn n_items(&self) -> usize {
        self.items.len()
    }

    /// Draws the taste of a user: one, two or three of the tastes.
    pub(super) fn user(&self, rng: &mut Pcg64) -> Taste {
        let mut point = [0.0; DIM];
        for weight in [1.0, 0.7, 0.4] {
            let centre = &self.centres[rng.random_range(0..N_TASTES)];
            let weight: f32 = weight * rng.random::<f32>().sqrt();
            point.iter_mut().zip(centre).for_each(|(sum, x)| *sum += weight * x);
        }
        let point = near(&unit(point), USER_SPREAD, rng);
        let mut mixture: [f32; N_TASTES] =
            std::array::from_fn(|taste| (USER_FOCUS * dot(&point, &self.centres[taste])).exp());
        let total: f32 = mixture.iter().sum();
        mixture.iter_mut().for_each(|share| *share /= total);
        Taste { point, mixture }
    }

    /// Draws one item of a taste.
    pub(super) fn draw(&self, taste: usize, rng: &mut impl Rng) -> u32 {
        self.tables[taste].sample(rng) as u32
    }

    /// Writes to `out` `[items]` the probability of each item in a user's mixture.
    pub(super) fn probabilities(&self, taste: &Taste, out: &mut [f32]) {
        out.fill(0.0);
        for (share, shares) in taste.mixture.iter().zip(&self.shares) {
            out.iter_mut().zip(shares).for_each(|(sum, p)| *sum += share * p);
        }
    }

    /// Returns the cosine between an item and a user's taste.
    pub(super) fn match_of(&self, taste: &Taste, item: u32) -> f32 {
        dot(&taste.point, &self.items[item as usize])
    }
}

/// Returns the probabilities with which a taste draws items: a softmax of nearness and popularity.
fn shares(centre: &Point, items: &[Point], popularity: &[f32]) -> Vec<f32> {
    let score = |(item, fame): (&Point, &f32)| (ITEM_FOCUS * dot(centre, item) + fame).exp();
    let mut shares: Vec<f32> = items.iter().zip(popularity).map(score).collect();
    let total: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= total);
    shares
}

fn normal_point(rng: &mut Pcg64) -> Point {
    std::array::from_fn(|_| StandardNormal.sample(rng))
}

/// Returns a point of length 1 in the neighbourhood of another.
fn near(centre: &Point, spread: f32, rng: &mut Pcg64) -> Point {
    let noise = normal_point(rng);
    unit(std::array::from_fn(|k| centre[k] + spread * noise[k]))
}

fn unit(point: Point) -> Point {
    let length = dot(&point, &point).sqrt().max(f32::MIN_POSITIVE);
    point.map(|x| x / length)
}

fn dot(a: &Point, b: &Point) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
