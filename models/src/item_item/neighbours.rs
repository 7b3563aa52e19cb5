//! Whose neighbours score an item: a setting of the families that keep the nearest items alone.

use serde::{Deserialize, Serialize};

/// Whose neighbours score an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NeighboursOf {
    /// Those of the history: an item gets a part of its score from each that has it among its `k` nearest, so that what many
    /// items are near to comes first.
    History,
    /// Its own: an item gets a part of its score from each of its `k` nearest that is in the history.
    Target,
}
