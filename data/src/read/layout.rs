//! Which field of a line of a text file is what.

use super::record::Separator;

/// What a line of the file holds.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What stands between fields.
    pub separator: Separator,
    /// How many fields every line has.
    pub n_fields: usize,
    /// Which field, counted from 0, is the user.
    pub user: usize,
    /// Which field is the item.
    pub item: usize,
    /// Which field is the value, if there is one; else it is 1.
    pub value: Option<usize>,
    /// Which field is the time, if there is one; else it is 0.
    pub time: Option<usize>,
}
