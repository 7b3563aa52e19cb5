//! Computing EASE's matrix: the sparse product X'X, its inverse in f64, and the weights from it.

use burnrec_data::Csr;

use super::EaseConfig;
use crate::free_memory::{free_memory_bytes, told};
use crate::item_item::{ClosedForm, ItemMatrix, SymmetricTiles, add_common_users, ones};
use crate::progress::Progress;
use crate::{Error, Result};

impl ClosedForm for EaseConfig {
    fn check_memory(&self, train: &Csr) -> Result<()> {
        fits(train.n_cols(), free_memory_bytes())
    }

    fn solve(&self, train: &Csr, progress: &dyn Progress) -> Result<ItemMatrix> {
        let rows = ones(train);
        let columns = rows.transpose();
        let gram = |item: usize, out: &mut [f64]| {
            add_common_users(&rows, &columns, item, out);
            out[item] += f64::from(self.reg);
        };
        let n_items = train.n_cols();
        let mut inverse = SymmetricTiles::new(n_items, gram, progress)?;
        if !inverse.invert(progress)? {
            return Err(Error::config("reg", self.reg, "a larger one: X'X + reg I has no inverse in f64"));
        }
        // Both signs are those of -P.
        let diagonal = inverse.diagonal();
        let weight = |row: usize, column: usize, value: f64| match row == column {
            true => 0.0,
            false => (-value / diagonal[column]) as f32,
        };
        Ok(ItemMatrix::Dense { n_items, weights: inverse.to_dense(weight) })
    }
}

/// Refuses a catalogue whose matrices do not fit the free memory.
fn fits(n_items: usize, free: Option<u64>) -> Result<()> {
    let weights = (n_items as u64).saturating_mul(n_items as u64).saturating_mul(size_of::<f32>() as u64);
    let inverse = SymmetricTiles::bytes(n_items);
    let needed = weights.saturating_add(inverse);
    match free {
        Some(free) if needed > free => {
            let expected = format!(
                "{} for {n_items} items: {} for X'X and its inverse, {} for the weights; prepare the data with fewer \
                 items (--min-item), or train a model that keeps the nearest items alone",
                told(needed),
                told(inverse),
                told(weights)
            );
            Err(Error::config("memory", format!("{} free", told(free)), expected))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_its_parts() {
        let error = fits(20_000, Some(2 << 30)).expect_err("3 GB into 2").to_string();
        assert!(
            error.starts_with("memory: found 2.0 GB free, expected 3.0 GB for 20000 items: 1.6 GB"),
            "{error}"
        );
        assert!(fits(20_000, Some(4 << 30)).is_ok() && fits(20_000, None).is_ok());
        assert!(fits(usize::MAX, Some(u64::MAX - 1)).is_err(), "sizes beyond counting");
    }
}
