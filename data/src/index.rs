//! Finds the row index of an outside id in one step, for callers that look up millions of ids a second.

use crate::{Id, Vocab};

/// Integer ids whose range is at most this many times their number are looked up in a table.
const SPREAD: u64 = 8;

/// Marks a table entry without an id.
const NONE: u32 = u32::MAX;

/// A [`Vocab`] with a faster lookup: a table where integer ids lie close together, as in most files, else the
/// vocabulary's binary search.
#[derive(Clone, Debug)]
pub struct Index {
    vocab: Vocab,
    /// The smallest id, and for each integer from it on the row index, or `NONE`.
    table: Option<(i64, Vec<u32>)>,
}

impl Index {
    /// Builds the index of a vocabulary.
    pub fn new(vocab: Vocab) -> Self {
        let table = match &vocab {
            Vocab::Int(ids) => table(ids),
            Vocab::Str { .. } => None,
        };
        Self { vocab, table }
    }

    /// Returns the row index of an outside id, if the vocabulary has it.
    pub fn row(&self, id: Id<'_>) -> Option<u32> {
        let Some((first, rows)) = &self.table else { return self.vocab.row(id) };
        let Id::Int(id) = id.canonical() else { return None };
        let at = usize::try_from(id.checked_sub(*first)?).ok()?;
        rows.get(at).copied().filter(|&row| row != NONE)
    }

    /// Returns the vocabulary.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }
}

fn table(ids: &[i64]) -> Option<(i64, Vec<u32>)> {
    let (first, last) = (*ids.first()?, *ids.last()?);
    let width = last.abs_diff(first);
    if width >= SPREAD * ids.len() as u64 {
        return None;
    }
    let mut rows = vec![NONE; width as usize + 1];
    ids.iter().enumerate().for_each(|(row, id)| rows[id.abs_diff(first) as usize] = row as u32);
    Some((first, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_the_vocabulary_finds() {
        let close = Vocab::from_ints(vec![5, 3, 9, -2]);
        let far = Vocab::from_ints(vec![i64::MIN, 0, i64::MAX]);
        for vocab in [close, far, Vocab::from_ints(vec![]), Vocab::from_strs(["7", "x"])] {
            let index = Index::new(vocab.clone());
            for id in [-3, -2, -1, 0, 3, 5, 7, 9, 10, i64::MIN, i64::MAX] {
                assert_eq!(index.row(Id::Int(id)), vocab.row(Id::Int(id)), "{id} in {vocab:?}");
                let text = id.to_string();
                for text in [text.clone(), format!("0{text}"), format!("+{text}"), format!(" {text}")] {
                    assert_eq!(index.row(Id::Str(&text)), vocab.row(Id::Str(&text)), "{text:?} in {vocab:?}");
                }
            }
        }
    }
}
