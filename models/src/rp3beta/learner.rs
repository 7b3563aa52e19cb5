//! Computing the last two steps of the walk for all items: from an item to its users, and on to their items.

use burnrec_data::Csr;

use super::Rp3betaConfig;
use crate::Result;
use crate::item_item::{ClosedForm, ItemMatrix, Itself, NeighboursOf, nearest, ones};
use crate::progress::Progress;

impl ClosedForm for Rp3betaConfig {
    fn solve(&self, train: &Csr, progress: &dyn Progress) -> Result<ItemMatrix> {
        let users = ones(train);
        let mut n_users = vec![0.0; train.n_cols()];
        users.cols().iter().for_each(|&item| n_users[item as usize] += 1.0);
        // The walk through a user has the factor n_u^-alpha, one half of it from either item.
        let half: Vec<f32> =
            (0..users.n_rows()).map(|user| power(users.row(user).0.len() as f64, self.alpha / 2.0)).collect();
        let rows = users.map_values(|user, _, _| half[user]);
        let to_item: Vec<f32> = n_users.iter().map(|&n| power(n, self.beta)).collect();
        let from_item: Vec<f32> = n_users.iter().map(|&n| power(n, self.alpha)).collect();
        let greatest = |factors: &[f32]| nearest(&rows, factors, self.k, Itself::LeftOut, progress);
        let weights = match self.neighbours_of {
            NeighboursOf::History => greatest(&to_item)?.map_values(|from, _, value| value * from_item[from]),
            NeighboursOf::Target => {
                let sources = greatest(&from_item)?.transpose();
                sources.map_values(|_, to, value| value * to_item[to as usize])
            }
        };
        Ok(ItemMatrix::Sparse(if self.normalised { normalised(&weights) } else { weights }))
    }
}

/// Returns the matrix with rows of the sum 1; rows without entries stay.
fn normalised(weights: &Csr) -> Csr {
    let sum = |row: usize| weights.row(row).1.iter().map(|&weight| f64::from(weight)).sum::<f64>();
    let sums: Vec<f64> = (0..weights.n_rows()).map(sum).collect();
    weights.map_values(|row, _, weight| (f64::from(weight) / sums[row]) as f32)
}

/// Returns `n^-power`, and 0 for what nobody has.
fn power(n: f64, power: f32) -> f32 {
    if n > 0.0 { n.powf(-f64::from(power)) as f32 } else { 0.0 }
}
