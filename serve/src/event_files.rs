//! Events kept as training data: Parquet files by day, each event in them once.
//!
//! ```text
//! DIR/day=2026-11-27/000012.parquet    user, item, value, timestamp (Unix milliseconds), source (topic/partition/offset)
//! DIR/_drained.json                    the last batch that is committed, and where each partition is read on
//! DIR/_batch-000013/                   the files of a batch that is not in place yet
//! ```
//!
//! A batch is written under `_batch-N`, then committed by the rename of a new `_drained.json`, then its files are renamed into
//! their days. Whoever opens the directory next finishes a batch that is committed and removes one that is not, so that a crash
//! at any point neither loses nor doubles an event. Readers of the directory pass over names that begin with `_`.

mod person;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burnrec_data::calendar::date;
use burnrec_data::table::{TableColumn, write_table};
use burnrec_data::write::{list_dir, lock_dir, sync_dir, write_file};
use burnrec_data::{Error, Result};
pub use person::HeldEvent;
use serde::{Deserialize, Serialize};

/// The number of the format of [`COMMITTED`] that this program writes and the only one it reads.
const FORMAT: u32 = 1;
const COMMITTED: &str = "_drained.json";

/// An event as a row of training data.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// The user's id.
    pub user: String,
    /// The item's id.
    pub item: String,
    /// The rating or weight.
    pub value: f32,
    /// When it came, in Unix milliseconds.
    pub time_ms: i64,
    /// Its topic, partition and offset, as `topic/partition/offset`.
    pub source: String,
}

/// Where partitions are read on, by topic: the offset of the first event that is not in the files.
pub type Next = BTreeMap<String, BTreeMap<i32, i64>>;

/// What is committed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Committed {
    format: u32,
    batch: u64,
    events: u64,
    next: Next,
}

/// A directory of events that one process at a time adds to.
pub struct EventFiles {
    dir: PathBuf,
    committed: Committed,
    rows: Vec<EventRow>,
    /// Holds the lock while it is open.
    _lock: File,
}

impl EventFiles {
    /// Opens a directory, or makes it, and puts what a crash left in order.
    ///
    /// # Errors
    /// When it cannot be read or written, is of another format, or another process adds to it.
    pub fn open(dir: &Path) -> Result<Self> {
        let lock = lock_dir(dir)?;
        let committed = committed(&dir.join(COMMITTED))?;
        let files = Self { dir: dir.to_owned(), committed, rows: Vec::new(), _lock: lock };
        files.settle()?;
        Ok(files)
    }

    /// Returns where partitions are read on.
    pub fn next(&self) -> &Next {
        &self.committed.next
    }

    /// Returns how many events are in the files.
    pub fn n_events(&self) -> u64 {
        self.committed.events
    }

    /// Returns how many events wait for the next commit.
    pub fn n_waiting(&self) -> usize {
        self.rows.len()
    }

    /// Adds an event to the batch that the next commit writes.
    pub fn add(&mut self, row: EventRow) {
        self.rows.push(row);
    }

    /// Writes the batch into the files, together with where partitions of a topic are read on; others stay as they are.
    ///
    /// # Errors
    /// When a file cannot be written; the directory then is as it was before, and the events still wait.
    pub fn commit(&mut self, topic: &str, next: &BTreeMap<i32, i64>) -> Result<()> {
        let mut committed = self.committed.clone();
        committed.next.entry(topic.to_owned()).or_default().extend(next);
        if committed == self.committed && self.rows.is_empty() {
            return Ok(());
        }
        committed.batch += 1;
        committed.events += self.rows.len() as u64;
        self.write_batch(committed.batch)?;
        self.put(committed)?;
        self.rows.clear();
        self.settle()
    }

    /// Writes down what is committed.
    fn put(&mut self, committed: Committed) -> Result<()> {
        let text = serde_json::to_vec_pretty(&committed).expect("a commit has only string keys");
        write_file(&self.dir.join(COMMITTED), &text)?;
        self.committed = committed;
        Ok(())
    }

    /// Writes the rows that wait as the files of a batch, one a day.
    fn write_batch(&self, batch: u64) -> Result<()> {
        let mut days: BTreeMap<String, Vec<&EventRow>> = BTreeMap::new();
        for row in &self.rows {
            days.entry(date(row.time_ms.div_euclid(1000))).or_default().push(row);
        }
        let folder = self.batch(batch);
        remove(&folder)?;
        for (day, rows) in days {
            let texts = |of: fn(&EventRow) -> &String| {
                TableColumn::Str(rows.iter().map(|row| of(row).clone()).collect())
            };
            let columns = [
                ("user", texts(|row| &row.user)),
                ("item", texts(|row| &row.item)),
                ("value", TableColumn::F32(rows.iter().map(|row| row.value).collect())),
                ("timestamp", TableColumn::I64(rows.iter().map(|row| row.time_ms).collect())),
                ("source", texts(|row| &row.source)),
            ];
            write_table(&folder.join(format!("day={day}.parquet")), &columns)?;
        }
        if folder.is_dir() { sync_dir(&folder) } else { Ok(()) }
    }

