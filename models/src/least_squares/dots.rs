//! Scores by dot products of vectors that lie elsewhere, such as in arrays of numpy.

use burnrec_data::{ItemIx, UserIx};

use super::biased::Catalog;
use super::kernels::Panels;
use crate::scorer::{Scorer, Vectors};
use crate::simd::{Isa, dot, vectorised};

/// The fewest users for whom the items' vectors are laid out anew: to lay them out costs as much as to score a few users.
const FEW: usize = 8;

/// Scores by dot products, with the vectors of both sides where they lie.
pub struct Dots<'a> {
    users: Vectors<'a>,
    items: Vectors<'a>,
    panels: Option<Panels>,
    /// `[n_items]`: what each score is multiplied by.
    factors: Option<Vec<f32>>,
}

impl<'a> Dots<'a> {
    /// Scores users by their vectors, `[n_users, dim]`, and those of the items, `[n_items, dim]`.
    ///
    /// # Panics
    /// When the vectors of users and items are of two lengths.
    pub fn new(users: Vectors<'a>, items: Vectors<'a>) -> Self {
        assert_eq!(users.dim, items.dim, "vectors of one length");
        let many = users.values.len() >= FEW * users.dim;
        let panels = many.then(|| Panels::new(items.values, items.dim));
        Self { users, items, panels, factors: None }
    }

    /// Multiplies the scores of each item by its factor, `[n_items]`: by 1 over the length of its vector, for cosines.
    ///
    /// # Panics
    /// When there is not one for each item.
    pub fn scaled(self, factors: Vec<f32>) -> Self {
        assert_eq!(factors.len(), self.n_items(), "a factor for each item");
        Self { factors: Some(factors), ..self }
    }
}

impl Scorer for Dots<'_> {
    fn n_users(&self) -> usize {
        self.users.values.len() / self.users.dim
    }

    fn n_items(&self) -> usize {
        self.items.values.len() / self.items.dim
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((out, user), item) in out.iter_mut().zip(users).zip(items) {
            *out = dot(self.users.row(user.at()), self.items.row(item.at()));
            *out *= self.factors.as_ref().map_or(1.0, |factors| factors[item.at()]);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let rows: Vec<&[f32]> = users.iter().map(|user| self.users.row(user.at())).collect();
        match &self.panels {
            Some(panels) => Isa::best().run(Catalog { left: &rows, panels, out }),
            None => vectorised(|| {
                for (user, out) in rows.iter().zip(out.chunks_exact_mut(self.n_items().max(1))) {
                    let items = self.items.values.chunks_exact(self.items.dim);
                    out.iter_mut().zip(items).for_each(|(out, item)| *out = dot(user, item));
                }
            }),
        }
        if let Some(factors) = &self.factors {
            for out in out.chunks_exact_mut(factors.len().max(1)) {
                out.iter_mut().zip(factors).for_each(|(out, factor)| *out *= factor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_users_score_as_many_do() {
        let value = |at: usize| (at * 37 % 19) as f32 / 4.0 - 2.0;
        let values = |n: usize| (0..n).map(value).collect::<Vec<f32>>();
        let (dim, n_items) = (5, 21);
        let (users, items) = (values(dim * 40), values(dim * n_items + 3));
        let items = Vectors { values: &items[3..], dim };
        let factors: Vec<f32> = (0..n_items).map(|item| 1.0 + item as f32).collect();
        let (mut many, mut few) = (vec![0.0; 40 * n_items], vec![0.0; n_items]);
        let all: Vec<UserIx> = (0..40).map(UserIx).collect();
        let of_all = Dots::new(Vectors { values: &users, dim }, items).scaled(factors.clone());
        of_all.score_catalog(&all, &mut many);
        for (user, many) in many.chunks_exact(n_items).enumerate() {
            let one = Vectors { values: &users[user * dim..(user + 1) * dim], dim };
            Dots::new(one, items).scaled(factors.clone()).score_catalog(&[UserIx(0)], &mut few);
            for (item, (few, many)) in few.iter().zip(many).enumerate() {
                let (a, b) = (&users[user * dim..][..dim], items.row(item));
                let expected = a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() * factors[item];
                assert!(
                    (few - expected).abs() < 1e-3 && (many - expected).abs() < 1e-3,
                    "{few} {many} {expected}"
                );
                let mut pair = [0.0];
                of_all.score_pairs(&[all[user]], &[ItemIx(item as u32)], &mut pair);
                assert!((pair[0] - expected).abs() < 1e-3);
            }
        }
    }
}
