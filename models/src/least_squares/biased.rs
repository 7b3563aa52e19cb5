//! Factors with biases: `score = mean + b_u + b_i + p_u . q_i`.
//!
//! While one side is solved, a bias is one more element of its vectors, and 1 stands at its place in those of the other side
//! (Koren, Bell and Volinsky 2009, equation 4, as a least-squares problem): a row's vector and its bias are solved together.

use std::sync::{Arc, OnceLock};

use burnrec_data::{ItemIx, UserIx};

use super::kernels::{Panels, product_row_block};
use crate::drift::Drift;
use crate::scorer::{Factors, FoldIn, Scorer, Vectors};
use crate::simd::{Isa, Kernel, Simd, dot, vectorised};

/// The fixed side of a row's problem where factors have biases.
pub struct Design {
    /// `[rows, width]`: the vectors, with 1 in place of the bias.
    pub factors: Vec<f32>,
    /// `[rows]`: the biases, which are taken from the values.
    pub biases: Vec<f32>,
}

impl Design {
    /// Makes it of vectors with their bias as the last element, `[rows, width]`.
    pub fn new(fixed: &[f32], width: usize) -> Self {
        let biases = fixed.chunks_exact(width).map(|row| row[width - 1]).collect();
        let mut factors = fixed.to_vec();
        factors.chunks_exact_mut(width).for_each(|row| row[width - 1] = 1.0);
        Self { factors, biases }
    }

    /// Writes `values` less the biases of the rows `cols` to `out`.
    #[inline(always)]
    pub fn targets(&self, cols: &[u32], values: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend(cols.iter().zip(values).map(|(&col, &value)| value - self.biases[col as usize]));
    }
}

/// The factors of users or of items.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// `[rows, dim]`
    pub vectors: Arc<Vec<f32>>,
    /// `[rows]`; empty where the model has none.
    pub biases: Arc<Vec<f32>>,
}

impl From<Arc<Vec<f32>>> for Side {
    /// Takes vectors without biases, `[rows, dim]`.
    fn from(vectors: Arc<Vec<f32>>) -> Self {
        Self { vectors, biases: Arc::default() }
    }
}

impl Side {
    /// Takes vectors with their bias as the last element apart, `[rows, dim + 1]`.
    pub fn split(factors: &[f32], dim: usize) -> Self {
        let rows = || factors.chunks_exact(dim + 1);
        let vectors = rows().flat_map(|row| &row[..dim]).copied().collect();
        Self { vectors: Arc::new(vectors), biases: Arc::new(rows().map(|row| row[dim]).collect()) }
    }

    /// Puts vectors and biases together again, `[rows, dim + 1]`; without biases, these are the vectors, `[rows, dim]`.
    pub fn joined(&self, dim: usize) -> Arc<Vec<f32>> {
        if self.biases.is_empty() {
            return Arc::clone(&self.vectors);
        }
        let rows = self.vectors.chunks_exact(dim).zip(&*self.biases);
        Arc::new(rows.flat_map(|(vector, &bias)| vector.iter().copied().chain([bias])).collect())
    }

    /// Returns the vector of a row, `[dim]`.
    pub fn row(&self, row: usize, dim: usize) -> &[f32] {
        &self.vectors[row * dim..(row + 1) * dim]
    }
}

/// The items' factors, with the layout in which a catalogue is scored.
pub struct ItemSide {
    side: Side,
    /// Computed at the first call.
    panels: OnceLock<Panels>,
}

impl ItemSide {
    /// Takes the factors of items.
    pub fn new(side: Side) -> Self {
        Self { side, panels: OnceLock::new() }
    }

    /// Returns the factors.
    pub fn side(&self) -> &Side {
        &self.side
    }
}

/// Scores by dot products of factors, with biases where both sides have them.
#[derive(Clone)]
pub struct BiasedDots {
    /// Length of the vectors.
    pub dim: usize,
    /// The constant part of every score.
    pub mean: f32,
    /// The users' factors.
    pub users: Side,
    /// The items' factors.
    pub items: Arc<ItemSide>,
}

impl BiasedDots {
    /// Returns what all scores of a user have in common, where there are biases.
    fn constant(&self, user: UserIx) -> Option<f32> {
        self.users.biases.get(user.at()).map(|bias| self.mean + bias)
    }
}

/// A model that scores by [`BiasedDots`].
pub trait ScoresByDots: FoldIn + Send + Sync {
    /// Returns what it scores by.
    fn dots(&self) -> &BiasedDots;

    /// Returns what scores differ at other times, where they change over time.
    fn over_time(&self) -> Option<Arc<Drift>> {
        None
    }
}

impl<M: ScoresByDots> Scorer for M {
    fn n_users(&self) -> usize {
        let BiasedDots { users, dim, .. } = self.dots();
        users.vectors.len() / dim
    }

    fn n_items(&self) -> usize {
        let BiasedDots { items, dim, .. } = self.dots();
        items.side.vectors.len() / dim
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        let dots = self.dots();
        let side = &dots.items.side;
        vectorised(|| {
            for ((out, &user), &item) in out.iter_mut().zip(users).zip(items) {
                *out = dot(dots.users.row(user.at(), dots.dim), side.row(item.at(), dots.dim));
                if let Some(constant) = dots.constant(user) {
                    *out += constant + side.biases[item.at()];
                }
            }
        });
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let dots = self.dots();
        let ItemSide { side, panels } = &*dots.items;
        let panels = panels.get_or_init(|| Panels::new(&side.vectors, dots.dim));
        let left: Vec<&[f32]> = users.iter().map(|&user| dots.users.row(user.at(), dots.dim)).collect();
        Isa::best().run(Catalog { left: &left, panels, out });
        for (out, &user) in out.chunks_exact_mut(self.n_items().max(1)).zip(users) {
            if let Some(constant) = dots.constant(user) {
                out.iter_mut().zip(&*side.biases).for_each(|(out, bias)| *out += constant + bias);
            }
        }
    }

    fn as_fold_in(&self) -> Option<&dyn FoldIn> {
        Some(self)
    }

    fn item_vectors(&self) -> Option<Vectors<'_>> {
        let BiasedDots { items, dim, .. } = self.dots();
        Some(Vectors { values: &items.side.vectors, dim: *dim })
    }

    fn user_vectors(&self) -> Option<Vectors<'_>> {
        let BiasedDots { users, dim, .. } = self.dots();
        Some(Vectors { values: &users.vectors, dim: *dim })
    }

    fn factors(&self) -> Option<Factors> {
        let BiasedDots { dim, mean, users, items } = self.dots();
        let bias = !users.biases.is_empty();
        let ones = Arc::new(vec![1.0; users.biases.len()]);
        let constants = users.biases.iter().map(|bias| mean + bias).collect();
        let users = Side { vectors: Arc::clone(&users.vectors), biases: ones };
        let of = |side: &Side| side.joined(*dim).to_vec();
        let (users, items) = (of(&users), of(&items.side));
        Some(Factors { users, items, dim: dim + usize::from(bias), bias, constants })
    }

    fn drift(&self) -> Option<Arc<Drift>> {
        self.over_time()
    }
}

/// The dot products of a block of users, as a kernel to dispatch.
pub(super) struct Catalog<'a> {
    pub left: &'a [&'a [f32]],
    pub panels: &'a Panels,
    pub out: &'a mut [f32],
}

impl Kernel for Catalog<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        product_row_block(simd, self.left, self.panels, self.out);
    }
}
