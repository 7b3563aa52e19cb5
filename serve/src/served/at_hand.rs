//! Settings that each request over HTTP asks for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::settings::{Run, Settings};

/// Settings that can be read without a lock.
#[derive(Default)]
pub struct AtHand {
    message_bytes: AtomicUsize,
    is_stopped: AtomicBool,
    has_tenants: AtomicBool,
}

impl AtHand {
    pub(super) fn set(&self, settings: &Settings) {
        self.message_bytes.store(settings.limits.message_bytes, Ordering::Relaxed);
        self.is_stopped.store(settings.run != Run::Running, Ordering::Relaxed);
        self.has_tenants.store(!settings.tenants.is_empty(), Ordering::Relaxed);
    }

    /// Returns the most bytes of a message.
    pub fn message_bytes(&self) -> usize {
        self.message_bytes.load(Ordering::Relaxed)
    }

    /// Returns whether there are tenants.
    pub fn has_tenants(&self) -> bool {
        self.has_tenants.load(Ordering::Relaxed)
    }

    /// Returns whether nothing new is taken.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}
