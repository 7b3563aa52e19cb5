//! The keys of `[unknown]`.

use serde::{Deserialize, Serialize};

/// What to do with a user that the model does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownUser {
    /// Fold the user in from the events seen so far; popularity while there are none.
    #[default]
    FoldIn,
    /// Score by popularity: by how many users interacted with an item.
    Popularity,
    /// Reject the request.
    Reject,
}

/// What to do with an item that the model does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownItem {
    /// Its score is `null`, the others are scored.
    Null,
    /// Reject the request.
    #[default]
    Reject,
}

/// What to do with ids that the model does not know.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnknownConfig {
    /// Users.
    pub user: UnknownUser,
    /// Items.
    pub item: UnknownItem,
}
