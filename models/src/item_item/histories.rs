//! Scores histories by an item-item matrix that lie elsewhere, such as in arrays of numpy.

use burnrec_data::{Csr, ItemIx, UserIx};

use super::ItemMatrix;
use crate::scorer::Scorer;

/// Scores each row of `histories`, `[n_users, n_items]`, by the values there times the rows of `matrix`.
pub struct Histories<'a> {
    /// The item-item matrix.
    pub matrix: &'a ItemMatrix,
    /// The items of each user, with what they weigh.
    pub histories: &'a Csr,
}

impl Scorer for Histories<'_> {
    fn n_users(&self) -> usize {
        self.histories.n_rows()
    }

    fn n_items(&self) -> usize {
        self.matrix.n_items()
    }

    fn score_pairs(&self, users: &[UserIx], items: &[ItemIx], out: &mut [f32]) {
        for ((user, item), out) in users.iter().zip(items).zip(out.chunks_mut(1)) {
            self.matrix.score_some(self.histories.row(user.at()), &[*item], out);
        }
    }

    fn score_catalog(&self, users: &[UserIx], out: &mut [f32]) {
        let histories: Vec<_> = users.iter().map(|user| self.histories.row(user.at())).collect();
        self.matrix.score_all(&histories, out);
    }
}
