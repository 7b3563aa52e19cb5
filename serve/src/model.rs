//! A model that answers, under its name in the config.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use burnrec_models::Recommender;

/// A model ready to answer. It never changes; a new one takes its place as a whole.
pub struct Served {
    /// Its name in the config.
    pub name: String,
    /// What replies call its version.
    pub version: String,
    /// The first 12 hex digits of the SHA-256 of its manifest, which holds the hashes of all its files.
    pub hash: String,
    /// A number that no other model of this process has.
    pub number: u64,
    /// The model with its ids, titles and histories.
    pub recommender: Recommender,
    /// What JSON replies end with: the model's name, version and hash.
    pub tail: String,
    /// The nanoseconds that a pair took of late; [`NOT_SEEN`] before the first.
    pair_ns: AtomicU64,
    /// How many replies it gave, and those before it of the same name and version.
    pub replies: Arc<AtomicU64>,
}

const NOT_SEEN: u64 = u64::MAX;

impl Served {
    /// Serves a recommender under a name; `hash` is that of its manifest.
    pub fn new(name: &str, version: &str, hash: String, recommender: Recommender) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let text = |text: &str| serde_json::to_string(text).expect("a text is JSON");
        let (model, of) = (text(name), text(version));
        Self {
            tail: format!(",\"model\":{model},\"version\":{of},\"hash\":\"{hash}\""),
            name: name.to_owned(),
            version: version.to_owned(),
            hash,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            recommender,
            pair_ns: NOT_SEEN.into(),
            replies: Arc::default(),
        }
    }

    /// Notes how long pairs took to score, over HTTP.
    pub fn took(&self, pairs: usize, time: Duration) {
        let new = time.as_nanos() as u64 / pairs.max(1) as u64;
        let of_late = match self.pair_ns.load(Ordering::Relaxed) {
            NOT_SEEN => new,
            // Near the median, in steps of an eighth: that a thread had to wait for its processor says nothing of a model.
            before if new > before => before + before / 8 + 1,
            before => before - before / 8,
        };
        self.pair_ns.store(of_late, Ordering::Relaxed);
    }

    /// Returns how long pairs take to score, by what they took of late; `None` before the first.
    pub fn takes(&self, pairs: usize) -> Option<Duration> {
        let pair = self.pair_ns.load(Ordering::Relaxed);
        (pair != NOT_SEEN).then(|| Duration::from_nanos(pair.saturating_mul(pairs as u64)))
    }

    /// Returns `name@hash`, for headers and messages.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.hash)
    }
}

/// The models as they stand at one moment: a batch is answered by one set from its beginning to its end.
pub type Set = BTreeMap<String, Arc<Served>>;