    /// Puts the files of the committed batch in place, and removes those of any other.
    fn settle(&self) -> Result<()> {
        let committed = self.batch(self.committed.batch);
        for entry in list_dir(&self.dir)? {
            if entry == committed {
                for file in list_dir(&entry)? {
                    let day = file.file_stem().expect("a file of a batch has a name");
                    let folder = self.dir.join(day);
                    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
                    let place = folder.join(format!("{:06}.parquet", self.committed.batch));
                    fs::rename(&file, &place).map_err(Error::io("rename", &file))?;
                    sync_dir(&folder)?;
                }
                sync_dir(&self.dir)?;
                remove(&entry)?;
            } else if is_batch(&entry) {
                remove(&entry)?;
            }
        }
        Ok(())
    }

    fn batch(&self, batch: u64) -> PathBuf {
        self.dir.join(format!("_batch-{batch:06}"))
    }
}

fn is_batch(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("_batch-"))
}

/// Reads what is committed; nothing is where there is no file.
fn committed(path: &Path) -> Result<Committed> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Committed { format: FORMAT, batch: 0, events: 0, next: Next::new() });
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let expected = "what a drain wrote last, of format 1";
    let found: Committed =
        serde_json::from_slice(&text).map_err(|error| Error::malformed(path, error.to_string(), expected))?;
    if found.format != FORMAT {
        return Err(Error::malformed(path, format!("format {}", found.format), expected));
    }
    Ok(found)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use burnrec_data::write::LOCK;

    use super::*;

    fn row(user: u32, time_ms: i64) -> EventRow {
        let source = format!("requests/0/{user}");
        EventRow { user: user.to_string(), item: "x".into(), value: 1.0, time_ms, source }
    }

    /// Returns the names of all files under a directory, without the lock.
    fn names(dir: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for path in list_dir(dir).unwrap() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match path.is_dir() {
                true => names.extend(self::names(&path).into_iter().map(|inner| format!("{name}/{inner}"))),
                false if name == LOCK => {}
                false => names.push(name),
            }
        }
        names.sort();
        names
    }

    const DAY: i64 = 86_400_000;

    fn add_batch(dir: &Path, users: std::ops::Range<u32>) {
        let mut files = EventFiles::open(dir).unwrap();
        let first = files.n_events();
        users.clone().for_each(|user| files.add(row(user, i64::from(user) * DAY)));
        files.commit("requests", &[(0, i64::from(users.end))].into()).unwrap();
        assert_eq!((files.n_events() - first, files.n_waiting()), (users.len() as u64, 0));
    }

    const FIRST: [&str; 3] =
        ["_drained.json", "day=1970-01-01/000001.parquet", "day=1970-01-02/000001.parquet"];

    #[test]
    fn events_are_in_the_files_of_their_days() {
        let dir = tempfile::tempdir().unwrap();
        add_batch(dir.path(), 0..2);
        assert_eq!(names(dir.path()), FIRST);
        add_batch(dir.path(), 2..2);
        add_batch(dir.path(), 1..2);
        assert_eq!(names(dir.path())[1..], [FIRST[1], FIRST[2], "day=1970-01-02/000002.parquet"]);
        assert_eq!(EventFiles::open(dir.path()).unwrap().next()["requests"][&0], 2);
    }

    #[test]
    fn a_batch_that_is_committed_is_put_in_place_after_a_crash_and_any_other_is_removed() {
        // The directory at each point of the second batch's way, as a crash there leaves it.
        let dir = tempfile::tempdir().unwrap();
        add_batch(dir.path(), 0..2);
        let mut files = EventFiles::open(dir.path()).unwrap();
        (0..2).for_each(|user| files.add(row(user, i64::from(user) * DAY)));
        files.write_batch(2).unwrap();
        let places = ["day=1970-01-01", "day=1970-01-02"].map(|day| format!("_batch-000002/{day}.parquet"));
        drop(files);
        assert_eq!(names(dir.path())[..2], places);
        let committed = EventFiles::open(dir.path()).unwrap();
        assert_eq!((names(dir.path()), committed.n_events()), (FIRST.map(String::from).to_vec(), 2));

        let mut files = committed;
        (0..2).for_each(|user| files.add(row(user, i64::from(user) * DAY)));
        files.write_batch(2).unwrap();
        let next = Committed { batch: 2, events: 4, ..files.committed.clone() };
        write_file(&dir.path().join(COMMITTED), &serde_json::to_vec(&next).unwrap()).unwrap();
        // One file is in its place, the other is not yet.
        fs::rename(dir.path().join(&places[0]), dir.path().join("day=1970-01-01/000002.parquet")).unwrap();
        drop(files);
        assert_eq!(EventFiles::open(dir.path()).unwrap().n_events(), 4);
        let both = |day: &str| [1, 2].map(|batch| format!("day=1970-01-{day}/00000{batch}.parquet"));
        let expected = [vec![FIRST[0].to_owned()], both("01").to_vec(), both("02").to_vec()].concat();
        assert_eq!(names(dir.path()), expected);
    }

    #[test]
    fn one_process_at_a_time_adds() {
        let dir = tempfile::tempdir().unwrap();
        let files = EventFiles::open(dir.path()).unwrap();
        let error = EventFiles::open(dir.path()).err().expect("an error").to_string();
        assert!(error.ends_with("found another process that changes it, expected one at a time"), "{error}");
        drop(files);
        fs::write(dir.path().join(COMMITTED), "{\"format\":2,\"batch\":0,\"events\":0,\"next\":{}}").unwrap();
        let error = EventFiles::open(dir.path()).err().expect("an error").to_string();
        assert!(error.contains("_drained.json: found format 2"), "{error}");
    }
}
