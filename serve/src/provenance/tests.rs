//! Blocks as they are written and read, searched, thinned out and erased from.

use std::sync::Arc;

use burnrec_data::Id;

use super::block::{Block, Head};
use super::record::{Batch, Facts, ModelFacts, Row};
use super::{Found, Index, Page, Query, Wanted, erase_user, user_events};
use crate::config::ProvenanceConfig;
use crate::event::{HTTP, TopicPartition};
use crate::metrics::Metrics;

/// An index in a directory of its own.
struct Bench {
    folder: tempfile::TempDir,
    metrics: Arc<Metrics>,
    index: Arc<Index>,
}

impl Bench {
    fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::<Metrics>::default();
        let index = Index::open(&config(&folder, bytes), &metrics).unwrap();
        Self { folder, metrics, index }
    }

    /// Closes the index and opens it again.
    fn reopen(&mut self) {
        self.index.close();
        let config = self.index.config.clone();
        // The file is open once in a process.
        let closed = Bench::new(1 << 30).index;
        drop(std::mem::replace(&mut self.index, closed));
        self.index = Index::open(&config, &self.metrics).unwrap();
    }

    fn find(&self, wanted: Wanted) -> Page {
        self.index.search(&Query::read(wanted, self.index.ids()).unwrap()).unwrap()
    }

    fn of_user(&self, user: i64) -> Vec<Found> {
        self.find(Wanted { user: Some(user.to_string()), ..Wanted::default() }).events
    }

    /// Returns a batch of `n` events from an offset on; the user, the item and the id of each are its offset by a rest.
    fn batch(&self, offset: i64, n: i64, at_ms: i64) -> Batch {
        let ids = self.index.ids();
        let facts = |outcome: &str| Facts {
            kind: "score".into(),
            outcome: outcome.into(),
            model: Some(ModelFacts {
                name: "main".into(),
                version: "v1".into(),
                hash: "h".into(),
                data: "d".into(),
            }),
            config: 3,
            attempts: 1,
            ..Facts::default()
        };
        let row = |offset: i64| Row {
            part: TopicPartition { topic: 0, partition: (offset % 4) as i32 },
            offset,
            facts: u16::from(offset % 100 == 0),
            latency_us: 900 + (offset % 50) as u32,
            user: ids.user(Id::Int(offset % 1000)),
            id: ids.request(Id::Int(offset)),
            items: 1,
        };
        Batch {
            topics: ["requests".to_owned()].into(),
            at_ms,
            facts: vec![facts("replied"), facts("rejected")],
            rows: (offset..offset + n).map(row).collect(),
            items: (offset..offset + n).map(|offset| ids.item(Id::Int(offset % 77))).collect(),
            inputs: Vec::new(),
        }
    }
}

fn config(folder: &tempfile::TempDir, bytes: u64) -> ProvenanceConfig {
    ProvenanceConfig { dir: folder.path().join("index"), bytes, ..ProvenanceConfig::default() }
}

fn now_ms() -> i64 {
    burnrec_data::calendar::unix_ms()
}

fn sources(page: &[Found]) -> Vec<&str> {
    page.iter().map(|found| found.source.as_str()).collect()
}

#[test]
fn a_block_is_read_as_it_was_written() {
    let bench = Bench::new(1 << 30);
    let mut block = Block::default();
    block.add(bench.batch(-3, 1000, 1_700_000_000_000));
    let mut http = bench.batch(1, 1, 1_600_000_000_000);
    (http.rows[0].part, http.rows[0].offset, http.rows[0].latency_us) = (HTTP, i64::MAX, u32::MAX);
    http.inputs.push((0, b"{}".to_vec()));
    block.add(http);
    let read = |block: &Block| {
        let encoded = block.encode();
        let head: Head = serde_json::from_slice(&encoded.head).unwrap();
        let bytes = encoded.bytes();
        // Whatever is broken off, nothing panics.
        for cut in (0..encoded.body.len()).step_by(97) {
            assert!(Block::decode(&head, &encoded.body[..cut]).is_none_or(|cut| cut != *block));
        }
        (Block::decode(&head, &encoded.body).unwrap(), head, bytes)
    };
    let (same, head, bytes) = read(&block);
    assert_eq!(same, block);
    assert_eq!((head.events, head.from_ms, head.to_ms), (1001, 1_600_000_000_000, 1_700_000_000_000));
    assert_eq!((head.parts.len(), head.facts.len()), (8, 2));
    assert!(bytes < 1001 * 30, "{bytes} bytes");
    assert_eq!(block.encode().body.len(), head.body_bytes());
    let user = bench.index.ids().user(Id::Int(1));
    assert_eq!(block.remove(|event| event.user == user), 2);
    let (same, head, _) = read(&block);
    assert_eq!((same, head.events), (block.clone(), 999));
    assert!(block.inputs.is_empty(), "the message was the user's");
    assert_eq!(block.remove(|_| true), 999);
    assert_eq!(read(&block).0.events, []);
}

