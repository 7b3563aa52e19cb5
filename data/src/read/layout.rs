//! The layout of the lines of a text file.

use super::separator::Separator;

/// The fields of every line of a file.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The separator between fields.
    pub separator: Separator,
    /// The number of fields of every line.
    pub n_fields: usize,
    /// The field of the user, counted from 0.
    pub user: usize,
    /// The field of the item.
    pub item: usize,
    /// The field of the value; without one, values are 1.
    pub value: Option<usize>,
    /// The field of the time; without one, times are 0.
    pub time: Option<usize>,
}
