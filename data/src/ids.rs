//! Outside ids and the rows they stand for.
//!
//! Inside, a user or an item is a row number of its own type, so that the two cannot be exchanged. Outside
//! ids (integers or any strings) live only in a [`Vocab`], which is sorted: looking an id up is a binary
//! search, and the row of an id does not depend on the order of the ratings file.

use std::fmt;

/// A user's row in the model and in every matrix; meaningless without the [`Vocab`] of the users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct UserIx(pub u32);

/// An item's row in the model and in every matrix; meaningless without the [`Vocab`] of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ItemIx(pub u32);

impl UserIx {
    /// The row as an index.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl ItemIx {
    /// The row as an index.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// An outside id, as it stands in the user's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id<'a> {
    /// An integer id.
    Int(i64),
    /// Any other id.
    Str(&'a str),
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Int(id) => id.fmt(f),
            Id::Str(id) => id.fmt(f),
        }
    }
}

impl serde::Serialize for Id<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Id::Int(id) => serializer.serialize_i64(*id),
            Id::Str(id) => serializer.serialize_str(id),
        }
    }
}

/// The outside ids of all rows, in ascending order and without repeats: row `i` has the `i`-th id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vocab {
    /// Integer ids.
    Int(Vec<i64>),
    /// String ids: row `i` is `bytes[offsets[i]..offsets[i + 1]]`, UTF-8.
    Str {
        /// All ids, one after the other.
        bytes: String,
        /// Where each id starts, and the end: one more than there are rows.
        offsets: Vec<u64>,
    },
}

impl Vocab {
    /// Of integer ids in any order, repeats dropped.
    pub fn from_ints(mut ids: Vec<i64>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Vocab::Int(ids)
    }

    /// Of string ids in any order, repeats dropped.
    pub fn from_strs<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ids: Vec<&str> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut offsets = Vec::with_capacity(ids.len() + 1);
        let mut bytes = String::with_capacity(ids.iter().map(|id| id.len()).sum());
        offsets.push(0);
        for id in ids {
            bytes.push_str(id);
            offsets.push(bytes.len() as u64);
        }
        Vocab::Str { bytes, offsets }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Vocab::Int(ids) => ids.len(),
            Vocab::Str { offsets, .. } => offsets.len() - 1,
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The outside id of a row.
    ///
    /// # Panics
    /// When `row` is not below [`Vocab::len`].
    pub fn id(&self, row: u32) -> Id<'_> {
        let row = row as usize;
        match self {
            Vocab::Int(ids) => Id::Int(ids[row]),
            Vocab::Str { bytes, offsets } => {
                Id::Str(&bytes[offsets[row] as usize..offsets[row + 1] as usize])
            }
        }
    }

    /// The row of an outside id.
    pub fn row(&self, id: Id<'_>) -> Option<u32> {
        let found = match (self, id) {
            (Vocab::Int(ids), Id::Int(id)) => ids.binary_search(&id).ok(),
            (Vocab::Int(ids), Id::Str(id)) => ids.binary_search(&id.trim().parse().ok()?).ok(),
            (Vocab::Str { .. }, Id::Int(id)) => return self.row(Id::Str(&id.to_string())),
            (Vocab::Str { .. }, Id::Str(id)) => {
                let after = partition_point(self.len(), |row| self.id(row as u32) < Id::Str(id));
                (after < self.len() && self.id(after as u32) == Id::Str(id)).then_some(after)
            }
        };
        found.map(|row| row as u32)
    }

    /// The row of an id as a person types it.
    pub fn find(&self, id: &str) -> Option<u32> {
        self.row(Id::Str(id))
    }

    /// The vocabulary of some of the rows, which must be ascending.
    pub fn select(&self, rows: &[u32]) -> Self {
        match self {
            Vocab::Int(ids) => Vocab::Int(rows.iter().map(|&row| ids[row as usize]).collect()),
            Vocab::Str { .. } => Self::from_strs(rows.iter().map(|&row| match self.id(row) {
                Id::Str(id) => id,
                Id::Int(_) => unreachable!("a string vocabulary gives string ids"),
            })),
        }
    }
}

/// The first of `0..len` for which `before` is false, where `before` is true up to some point and false after.
fn partition_point(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_id_and_no_other() {
        let ints = Vocab::from_ints(vec![7, -3, 5_000_000_000, 7]);
        assert_eq!(ints.len(), 3);
        assert_eq!(ints.find("5000000000"), Some(2));
        assert_eq!(ints.find("8"), None);
        assert_eq!(ints.find("seven"), None);
        let strs = Vocab::from_strs(["b", "é", "", "a", "b"]);
        assert_eq!(strs.len(), 4);
        for row in 0..4 {
            assert_eq!(strs.row(strs.id(row)), Some(row));
        }
        assert_eq!(strs.find("c"), None);
        assert_eq!(Vocab::from_strs([]).find(""), None);
    }

    #[test]
    fn select_keeps_the_ids_of_the_rows() {
        let strs = Vocab::from_strs(["a", "b", "c"]).select(&[0, 2]);
        assert_eq!((strs.id(0), strs.id(1)), (Id::Str("a"), Id::Str("c")));
        assert_eq!(Vocab::from_ints(vec![4, 5, 6]).select(&[1]), Vocab::Int(vec![5]));
    }
}
