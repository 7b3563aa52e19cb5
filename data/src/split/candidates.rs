//! Draws the candidates: the items that a held-out item is ranked against.

use rand::seq::index::sample;
use rayon::prelude::*;

use super::{Candidates, Lists};
use crate::negatives::nth_absent;
use crate::rng::stream;
use crate::{Csr, Error, ItemIx, Result, UserIx, Vocab};

/// Draws for each user `n` different items that are nowhere in the user's row of `seen`, which holds all rows of the
/// user, those held out included. `purpose` keeps the draws of two holdouts apart.
pub(super) fn draw(
    users: &[UserIx],
    seen: &Csr,
    n: u32,
    seed: u64,
    purpose: &str,
    ids: &Vocab,
) -> Result<Candidates> {
    let purpose = format!("split.candidates.{purpose}");
    let drawn: Vec<Vec<ItemIx>> = users
        .par_iter()
        .map(|user| {
            let seen_by_user = seen.row(user.at()).0;
            let n_unseen = seen.n_cols() - seen_by_user.len();
            if n_unseen < n as usize {
                let found = format!("{n}, but user {} has {n_unseen} unseen items", ids.id(user.0));
                let expected = format!("at most {n_unseen}, or no number, for all unseen items");
                return Err(Error::setting("candidates", found, expected));
            }
            let mut rng = stream(seed, &purpose, u64::from(user.0));
            let places = sample(&mut rng, n_unseen, n as usize);
            Ok(places.into_iter().map(|place| ItemIx(nth_absent(seen_by_user, place as u32))).collect())
        })
        .collect::<Result<_>>()?;
    let mut lists = Lists::new();
    drawn.iter().for_each(|items| lists.push(items));
    Ok(Candidates::Drawn(lists))
}
