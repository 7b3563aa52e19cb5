//! Of the scores of a block of users, what is wanted comes back from the card alone: the best items, and where held-out items
//! stand.

use std::sync::PoisonError;

use burnrec_data::{Candidates, Holdout, ItemIx, UserIx};
use cubecl::prelude::*;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::catalog::{Block, Catalog, MOST_ROWS, read};
use super::grid::{grid, in_a_row};
use super::jobs::UNITS;
use super::kernels::{best, standing};
use crate::scorer::{Allowed, Ranked, Standing};
use crate::topk::select;

impl Catalog {
    /// As [`top_k`](crate::topk::top_k); `None` where `k` is a large part of the catalogue.
    pub fn best<'a>(
        &self,
        users: &[UserIx],
        k: usize,
        exclude: &(dyn Fn(usize) -> &'a [u32] + Sync),
        allowed: Option<&Allowed>,
    ) -> Option<Vec<Vec<(ItemIx, f32)>>> {
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (n_items, n_rows) = (block.n_items, block.n_rows);
        if k == 0 || 2 * k > n_items {
            return None;
        }
        let client = &block.step.client.clone();
        let mut bits = vec![0u32; n_items.div_ceil(32)];
        for item in (0..n_items).filter(|&item| allowed.is_none_or(|a| a.contains(ItemIx(item as u32)))) {
            bits[item / 32] |= 1 << (item % 32);
        }
        let bits = Buffer::of(client, &bits);
        let bounds = Buffer::of(client, &whole_catalogs(n_rows.min(users.len()), n_items));
        let mut lists = Vec::with_capacity(users.len());
        for (number, users) in users.chunks(n_rows).enumerate() {
            let excluded = |row: usize| exclude(number * n_rows + row);
            block.score_all(users);
            // The card is at work meanwhile.
            let of_row = |row: usize| in_row(row, n_items, excluded(row)).collect::<Vec<u32>>();
            let positions: Vec<Vec<u32>> = (0..users.len()).into_par_iter().map(of_row).collect();
            block.put(&positions.concat(), best::LEFT_OUT);
            let found = block.best(users.len(), k, &bounds, Some(&bits));
            for ((row, &user), found) in users.iter().enumerate().zip(found) {
                lists.push(if found.len() == k {
                    found.into_iter().map(|(item, score)| (ItemIx(item), score)).collect()
                } else {
                    // Scores of minus infinity and such that are no numbers come last, by the rule of the host.
                    block.score_all(&[user]);
                    let scores = block.scores(n_items);
                    select(&scores, k, excluded(row), allowed)
                });
            }
        }
        Some(lists)
    }

    /// As [`Scorer::rank_on_device`](crate::scorer::Scorer::rank_on_device); `None` where a user has more candidates than a
    /// block has scores.
    pub fn rank(
        &self,
        users: &[UserIx],
        holdout: &Holdout,
        rows: &[usize],
        k: usize,
        last: &[ItemIx],
    ) -> Option<Vec<Ranked>> {
        let last: Vec<u32> = last.iter().map(|item| item.0).collect();
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ranked = Vec::with_capacity(rows.len());
        match &holdout.candidates {
            Candidates::Unseen => {
                let n_rows = block.n_rows;
                for (users, rows) in users.chunks(n_rows).zip(rows.chunks(n_rows)) {
                    let n_items = block.n_items;
                    block.score_all(users);
                    // The card is at work meanwhile.
                    let asked = Asked::unseen(holdout, rows, n_items);
                    let last = (0..rows.len()).flat_map(|row| in_row(row, n_items, &last));
                    block.put(&last.collect::<Vec<u32>>(), f32::NEG_INFINITY.to_bits());
                    ranked.extend(block.rank(&asked, k, |_, item| ItemIx(item)));
                }
            }
            Candidates::Drawn(lists) => {
                let n_pairs = |row: usize| holdout.relevant.row(row).0.len() + lists.row(row).len();
                let most = block.scores.len;
                if rows.iter().any(|&row| n_pairs(row) > most) {
                    return None;
                }
                let mut start = 0;
                while start < rows.len() {
                    let mut pairs = 0;
                    let fits = |&&row: &&usize| {
                        pairs += n_pairs(row);
                        pairs <= most
                    };
                    let n = rows[start..].iter().take(MOST_ROWS).take_while(fits).count();
                    let (block_rows, block_users) = (&rows[start..start + n], &users[start..start + n]);
                    let (asked, pairs) = Asked::drawn(holdout, block_rows, |row| lists.row(row));
                    block.score_lists(block_users, &pairs);
                    let is_last =
                        |(at, item): (u32, &ItemIx)| last.binary_search(&item.0).is_ok().then_some(at);
                    let last = (0..).zip(&pairs.1).filter_map(is_last);
                    block.put(&last.collect::<Vec<u32>>(), f32::NEG_INFINITY.to_bits());
                    ranked.extend(block.rank(&asked, k, |row, at| lists.row(block_rows[row])[at as usize]));
                    start += n;
                }
            }
        }
        Some(ranked)
    }
}

