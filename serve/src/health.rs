//! Whether the service can do its work, and if not, why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What keeps the service from its work, by who says so.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<String, String>>);

impl Health {
    /// Somebody cannot work, for this reason.
    pub fn bad(&self, who: &str, reason: impl Into<String>) {
        let reason = reason.into();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(who) != Some(&reason) {
            tracing::warn!(who, reason, "not ready");
            all.insert(who.to_owned(), reason);
        }
    }

    /// Somebody can work.
    pub fn good(&self, who: &str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(who).is_some() {
            tracing::info!(who, "ready");
        }
    }

    /// Who cannot work, and why; ready when nobody.
    pub fn reasons(&self) -> BTreeMap<String, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
