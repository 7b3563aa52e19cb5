//! What a caller may do.

use serde::{Deserialize, Serialize};

/// What a token, a client certificate or a claim of an OIDC token lets its bearer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Ask for scores and recommendations, and send events.
    Score,
    /// See metrics, health, the flow, and the versions of its config.
    Observe,
    /// Change the flow, and all that `observe` may.
    Operate,
    /// Everything: also what names files, and the audit log.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Score, Self::Observe, Self::Operate, Self::Admin];

    /// Returns its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Observe => "observe",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// Returns whether who has this role may do what another is asked for.
    pub fn includes(self, asked: Self) -> bool {
        self == asked || self == Self::Admin || (self == Self::Operate && asked == Self::Observe)
    }
}