/// What is asked of the scores of a block of users.
struct Asked {
    /// Two positions a user: where the scores of its candidates begin and end.
    bounds: Vec<u32>,
    /// How many candidates each user has.
    n_candidates: Vec<usize>,
    /// The user, as a row of the block, and the position of the score of each relevant item.
    targets: [Vec<u32>; 2],
    /// The positions within the bounds whose items are no candidates.
    excluded: Vec<u32>,
}

/// The items that are scored, where these are not the whole catalogue of each user, and for each its row of the block.
type Pairs = (Vec<u32>, Vec<ItemIx>);

impl Asked {
    /// All items are candidates but those that are relevant or in the history.
    fn unseen(holdout: &Holdout, rows: &[usize], n_items: usize) -> Self {
        let (mut targets, mut excluded, mut n_candidates) =
            ([Vec::new(), Vec::new()], Vec::new(), Vec::new());
        for (row, &of) in rows.iter().enumerate() {
            let (relevant, history) = (holdout.relevant.row(of).0, holdout.history.row(of).0);
            targets[0].extend(relevant.iter().map(|_| row as u32));
            targets[1].extend(in_row(row, n_items, relevant));
            let both = relevant.iter().filter(|&item| history.binary_search(item).is_ok()).count();
            n_candidates.push(n_items + both - relevant.len() - history.len());
            excluded.extend(in_row(row, n_items, relevant).chain(in_row(row, n_items, history)));
        }
        Self { bounds: whole_catalogs(rows.len(), n_items), n_candidates, targets, excluded }
    }

    /// The scores of a user's relevant items stand before those of its candidates.
    fn drawn<'a>(holdout: &Holdout, rows: &[usize], list: impl Fn(usize) -> &'a [ItemIx]) -> (Self, Pairs) {
        let (mut bounds, mut n_candidates, mut targets) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
        let (mut pair_rows, mut items) = (Vec::new(), Vec::new());
        for (row, &of) in rows.iter().enumerate() {
            for &item in holdout.relevant.row(of).0 {
                targets[0].push(row as u32);
                targets[1].push(items.len() as u32);
                items.push(ItemIx(item));
            }
            bounds.push(items.len() as u32);
            items.extend_from_slice(list(of));
            bounds.push(items.len() as u32);
            n_candidates.push(list(of).len());
            pair_rows.resize(items.len(), row as u32);
        }
        (Self { bounds, n_candidates, targets, excluded: Vec::new() }, (pair_rows, items))
    }
}

/// The bounds of the scores of the whole catalogue, user by user.
fn whole_catalogs(n_rows: usize, n_items: usize) -> Vec<u32> {
    (0..n_rows).flat_map(|row| [row * n_items, (row + 1) * n_items]).map(|bound| bound as u32).collect()
}

/// The positions of the scores of some items of a row.
fn in_row(row: usize, n_items: usize, items: &[u32]) -> impl Iterator<Item = u32> {
    items.iter().map(move |item| (row * n_items) as u32 + item)
}

impl Block {
    /// Scores pairs of some users and items.
    fn score_lists(&mut self, users: &[UserIx], (rows, items): &Pairs) {
        let n = self.n_pairs;
        for (number, (rows, items)) in rows.chunks(n).zip(items.chunks(n)).enumerate() {
            let users: Vec<UserIx> = rows.iter().map(|&row| users[row as usize]).collect();
            self.score_these(&users, items, number * n);
        }
    }

    /// Puts the bits of a score at these positions.
    fn put(&self, positions: &[u32], bits: u32) {
        if positions.is_empty() {
            return;
        }
        let client = &self.step.client;
        let (at, n) = (Buffer::of(client, positions), positions.len());
        let grid = in_a_row(n.div_ceil(UNITS));
        // SAFETY: of this kernel as of those below: positions and bounds are those of scores, the other buffers have as many
        // values as are read and written.
        unsafe {
            best::put::launch_unchecked(
                client,
                grid,
                CubeDim::new_1d(UNITS as u32),
                at.arg(),
                self.scores.arg(),
                n as u32,
                bits,
            );
        }
    }

