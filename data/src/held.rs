//! What is held of one user: rows, as they are shown to the user and counted in reports.

use serde::Serialize;

use crate::csr::Entry;
use crate::{Id, OwnedId, Vocab};

/// An item that a user had.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldRow {
    /// The item's id.
    pub item: OwnedId,
    /// The rating, count or weight.
    pub value: f32,
    /// When, in Unix seconds, where that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
}

impl HeldRow {
    /// Makes a row of an outside id.
    pub fn new(item: Id<'_>, value: f32, time: Option<i64>) -> Self {
        Self { item: item.into(), value, time }
    }

    /// Returns the rows of a history over the items of a vocabulary.
    pub fn of_history(history: &[Entry], items: &Vocab) -> Vec<Self> {
        history.iter().map(|entry| Self::new(items.id(entry.col), entry.value, entry.time)).collect()
    }
}
