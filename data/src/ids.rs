//! Outside ids and the row indices they stand for.
//!
//! Inside, a user or an item is a row index of its own type, so that the two cannot be exchanged. Outside
//! ids (integers or any strings) live only in a [`Vocab`], which is sorted: looking an id up is a binary
//! search, and the row index of an id does not depend on the order of the ratings file.
//!
//! [`Id`] says which ids are the same. Readers, vocabularies, the service's histories, its joins and its A/B buckets
//! all ask [`Id::canonical`] and have no rule of their own.

use std::fmt;

/// A user's row index in the model and in every matrix; the [`Vocab`] of the users holds the outside id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct UserIx(pub u32);

/// An item's row index in the model, and its row or column in every matrix; the [`Vocab`] of the items holds the
/// outside id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ItemIx(pub u32);

impl UserIx {
    /// Returns the index as a `usize`.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl ItemIx {
    /// Returns the index as a `usize`.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// An outside id, as it stands in a file or a message.
///
/// Two ids are the same exactly when their texts are, byte for byte. The text of an integer is its shortest decimal
/// form, so that the number `7` and the string `"7"` are one id. Every other text is an id of its own, and no two of
/// them are taken for each other:
///
/// | text | id |
/// |---|---|
/// | `7`, `-3`, `0`, `9223372036854775807` | the integer |
/// | `007`, `+7`, `-0`, `7.0` | that text, another id than `7` and `0` |
/// | `9223372036854775808` (2^63) and beyond, below -2^63 | that text |
/// | ` 7 ` with blanks in it | that text |
/// | `é` as one character, and as `e` with an accent | two ids: no Unicode normalisation takes place |
///
/// A reader of delimited text cuts the blanks around a field before the field becomes an id, and refuses an empty one.
///
/// ```
/// use burnrec_data::{Id, Vocab};
///
/// assert_eq!(Id::Int(7), Id::Str("7"));
/// assert_ne!(Id::Int(7), Id::Str("007"));
/// let films = Vocab::from_strs(["0120735", "7"]);
/// assert_eq!(films.row(Id::Int(7)), Some(1));
/// assert_eq!(films.row(Id::Int(120735)), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Id<'a> {
    /// An integer id.
    Int(i64),
    /// An id given as text, which may be that of an integer.
    Str(&'a str),
}

impl<'a> Id<'a> {
    /// Returns the same id as [`Id::Int`] where its text is the shortest decimal form of an `i64`, else as [`Id::Str`].
    pub fn canonical(self) -> Self {
        match self {
            Id::Str(text) => integer(text).map_or(self, Id::Int),
            Id::Int(_) => self,
        }
    }
}

/// Returns the integer whose shortest decimal form is `text`.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let shortest = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [first, ..] => matches!(first, b'1'..=b'9'),
        [] => false,
    };
    if shortest { text.parse().ok() } else { None }
}

impl PartialEq for Id<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.canonical(), other.canonical()) {
            (Id::Int(a), Id::Int(b)) => a == b,
            (Id::Str(a), Id::Str(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Id<'_> {}

/// An [`Id`] that owns its text, to be stored or to be the key of a map. It compares and hashes by its canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnedId(Canonical);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Canonical {
    Int(i64),
    Str(Box<str>),
}

impl From<Id<'_>> for OwnedId {
    fn from(id: Id<'_>) -> Self {
        Self(match id.canonical() {
            Id::Int(id) => Canonical::Int(id),
            Id::Str(id) => Canonical::Str(id.into()),
        })
    }
}

impl OwnedId {
    /// Returns the id, in its canonical form.
    pub fn id(&self) -> Id<'_> {
        match &self.0 {
            Canonical::Int(id) => Id::Int(*id),
            Canonical::Str(id) => Id::Str(id),
        }
    }
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

impl serde::Serialize for OwnedId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.id().serialize(serializer)
    }
}

/// The outside ids of all users, or of all items, ascending and without repeats: row index `i` has the `i`-th id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vocab {
    /// Integer ids.
    Int(Vec<i64>),
    /// String ids: the `i`-th is `bytes[offsets[i]..offsets[i + 1]]`, UTF-8.
    Str {
        /// All ids, one after the other.
        bytes: String,
        /// Where each id starts and, last, the length of `bytes`: one offset more than there are ids.
        offsets: Vec<u64>,
    },
}

