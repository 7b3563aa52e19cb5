//! First factors of ALS from an earlier run, so that training on new ratings needs only a few epochs.

use std::path::Path;

use burnrec_data::{Prepared, Vocab};

use super::{AlsConfig, initial_factors};
use crate::device::DeviceChoice;
use crate::model::Family;
use crate::recommender::Recommender;
use crate::scorer::Vectors;
use crate::{Error, Result};

/// Factors to start from, with a row for each user and item of the data to train on.
pub struct FirstFactors {
    /// `[n_users, width]`
    pub users: Vec<f32>,
    /// `[n_items, width]`
    pub items: Vec<f32>,
}

/// Returns the factors of the run in `dir` for the ids that it knows, with biases of 0; those of other users are drawn with `seed`, those
/// of other items are 0 until they are solved.
///
/// # Errors
/// When the run cannot be opened, or is not one of ALS with factors of this length.
pub fn read(dir: &Path, data: &Prepared, config: &AlsConfig, seed: u64) -> Result<FirstFactors> {
    let earlier = Recommender::open_on(dir, DeviceChoice::Cpu)?;
    let refused = |found: String| {
        let expected = format!("a run of als with dim = {}", config.dim);
        Error::config("warm_start", found, expected)
    };
    let dim_of = |vectors: Option<Vectors<'_>>| vectors.map_or(0, |vectors| vectors.dim);
    if earlier.kind() != AlsConfig::KIND || dim_of(earlier.model.user_vectors()) != config.dim {
        let found = format!("{} with dim = {}", earlier.kind(), dim_of(earlier.model.user_vectors()));
        return Err(refused(found));
    }
    let mut users = initial_factors(seed, data.users.len(), config.width(), config.init_std);
    let mut items = vec![0.0; data.items.len() * config.width()];
    if config.biases {
        users.chunks_exact_mut(config.width()).for_each(|row| row[config.dim] = 0.0);
    }
    if config.nonnegative {
        users.iter_mut().for_each(|x| *x = x.abs());
    }
    let width = config.width();
    take_over(&mut users, width, &data.users, earlier.model.user_vectors(), earlier.users.vocab());
    take_over(&mut items, width, &data.items, earlier.model.item_vectors(), earlier.items.vocab());
    Ok(FirstFactors { users, items })
}

/// Copies the vectors of the ids that both vocabularies have.
fn take_over(factors: &mut [f32], width: usize, ids: &Vocab, vectors: Option<Vectors<'_>>, known: &Vocab) {
    let Some(vectors) = vectors else { return };
    for (row, factors) in factors.chunks_exact_mut(width).enumerate() {
        if let Some(known) = known.row(ids.id(row as u32)) {
            factors[..vectors.dim].copy_from_slice(vectors.row(known as usize));
        }
    }
}
