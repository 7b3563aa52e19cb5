//! The index that the flows of a storm write to: what is committed is found in it, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burnrec_serve::config::ProvenanceConfig;
use burnrec_serve::event::TopicPartition;
use burnrec_serve::metrics::Metrics;
use burnrec_serve::provenance::{Found, Index, Query, Wanted};
use tempfile::TempDir;

use crate::twin::Record;

/// What was written for each event: words of how it ended, and the records.
type Written = BTreeMap<(TopicPartition, i64), (Vec<String>, Vec<Record>)>;

/// How many events were found in all storms, and of how many of them it was not known whether they were committed.
pub static FOUND: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// An index in a directory of its own.
pub struct Indexed {
    pub index: Arc<Index>,
    _folder: TempDir,
}

impl Indexed {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        // The simulated time is years ago.
        let config =
            ProvenanceConfig { dir: folder.path().into(), hours: u32::MAX, ..ProvenanceConfig::default() };
        let index = Index::open(&config, &Arc::<Metrics>::default()).expect("an index");
        Self { index, _folder: folder }
    }

    /// Returns all events by their sources.
    fn all(&self) -> BTreeMap<String, Vec<Found>> {
        let mut all: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        let wanted = Wanted { limit: Some(1000), ..Wanted::default() };
        let mut next = Some(Query::read(wanted, self.index.ids()).expect("a query"));
        while let Some(query) = next {
            let page = self.index.search(&query).expect("a page");
            next = query.after(&page);
            page.events
                .into_iter()
                .for_each(|found| all.entry(found.source.clone()).or_default().push(found));
        }
        all
    }

    /// Checks that what has an outcome in the topics is found, with that outcome, and nothing else is; with exactly-once no event is
    /// found twice, unless a commit's end was not known to the worker that lost the partition meanwhile.
    pub fn check(&self, written: &Written, exactly_once: bool, storm: &str) {
        let mut all = self.all();
        for ((part, offset), (words, _)) in written {
            let topic = ["first", "second"][usize::from(part.topic)];
            let source = format!("{topic}/{}/{offset}", part.partition);
            let found =
                all.remove(&source).unwrap_or_else(|| panic!("{source} is not in the index: {storm}"));
            let is_written = |found: &Found| words.contains(&found.facts.outcome);
            let confirmed: Vec<&Found> = found.iter().filter(|found| !found.facts.unconfirmed).collect();
            FOUND[0].fetch_add(found.len() as u64, Ordering::Relaxed);
            FOUND[1].fetch_add((found.len() - confirmed.len()) as u64, Ordering::Relaxed);
            if exactly_once {
                assert!(confirmed.len() <= 1, "{source} is found {} times: {storm}", confirmed.len());
                assert!(
                    confirmed.iter().all(|found| is_written(found)),
                    "{confirmed:?}, not {words:?}: {storm}"
                );
            }
            assert!(found.iter().any(is_written), "{found:?}, not {words:?}: {storm}");
        }
        assert!(all.is_empty(), "{:?} come from nowhere: {storm}", all.keys());
    }
}