#[test]
fn events_are_found_by_all_that_is_known_of_them() {
    let bench = Bench::new(1 << 30);
    let begin = now_ms() - 100_000;
    (0..100).for_each(|k| bench.index.take(vec![bench.batch(1000 * k, 1000, begin + 1000 * k)]));
    let text = |text: &str| Some(text.to_owned());
    let of_user = bench.of_user(7);
    assert_eq!(of_user.len(), 50, "a page");
    assert_eq!(&sources(&of_user)[..2], ["requests/3/99007", "requests/3/98007"], "the newest first");
    assert!(of_user[0].facts.model.as_ref().is_some_and(|model| model.data == "d"));
    let last = &of_user[0];
    assert_eq!((last.at_ms, last.latency_us, last.facts.config), (begin + 99_000, 907, 3));
    // Pages follow each other without a gap.
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = bench.find(Wanted { item: text("5"), limit: Some(7), cursor, ..Wanted::default() });
        all.extend(page.events.iter().map(|found| found.source.clone()));
        cursor = page.cursor();
        if cursor.is_none() {
            break;
        }
    }
    let of_item = (0..100_000).filter(|offset| offset % 77 == 5).rev();
    assert_eq!(
        all,
        of_item.map(|offset| format!("requests/{}/{offset}", offset % 4)).collect::<Vec<String>>()
    );
    let one = |wanted: Wanted| sources(&bench.find(wanted).events).join(" ");
    assert_eq!(one(Wanted { id: text("54321"), ..Wanted::default() }), "requests/1/54321");
    assert_eq!(one(Wanted { source: text("requests/1/54321"), ..Wanted::default() }), "requests/1/54321");
    assert_eq!(
        one(Wanted { source: text("requests/1/54320-54330"), ..Wanted::default() }),
        "requests/1/54329 requests/1/54325 requests/1/54321"
    );
    let (from, to) = ((begin + 5000).to_string(), (begin + 6000).to_string());
    let window = |wanted: Wanted| Wanted { from: text(&from), to: text(&to), limit: Some(1000), ..wanted };
    assert_eq!(bench.find(window(Wanted::default())).events.len(), 1000);
    let rejected = bench.find(window(Wanted { outcome: text("rejected"), ..Wanted::default() }));
    assert_eq!(sources(&rejected.events)[0], "requests/0/5900");
    assert_eq!(rejected.events.len(), 10);
    for (wanted, n) in [
        (Wanted { user: text("x"), ..Wanted::default() }, 0),
        (Wanted { user: text("7"), item: text("6"), ..Wanted::default() }, 2),
        (Wanted { model: text("main"), ..Wanted::default() }, 50),
        (Wanted { model: text("d"), kind: text("score"), ..Wanted::default() }, 50),
        (Wanted { model: text("other"), ..Wanted::default() }, 0),
        (Wanted { source: text("other"), ..Wanted::default() }, 0),
        (Wanted { source: text("requests/9"), ..Wanted::default() }, 0),
        (Wanted { replay: Some(1), ..Wanted::default() }, 0),
        (Wanted { kind: text("event"), ..Wanted::default() }, 0),
    ] {
        assert_eq!(bench.find(wanted.clone()).events.len().min(50), n.min(50), "{wanted:?}");
    }
    for (wanted, word) in [
        (Wanted { source: text("a/b"), ..Wanted::default() }, "topic/partition/offset"),
        (Wanted { source: text("a/1/5-3"), ..Wanted::default() }, "topic/partition/offset"),
        (Wanted { from: text("yesterday"), ..Wanted::default() }, "from"),
        (Wanted { to: text("2026-02-30T00:00:00Z"), ..Wanted::default() }, "to"),
        (Wanted { limit: Some(0), ..Wanted::default() }, "limit"),
        (Wanted { cursor: text("x"), ..Wanted::default() }, "cursor"),
    ] {
        let error = Query::read(wanted, bench.index.ids()).unwrap_err();
        assert!(error.starts_with(word.split('/').next().unwrap()) || error.contains(word), "{error}");
    }
}

