//! Whether the service can do its work, and if not, why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The reasons why the service cannot work, by the part of it that gives them.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<String, String>>);

impl Health {
    /// Notes that a part of the service cannot work, and why.
    pub fn bad(&self, who: &str, reason: impl Into<String>) {
        let reason = reason.into();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(who) != Some(&reason) {
            tracing::warn!(who, reason, "not ready");
            all.insert(who.to_owned(), reason);
        }
    }

    /// Notes that a part of the service can work.
    pub fn good(&self, who: &str) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(who).is_some() {
            tracing::info!(who, "ready");
        }
    }

    /// Returns the parts that cannot work, and why; the service is ready when there are none.
    pub fn reasons(&self) -> BTreeMap<String, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
