//! What the files hold of one user, and the files without it.

use std::fs;
use std::path::{Path, PathBuf};

use burnrec_data::read::read_text_columns;
use burnrec_data::table::drop_rows;
use burnrec_data::write::{list_dir, sync_dir};
use burnrec_data::{Error, Id, OwnedId, Result};
use serde::Serialize;

use super::{COMMITTED, Committed, EventFiles};

/// An event of a user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldEvent {
    /// The item's id.
    pub item: OwnedId,
    /// The rating or weight.
    pub value: f32,
    /// When it came, in Unix milliseconds.
    pub time_ms: i64,
    /// Its topic, partition and offset, as `topic/partition/offset`.
    pub source: String,
}

/// A file, with the rows of a user marked.
struct Marked {
    path: PathBuf,
    is_user: Vec<bool>,
}

impl EventFiles {
    /// Opens a directory that a drain wrote, as [`EventFiles::open`] does, and makes none.
    ///
    /// # Errors
    /// As [`EventFiles::open`], and when no drain wrote it.
    pub fn open_drained(dir: &Path) -> Result<Self> {
        if !dir.join(COMMITTED).exists() {
            let found = if dir.is_dir() { format!("no {COMMITTED}") } else { "no directory".to_owned() };
            return Err(Error::malformed(dir, found, "a directory that `burnrec drain` wrote"));
        }
        Self::open(dir)
    }

    /// Returns the events of a user, in the order of days.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of_user(&self, user: Id<'_>) -> Result<Vec<HeldEvent>> {
        let mut held = Vec::new();
        for Marked { path, is_user } in self.marked(user)? {
            if !is_user.contains(&true) {
                continue;
            }
            let columns = read_text_columns(&path, &["item", "value", "timestamp", "source"])?;
            for row in (0..is_user.len()).filter(|row| is_user[*row]) {
                let [item, value, time, source] = [0, 1, 2, 3].map(|column| &columns[column][row]);
                let bad = |name: &str, found: &str, expected: &str| {
                    let found = format!("{found:?} in {name:?} of row {}", row + 1);
                    Error::malformed(&path, found, expected)
                };
                held.push(HeldEvent {
                    item: Id::Str(item).into(),
                    value: value.parse().map_err(|_| bad("value", value, "a number"))?,
                    time_ms: time.parse().map_err(|_| bad("timestamp", time, "Unix milliseconds"))?,
                    source: source.clone(),
                });
            }
        }
        Ok(held)
    }

    /// Writes the files that have events of a user again without them, each whole; returns how many events are gone. Where the
    /// topics are read on stays, so that a drain goes on as before, and events of the user that it has not read come with it.
    ///
    /// # Errors
    /// When a file cannot be read or written; those before it are then without the user.
    pub fn erase(&mut self, user: Id<'_>) -> Result<u64> {
        let (mut gone, mut left) = (0, 0);
        for Marked { path, is_user } in self.marked(user)? {
            let of_user = is_user.iter().filter(|is_user| **is_user).count();
            if of_user == is_user.len() && of_user > 0 {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                sync_dir(path.parent().unwrap_or(&self.dir))?;
            } else if of_user > 0 {
                drop_rows(&path, &is_user)?;
            }
            gone += of_user as u64;
            left += (is_user.len() - of_user) as u64;
        }
        // Also after a call that was stopped before it could count.
        if left != self.committed.events {
            self.put(Committed { events: left, ..self.committed.clone() })?;
        }
        Ok(gone)
    }

    /// Returns all files, with the rows of a user marked.
    fn marked(&self, user: Id<'_>) -> Result<Vec<Marked>> {
        let mut all = Vec::new();
        let is_day = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("day=")) && path.is_dir()
        };
        for day in list_dir(&self.dir)?.into_iter().filter(is_day) {
            let is_table = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "parquet");
            for path in list_dir(&day)?.into_iter().filter(is_table) {
                let users = read_text_columns(&path, &["user"])?.pop().unwrap_or_default();
                all.push(Marked { path, is_user: users.iter().map(|text| Id::Str(text) == user).collect() });
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_files::EventRow;

    const DAY: i64 = 86_400_000;

    /// Adds events of users on days, and reads partition 0 on from an offset.
    fn add(dir: &Path, rows: &[(&str, i64)], next: i64) {
        let mut files = EventFiles::open(dir).unwrap();
        for (at, (user, day)) in rows.iter().enumerate() {
            let source = format!("requests/0/{at}");
            let (user, item) = ((*user).to_owned(), format!("item-{at}"));
            files.add(EventRow { user, item, value: 0.5, time_ms: day * DAY + at as i64, source });
        }
        files.commit("requests", &[(0, next)].into()).unwrap();
    }

    #[test]
    fn a_user_leaves_the_files_and_a_drain_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        add(dir, &[("7", 0), ("007", 0), ("ann-with-a-long-id", 0), ("7", 1), ("ann-with-a-long-id", 2)], 50);
        add(dir, &[("ann-with-a-long-id", 2), ("7", 2)], 60);
        let mut files = EventFiles::open_drained(dir).unwrap();
        let held = files.of_user(Id::Str("ann-with-a-long-id")).unwrap();
        let expected = [("item-2", 2, 2), ("item-4", 2 * DAY + 4, 4), ("item-0", 2 * DAY, 0)];
        let found: Vec<(String, i64, &str)> = held
            .iter()
            .map(|event| (event.item.id().to_string(), event.time_ms, event.source.as_str()))
            .collect();
        let expected = expected.map(|(item, time, at)| (item.to_owned(), time, format!("requests/0/{at}")));
        assert!(found.iter().zip(&expected).all(|(a, b)| (&a.0, a.1, a.2) == (&b.0, b.1, b.2.as_str())));
        assert_eq!((files.erase(Id::Str("ann-with-a-long-id")).unwrap(), files.n_events()), (3, 4));
        assert_eq!(files.erase(Id::Str("ann-with-a-long-id")).unwrap(), 0);
        assert_eq!(files.of_user(Id::Str("ann-with-a-long-id")).unwrap(), []);
        for entry in list_dir(dir).unwrap().into_iter().filter(|path| path.is_dir()) {
            for file in list_dir(&entry).unwrap() {
                let bytes = fs::read(&file).unwrap();
                assert!(!bytes.windows(8).any(|bytes| bytes == b"ann-with"), "{}", file.display());
            }
        }
        // One id is not another, however alike they look.
        assert_eq!((files.erase(Id::Int(7)).unwrap(), files.n_events()), (3, 1));
        assert_eq!(files.of_user(Id::Str("007")).unwrap().len(), 1);
        assert_eq!(files.erase(Id::Str("nobody")).unwrap(), 0);
        drop(files);
        assert_eq!(EventFiles::open(dir).unwrap().next()["requests"][&0], 60);
        add(dir, &[("7", 3)], 70);
        let files = EventFiles::open_drained(dir).unwrap();
        assert_eq!((files.n_events(), files.of_user(Id::Int(7)).unwrap().len()), (2, 1));
    }

    #[test]
    fn what_no_drain_wrote_is_refused_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        for dir in [folder.path().to_owned(), folder.path().join("none")] {
            let error = EventFiles::open_drained(&dir).err().expect("an error").to_string();
            assert!(error.contains("expected a directory that `burnrec drain` wrote"), "{error}");
        }
        assert!(list_dir(folder.path()).unwrap().is_empty());
    }
}
