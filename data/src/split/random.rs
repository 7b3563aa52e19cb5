//! Rows held out at random: by shares, or in folds.

use std::ops::Range;

use rand::seq::SliceRandom;

use super::SplitPart;
use crate::rng::stream;

/// The share of the rows outside the test fold that is held out for valid.
const VALID_OF_BASE: f64 = 0.1;

/// Marks the shares `valid` and `test` of `n` rows, to the nearest row.
pub(super) fn ratio(n: usize, valid: f64, test: f64, seed: u64) -> Vec<SplitPart> {
    let (n_valid, n_test) = (share(n, valid), share(n, test));
    let order = order(n, seed);
    let mut marks = vec![SplitPart::Train; n];
    mark(&mut marks, order[..n.min(n_test)].iter(), SplitPart::Test);
    mark(&mut marks, order[n.min(n_test)..].iter().take(n_valid), SplitPart::Valid);
    marks
}

/// Marks fold `fold` of `folds` as test and a tenth of the other rows as valid.
pub(super) fn k_fold(n: usize, folds: u32, fold: u32, seed: u64) -> Vec<SplitPart> {
    let order = order(n, seed);
    let Range { start, end } = fold_places(n, folds, fold);
    let mut marks = vec![SplitPart::Train; n];
    mark(&mut marks, order[start..end].iter(), SplitPart::Test);
    // Valid starts where the test fold ends, so that its rows differ from fold to fold.
    let base = order[end..].iter().chain(&order[..start]);
    mark(&mut marks, base.take(share(n - (end - start), VALID_OF_BASE)), SplitPart::Valid);
    marks
}

/// Marks a tenth of `n` rows as valid and none as test.
pub(super) fn valid_of_base(n: usize, seed: u64) -> Vec<SplitPart> {
    let mut marks = vec![SplitPart::Train; n];
    mark(&mut marks, order(n, seed).iter().take(share(n, VALID_OF_BASE)), SplitPart::Valid);
    marks
}

/// Returns the range of fold `fold` of `folds` among `n` rows or users in a drawn order; sizes differ by one at most.
pub(super) fn fold_places(n: usize, folds: u32, fold: u32) -> Range<usize> {
    let start = |fold: u32| (n as u64 * u64::from(fold) / u64::from(folds)) as usize;
    start(fold)..start(fold + 1)
}

fn share(n: usize, share: f64) -> usize {
    (n as f64 * share).round() as usize
}

/// Returns the numbers below `n` in a drawn order.
pub(super) fn order(n: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.shuffle(&mut stream(seed, "split.random", 0));
    order
}

pub(super) fn mark<'a>(marks: &mut [SplitPart], rows: impl Iterator<Item = &'a u32>, part: SplitPart) {
    rows.for_each(|&row| marks[row as usize] = part);
}