impl Vocab {
    /// Builds the vocabulary of integer ids in any order, repeats dropped.
    pub fn from_ints(mut ids: Vec<i64>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Vocab::Int(ids)
    }

    /// Builds the vocabulary of string ids in any order, repeats dropped.
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

    /// Returns the number of ids.
    pub fn len(&self) -> usize {
        match self {
            Vocab::Int(ids) => ids.len(),
            Vocab::Str { offsets, .. } => offsets.len() - 1,
        }
    }

    /// Whether there is no id.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the outside id at a row index.
    ///
    /// # Panics
    /// When `row` is not below [`Vocab::len`].
    pub fn id(&self, row: u32) -> Id<'_> {
        match self {
            Vocab::Int(ids) => Id::Int(ids[row as usize]),
            Vocab::Str { .. } => Id::Str(self.text(row as usize)),
        }
    }

    /// Returns the row index of an outside id, if the vocabulary has it.
    pub fn row(&self, id: Id<'_>) -> Option<u32> {
        match (self, id) {
            (Vocab::Int(ids), id) => match id.canonical() {
                Id::Int(id) => ids.binary_search(&id).ok().map(|row| row as u32),
                Id::Str(_) => None,
            },
            (Vocab::Str { .. }, Id::Int(id)) => self.row(Id::Str(&id.to_string())),
            (Vocab::Str { .. }, Id::Str(text)) => {
                let row = partition_point(self.len(), |row| self.text(row) < text);
                (row < self.len() && self.text(row) == text).then_some(row as u32)
            }
        }
    }

    /// Returns the row index of an id given as text: `7` finds the integer 7 as well, as [`Id`] says.
    pub fn find(&self, id: &str) -> Option<u32> {
        self.row(Id::Str(id))
    }

    /// Whether the ids ascend without repeats, as those of every vocabulary must.
    pub(crate) fn ascends(&self) -> bool {
        match self {
            Vocab::Int(ids) => ids.is_sorted_by(|a, b| a < b),
            Vocab::Str { .. } => (1..self.len()).all(|row| self.text(row - 1) < self.text(row)),
        }
    }

    /// Returns the string id at a row index; an empty text in a vocabulary of integers.
    fn text(&self, row: usize) -> &str {
        match self {
            Vocab::Str { bytes, offsets } => &bytes[offsets[row] as usize..offsets[row + 1] as usize],
            Vocab::Int(_) => "",
        }
    }

    /// Returns the vocabulary of the ids at some row indices, which must ascend.
    pub fn select(&self, rows: &[u32]) -> Self {
        match self {
            Vocab::Int(ids) => Vocab::Int(rows.iter().map(|&row| ids[row as usize]).collect()),
            Vocab::Str { .. } => Self::from_strs(rows.iter().map(|&row| self.text(row as usize))),
        }
    }

    /// Returns the vocabulary without the id at a row index: the rows after it move up by one.
    pub fn without(&self, row: u32) -> Self {
        let kept: Vec<u32> = (0..self.len() as u32).filter(|other| *other != row).collect();
        self.select(&kept)
    }
}

/// Returns the first of `0..len` for which `before` is false, where `before` is true up to some point and false after.
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
    fn only_the_shortest_decimal_form_is_an_integer() {
        for text in ["0", "7", "-3", "5000000000", "9223372036854775807", "-9223372036854775808"] {
            let Id::Int(id) = Id::Str(text).canonical() else { panic!("{text} is an integer") };
            assert_eq!(id.to_string(), text);
            assert_eq!(OwnedId::from(Id::Str(text)), OwnedId::from(Id::Int(id)));
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "007",
            "-07",
            "+7",
            "1.0",
            "9223372036854775808",
            "x",
            "1 2",
            " 7",
            "7 ",
            "٧",
        ] {
            assert!(matches!(Id::Str(text).canonical(), Id::Str(same) if same == text), "{text:?}");
            assert_ne!(Id::Str(text), Id::Int(7), "{text:?}");
        }
    }

    #[test]
    fn select_keeps_the_ids_of_the_rows() {
        let strs = Vocab::from_strs(["a", "b", "c"]).select(&[0, 2]);
        assert_eq!((strs.id(0), strs.id(1)), (Id::Str("a"), Id::Str("c")));
        assert_eq!(Vocab::from_ints(vec![4, 5, 6]).select(&[1]), Vocab::Int(vec![5]));
    }
}
