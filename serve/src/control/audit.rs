//! The audit log: a line for each call that changes something, or that is refused.
//!
//! It is bounded: a file of a size moves aside for the next, and the oldest goes. Calls of strangers, whom no token names, are
//! written up to a number a minute and counted beyond it, so that they cannot push out what others did.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burnrec_data::Error as DataError;
use burnrec_data::calendar::date_time;
use serde_json::{Value, json};

use crate::Result;
use crate::clock::{Clock, SystemClock};

/// The file's name; older ones have a number after it.
const NAME: &str = "audit.jsonl";

/// At how many bytes a file moves aside.
const BYTES: u64 = 16 << 20;

/// How many older files are kept.
const OLDER: u32 = 8;

/// How many calls of strangers are written in a minute.
const STRANGERS: u64 = 60;

/// A call.
pub struct Call<'a> {
    /// The name of the token, if one was brought.
    pub by: Option<&'a str>,
    /// The method and the path.
    pub what: String,
    /// The status of the answer.
    pub status: u16,
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
    /// The minute, and how many calls of strangers came in it.
    strangers: (i64, u64),
}

impl Audit {
    /// Opens the log of a directory that this process has locked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(dir: &Path) -> Result<Self> {
        let (file, bytes) = append(&dir.join(NAME))?;
        Ok(Self { dir: dir.to_owned(), file: Mutex::new(Open { file, bytes, strangers: (0, 0) }) })
    }

    /// Writes a call down. It is on disk then.
    ///
    /// # Errors
    /// When it is not.
    pub fn write(&self, call: &Call<'_>) -> Result<()> {
        let now = SystemClock.unix_ms() / 1000;
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if call.by.is_none() {
            let (minute, more) = (now / 60, open.strangers.1.saturating_sub(STRANGERS));
            if minute != open.strangers.0 {
                if more > 0 {
                    let text =
                        format!("{more} more calls without a token that is known, in the minute before");
                    self.line(&mut open, &json!({ "at": date_time(now), "text": text }))?;
                }
                open.strangers = (minute, 0);
            }
            open.strangers.1 += 1;
            if open.strangers.1 > STRANGERS {
                return Ok(());
            }
        }
        let line = json!({
            "at": date_time(now), "by": call.by, "call": call.what, "status": call.status, "text": call.text,
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
        written.map_err(DataError::io("write", &path))?;
        open.bytes += line.len() as u64;
        Ok(())
    }

    /// Returns the last calls, the newest last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn last(&self, n: usize) -> Result<Vec<Value>> {
        let path = self.dir.join(NAME);
        let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(n)..].iter();
        Ok(last.filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

fn append(path: &Path) -> Result<(File, u64)> {
    let open = OpenOptions::new().create(true).append(true).open(path);
    let file = open.map_err(DataError::io("write", path))?;
    let bytes = file.metadata().map_err(DataError::io("read", path))?.len();
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

    #[test]
    fn strangers_cannot_push_out_what_others_did() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        let call = |by: Option<&'static str>, text: &str| {
            let call = Call { by, what: "PUT /v1/config".into(), status: 401, text: text.to_owned() };
            audit.write(&call).unwrap();
        };
        call(Some("anna"), "first");
        (0..10_000).for_each(|_| call(None, "no token"));
        call(Some("anna"), "last");
        let lines = audit.last(usize::MAX).unwrap();
        // The minute may end once in between.
        assert!(lines.len() as u64 <= 2 + 2 * STRANGERS + 1, "{}", lines.len());
        assert_eq!((&lines[0]["text"], &lines[lines.len() - 1]["text"]), (&json!("first"), &json!("last")));
        audit.file.lock().unwrap().strangers.0 -= 1;
        call(None, "no token");
        let lines = audit.last(2).unwrap();
        assert!(lines[0]["text"].as_str().unwrap().contains("more calls without"), "{lines:?}");
        // The log goes on in a file that is there, and moves one that is full aside.
        audit.file.lock().unwrap().bytes = BYTES;
        call(Some("anna"), "new file");
        assert_eq!(audit.last(9).unwrap().len(), 1);
        assert!(folder.path().join("audit.jsonl.1").exists());
        drop(audit);
        assert_eq!(Audit::open(folder.path()).unwrap().last(9).unwrap()[0]["text"], "new file");
    }
}
