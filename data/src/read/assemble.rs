//! Joins the rows of all files and chunks under one vocabulary of users and one of items.

use super::ncf::{CandidateIds, CandidateRows};
use super::text::Rows;
use crate::id_builder::join;
use crate::{Error, Interactions, ItemIx, Result, UserIx, Vocab};

/// All rows, in the order read.
pub struct Joined {
    /// The users' ids.
    pub users: Vocab,
    /// The items' ids.
    pub items: Vocab,
    /// The rating rows.
    pub interactions: Interactions,
    /// The lines of candidates.
    pub candidates: CandidateRows,
}

/// Joins chunks and the lines of candidates.
///
/// # Errors
/// When there are more rows than a row number can count.
pub fn assemble(chunks: Vec<Rows>, lines: CandidateIds) -> Result<Joined> {
    let n = count(&chunks);
    if u32::try_from(n).is_err() {
        return Err(Error::setting("rows", n.to_string(), format!("at most {}", u32::MAX)));
    }
    let (mut users, mut items, mut values, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for chunk in chunks {
        users.push(chunk.users);
        items.push(chunk.items);
        values.push(chunk.values);
        times.push(chunk.times);
    }
    let n_lines = lines.items.len();
    users.push(lines.users);
    items.extend([lines.items, lines.candidates]);
    let (user_vocab, mut users) = join(users, UserIx);
    let (item_vocab, mut items) = join(items, ItemIx);
    let candidate_users = users.split_off(n);
    let mut candidate_items = items.split_off(n);
    let candidates = candidate_items.split_off(n_lines);
    Ok(Joined {
        users: user_vocab,
        items: item_vocab,
        interactions: Interactions { users, items, values: concat(values, n), times: concat(times, n) },
        candidates: CandidateRows { users: candidate_users, items: candidate_items, candidates },
    })
}

impl Joined {
    /// Removes the rating rows from `at` on and returns them.
    pub fn split_off(&mut self, at: usize) -> Interactions {
        let Interactions { users, items, values, times } = &mut self.interactions;
        Interactions {
            users: users.split_off(at),
            items: items.split_off(at),
            values: values.split_off(at),
            times: times.split_off(at),
        }
    }
}

/// Returns all chunks in one, each freed as soon as it is copied.
fn concat<T: Copy>(chunks: Vec<Vec<T>>, n: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(n);
    chunks.into_iter().for_each(|chunk| out.extend_from_slice(&chunk));
    out
}

/// Returns the number of rows of some chunks.
pub fn count(chunks: &[Rows]) -> usize {
    chunks.iter().map(Rows::len).sum()
}
