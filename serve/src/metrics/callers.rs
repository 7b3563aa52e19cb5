//! Who calls over HTTP.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How many callers have a series of their own: an OpenID Connect provider may know any number.
const CALLERS: usize = 1000;

/// The name of all others.
const OTHERS: &str = "(others)";

/// Labels of a caller.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct CallerLabels {
    /// `token`, `certificate` or `oidc`.
    kind: &'static str,
    /// Its name.
    name: String,
}

/// Counts calls by who made them.
#[derive(Debug, Default)]
pub struct Callers {
    calls: Family<CallerLabels, Counter>,
    known: Mutex<BTreeSet<CallerLabels>>,
}

impl Callers {
    /// Registers the series.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("burnrec_http_calls", "HTTP requests by who sent them", self.calls.clone());
    }

    /// Counts a call of somebody who is known.
    pub fn called(&self, kind: &'static str, name: &str) {
        let mut caller = CallerLabels { kind, name: name.to_owned() };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&caller) {
            if known.len() < CALLERS {
                known.insert(caller.clone());
            } else {
                caller.name = OTHERS.to_owned();
            }
        }
        drop(known);
        self.calls.get_or_create(&caller).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_have_a_bound() {
        let callers = Callers::default();
        for at in 0..3 * CALLERS {
            callers.called("oidc", &format!("user-{at}"));
            callers.called("token", "anna");
        }
        let calls = |kind, name: &str| {
            callers.calls.get_or_create(&CallerLabels { kind, name: name.to_owned() }).get() as usize
        };
        assert_eq!((calls("token", "anna"), calls("oidc", "user-0")), (3 * CALLERS, 1));
        assert_eq!(calls("oidc", OTHERS), 3 * CALLERS - (CALLERS - 1));
        assert_eq!(callers.known.lock().unwrap().len(), CALLERS);
    }
}
