//! The audit log: a line for each call that is to change something before it does and one with its outcome after, and a line for
//! each call that is refused.
//!
//! It is bounded: a file of a size moves aside for the next, and the oldest goes. Refused calls are written up to a number a
//! minute for each caller, and for all strangers together, and counted beyond it, so that they cannot push out what others did.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burnrec_data::Error as DataError;
use burnrec_data::calendar::date_time;
use serde_json::{Value, json};

use crate::Result;
use crate::clock::{Clock, SystemClock};
use crate::http::bearer::{Bearer, Kind};

/// The file's name; older ones have a number after it.
const NAME: &str = "audit.jsonl";

/// At how many bytes a file moves aside.
const BYTES: u64 = 16 << 20;

/// How many older files are kept.
const OLDER: u32 = 8;

/// How many refused calls of a caller are written in a minute.
const REFUSED: u64 = 60;

/// A call.
pub struct Call<'a> {
    /// Who made it, if that is known.
    pub by: Option<&'a Bearer>,
    /// The method and the path.
    pub what: String,
    /// The status of the answer; none before there is one.
    pub status: Option<u16>,
    /// What was changed, or why it was refused.
    pub text: String,
}

/// The open file.
pub struct Audit {
    dir: PathBuf,
    file: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: u64,
    minute: i64,
    /// How many refused calls each caller made in that minute; those of strangers are under none.
    refused: BTreeMap<Option<(Kind, String)>, u64>,
}

impl Audit {
    /// Opens the log of a directory that this process has locked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(dir: &Path) -> Result<Self> {
        let (file, bytes) = append(&dir.join(NAME))?;
        Ok(Self {
            dir: dir.to_owned(),
            file: Mutex::new(Open { file, bytes, minute: 0, refused: BTreeMap::new() }),
        })
    }

    /// Writes a call down. It is on disk then.
    ///
    /// # Errors
    /// When it is not.
    pub fn write(&self, call: &Call<'_>) -> Result<()> {
        let now = SystemClock.unix_ms() / 1000;
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if now / 60 != open.minute {
            open.minute = now / 60;
            for (by, n) in std::mem::take(&mut open.refused) {
                if let Some(more) = n.checked_sub(REFUSED).filter(|more| *more > 0) {
                    let of = if by.is_some() { "" } else { " of nobody who is known" };
                    let text = format!("{more} more calls{of} were refused in a minute before");
                    let (kind, by) = by.map(|(kind, name)| (kind.name(), name)).unzip();
                    let line = json!({ "at": date_time(now), "by": by, "kind": kind, "text": text });
                    self.line(&mut open, &line)?;
                }
            }
        }
        if call.status.is_some_and(|status| status >= 400) {
            let by = call.by.map(|by| (by.kind, by.name.clone()));
            let n = open.refused.entry(by).or_default();
            *n += 1;
            if *n > REFUSED {
                return Ok(());
            }
        }
        let (by, kind) = call.by.map(|by| (by.name.as_str(), by.kind.name())).unzip();
        let line = json!({
            "at": date_time(now), "by": by, "kind": kind, "call": call.what, "status": call.status, "text": call.text,
        });
        self.line(&mut open, &line)
    }

    fn line(&self, open: &mut Open, line: &Value) -> Result<()> {
        let path = self.dir.join(NAME);
        let line = format!("{line}\n");
        if open.bytes + line.len() as u64 > BYTES {
            let older = |at: u32| self.dir.join(format!("{NAME}.{at}"));
            for at in (1..OLDER).rev() {
                rename(&older(at), &older(at + 1))?;
            }
            rename(&path, &older(1))?;
            (open.file, open.bytes) = append(&path)?;
        }
        let written = open.file.write_all(line.as_bytes()).and_then(|()| open.file.sync_data());
        if written.is_err() {
            // A part of a line must not be the beginning of the next.
            drop(open.file.set_len(open.bytes));
        }
        written.map_err(DataError::io("write", &path))?;
        open.bytes += line.len() as u64;
        Ok(())
    }

    /// Returns the last calls, the newest last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last(&self, n: usize) -> Result<Vec<Value>> {
        // The file before as well: this one may have just begun.
        let text = [format!("{NAME}.1"), NAME.to_owned()].map(|name| {
            let path = self.dir.join(name);
            match fs::read_to_string(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
                text => text.map_err(DataError::io("read", &path)),
            }
        });
        let [before, now] = text;
        let text = before? + &now?;
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(n)..].iter();
        Ok(last.filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

/// Opens a file to go on with; a line that a crash cut short ends where it was cut.
fn append(path: &Path) -> Result<(File, u64)> {
    let open = OpenOptions::new().create(true).append(true).read(true).open(path);
    let mut file = open.map_err(DataError::io("write", path))?;
    let mut bytes = file.metadata().map_err(DataError::io("read", path))?.len();
    if bytes > 0 {
        let mut last = [0];
        let read = file.seek(SeekFrom::Start(bytes - 1)).and_then(|_| file.read_exact(&mut last));
        read.map_err(DataError::io("read", path))?;
        if last != *b"\n" {
            file.write_all(b"\n").map_err(DataError::io("write", path))?;
            bytes += 1;
        }
    }
    Ok((file, bytes))
}

/// Renames a file, where there is one.
fn rename(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => Ok(done.map_err(DataError::io("rename", from))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    #[test]
    fn refused_calls_cannot_push_out_what_others_did() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        let bearer = |name: &str| Bearer { name: name.into(), kind: Kind::Token, roles: vec![Role::Operate] };
        let call = |by: Option<&'static str>, status: u16, text: &str| {
            let (by, what) = (by.map(bearer), "PUT /v1/config".into());
            let call = Call { by: by.as_ref(), what, status: Some(status), text: text.to_owned() };
            audit.write(&call).unwrap();
        };
        call(Some("anna"), 200, "first");
        (0..10_000).for_each(|_| call(None, 401, "no token"));
        (0..1000).for_each(|_| call(Some("job"), 403, "no role"));
        call(Some("anna"), 200, "last");
        let lines = audit.last(usize::MAX).unwrap();
        // The minute may end once in between.
        assert!(lines.len() as u64 <= 2 + 2 * 2 * REFUSED + 2, "{}", lines.len());
        assert_eq!((&lines[0]["text"], &lines[lines.len() - 1]["text"]), (&json!("first"), &json!("last")));
        audit.file.lock().unwrap().minute -= 1;
        call(None, 401, "no token");
        let lines = audit.last(3).unwrap();
        assert!(lines[0]["text"].as_str().unwrap().contains("more calls of nobody"), "{lines:?}");
        assert!(lines[1]["text"].as_str().unwrap().contains("more calls were refused"), "{lines:?}");
        assert_eq!((&lines[1]["by"], &lines[1]["kind"]), (&json!("job"), &json!("token")));
        // A file that is full moves aside, and its calls are still found.
        audit.file.lock().unwrap().bytes = BYTES;
        call(Some("anna"), 200, "new file");
        assert!(folder.path().join("audit.jsonl.1").exists());
        assert_eq!(audit.last(2).unwrap()[0]["text"], "no token");
        drop(audit);
        // A line that was cut short is not glued to the next.
        fs::write(folder.path().join(NAME), "{\"at\":\"2026").unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        let anna = bearer("anna");
        let begun =
            Call { by: Some(&anna), what: "POST /v1/pause".into(), status: None, text: "begun".into() };
        audit.write(&begun).unwrap();
        let lines = audit.last(1).unwrap();
        assert_eq!((&lines[0]["text"], &lines[0]["status"]), (&json!("begun"), &Value::Null));
    }
}