    /// Returns for each of `n` users the positions and scores of the best `k` within its bounds, best first; without
    /// `allowed` by the rule of an evaluation.
    fn best(&self, n: usize, k: usize, bounds: &Buffer, allowed: Option<&Buffer>) -> Vec<Vec<(u32, f32)>> {
        let client = &self.step.client;
        let [ids, values] = [0; 2].map(|_| Buffer::empty(client, n * k));
        let counts = Buffer::empty(client, n);
        unsafe {
            best::best::launch_unchecked(
                client,
                grid([n, 1, 1]),
                CubeDim::new_1d(UNITS as u32),
                self.scores.arg(),
                bounds.arg(),
                allowed.unwrap_or(bounds).arg(),
                ids.arg(),
                values.arg(),
                counts.arg(),
                k as u32,
                allowed.is_none(),
            );
        }
        let [ids, values, counts] =
            read(Buffer::all_words(client, [(&ids, n * k), (&values, n * k), (&counts, n)]));
        let of_row = |(row, count): (usize, u32)| {
            let found = row * k..row * k + count as usize;
            sorted(&ids[found.clone()], &values[found])
        };
        counts.into_par_iter().enumerate().map(of_row).collect()
    }

    /// Ranks the relevant items of each user among its candidates; `item` gives the item of a row at a position.
    fn rank(&self, asked: &Asked, k: usize, item: impl Fn(usize, u32) -> ItemIx) -> Vec<Ranked> {
        let client = &self.step.client;
        let n_targets = asked.targets[0].len();
        let bounds = Buffer::of(client, &asked.bounds);
        let [rows, positions] = [0, 1].map(|k| Buffer::of(client, &asked.targets[k]));
        let targets = Buffer::empty(client, n_targets);
        let counts = Buffer::empty(client, 2 * n_targets);
        unsafe {
            standing::take::launch_unchecked(
                client,
                in_a_row(n_targets.div_ceil(UNITS)),
                CubeDim::new_1d(UNITS as u32),
                positions.arg(),
                self.scores.arg(),
                targets.arg(),
                n_targets as u32,
            );
        }
        self.put(&asked.excluded, best::LEFT_OUT);
        unsafe {
            standing::standings::launch_unchecked(
                client,
                in_a_row(n_targets),
                CubeDim::new_1d(UNITS as u32),
                self.scores.arg(),
                targets.arg(),
                rows.arg(),
                bounds.arg(),
                counts.arg(),
                n_targets as u32,
            );
        }
        let best = self.best(asked.n_candidates.len(), k, &bounds, None);
        let [scores, counts] =
            read(Buffer::all_words(client, [(&targets, n_targets), (&counts, 2 * n_targets)]));
        let mut ranked = Vec::with_capacity(best.len());
        let mut next = 0;
        for (row, (best, &n_candidates)) in best.into_iter().zip(&asked.n_candidates).enumerate() {
            let n = asked.targets[0][next..].iter().take_while(|&&of| of == row as u32).count();
            let of_row = next..next + n;
            next += n;
            let standing = |counts: &[u32]| Standing { ahead: counts[0] as usize, tied: counts[1] as usize };
            ranked.push(Ranked {
                relevant_scores: scores[of_row.clone()].iter().map(|&bits| f32::from_bits(bits)).collect(),
                standings: counts[2 * of_row.start..2 * of_row.end].chunks_exact(2).map(standing).collect(),
                n_candidates,
                best: best.into_iter().map(|(at, _)| item(row, at)).collect(),
            });
        }
        ranked
    }
}

/// Positions with their scores, best first, of equal scores the first position first, NaN before all.
fn sorted(ids: &[u32], values: &[u32]) -> Vec<(u32, f32)> {
    let values = values.iter().map(|&bits| f32::from_bits(bits));
    let mut list: Vec<(u32, f32)> = ids.iter().copied().zip(values).collect();
    // 0 and -0 are equal.
    let order = |score: f32| if score.is_nan() { f32::NAN } else { score + 0.0 };
    list.sort_by(|a, b| order(b.1).total_cmp(&order(a.1)).then(a.0.cmp(&b.0)));
    list
}