#[test]
fn a_restart_goes_on_and_what_is_old_or_too_much_goes() {
    let mut bench = Bench::new(64 << 20);
    bench
        .index
        .take(vec![bench.batch(0, 1000, now_ms() - 25 * 3_600_000), bench.batch(1000, 1000, now_ms())]);
    assert_eq!(sources(&bench.of_user(7)), ["requests/3/1007"], "what is older than a day is not found");
    bench.reopen();
    bench.index.take(vec![bench.batch(2000, 1000, now_ms())]);
    assert_eq!(sources(&bench.of_user(7)), ["requests/3/2007", "requests/3/1007"]);
    // More than fits.
    for k in 0..4000 {
        bench.index.take(vec![bench.batch(3000 + 1000 * k, 1000, now_ms())]);
        if k % 100 == 0 {
            bench.index.flush().unwrap();
        }
    }
    assert_eq!(sources(&bench.of_user(7))[0], "requests/3/4002007");
    let oldest = bench.find(Wanted { source: Some("requests/3/0-3000".into()), ..Wanted::default() });
    assert!(oldest.events.is_empty());
    let length = std::fs::metadata(bench.folder.path().join("index/events.redb")).unwrap().len();
    assert!(length <= 64 << 20, "{length} bytes");
    assert_eq!(bench.metrics.provenance.missed.get(), 0);
}

#[test]
fn too_many_that_wait_are_counted_as_missed() {
    let bench = Bench::new(1 << 30);
    let batch = bench.batch(0, 1000, now_ms());
    let n = super::MOST_QUEUED / batch.weight() + 1;
    bench.index.take(std::iter::repeat_n(batch, n).collect());
    assert_eq!(bench.metrics.provenance.missed.get(), 1000 * n as u64);
    bench.index.take(vec![bench.batch(7, 1, now_ms())]);
    assert_eq!(sources(&bench.of_user(7)), ["requests/3/7"]);
}

#[test]
fn who_is_erased_is_gone_from_the_file_and_from_memory() {
    let mut bench = Bench::new(1 << 30);
    bench.index.take(vec![bench.batch(0, 100_000, now_ms())]);
    bench.index.flush().unwrap();
    let dir = bench.folder.path().join("index");
    // These are in memory and not on disk, as those of a service that runs.
    bench.index.take(vec![bench.batch(100_000, 1000, now_ms())]);
    let other = bench.of_user(8).len();
    bench.index.take(vec![bench.batch(101_000, 1000, now_ms())]);
    assert!(user_events(&dir, Id::Int(7)).unwrap().len() >= 101);
    assert!(erase_user(&dir, Id::Str("7")).unwrap() >= 101);
    assert_eq!(user_events(&dir, Id::Int(7)).unwrap().len(), 0);
    assert_eq!(bench.of_user(7).len(), 0, "what was in memory as well");
    assert_eq!(bench.of_user(8).len(), other, "of others nothing is gone");
    bench.reopen();
    assert_eq!((bench.of_user(7).len(), user_events(&dir, Id::Int(8)).unwrap().len()), (0, 102));
    // Who comes back is found again.
    std::thread::sleep(std::time::Duration::from_millis(2));
    bench.index.take(vec![bench.batch(102_000, 1000, now_ms())]);
    assert_eq!(sources(&bench.of_user(7)), ["requests/3/102007"]);
    let nowhere = bench.folder.path().join("nowhere");
    assert_eq!(
        erase_user(&nowhere, Id::Int(7)).unwrap() + user_events(&nowhere, Id::Int(7)).unwrap().len(),
        0
    );
    assert!(!nowhere.exists());
}
