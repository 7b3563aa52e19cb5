//! The versions in a file: a line of JSON each, the newest last.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burnrec_data::Error as DataError;
use burnrec_data::write::{sync_dir, write_file};

use super::Version;
use super::version::{KEPT, keep_newest};
use crate::Result;

/// The file's name.
const NAME: &str = "versions.jsonl";

/// The file, open for the next version.
pub struct FileLog {
    path: PathBuf,
    /// The file, and how many versions it holds.
    file: Mutex<(File, usize)>,
}

impl FileLog {
    /// Reads the versions of a directory that this process has locked.
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Version>)> {
        let path = dir.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.map_err(DataError::io("read", &path))?,
        };
        // What a crash cut short was never taken up.
        let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
        let version = |(at, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|error| DataError::Malformed {
                path: path.clone(),
                line: Some(at as u64 + 1),
                found: error.to_string(),
                expected: "a version of the config as the service writes it".to_owned(),
            })
        };
        let mut versions: Vec<Version> = whole.lines().enumerate().map(version).collect::<Result<_, _>>()?;
        keep_newest(&mut versions);
        rewrite(&path, &versions)?;
        let file = Mutex::new((append(&path)?, versions.len()));
        Ok((Self { path, file }, versions))
    }

    /// Adds a version; it is on disk then. `kept` returns those before it that are kept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&self, version: &Version, kept: impl FnOnce() -> Vec<Version>) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.1 >= 2 * KEPT {
            let kept = kept();
            rewrite(&self.path, &kept)?;
            *file = (append(&self.path)?, kept.len());
        }
        let end = file.0.metadata().map_err(DataError::io("read", &self.path))?.len();
        let written = file.0.write_all(line(version).as_bytes()).and_then(|()| file.0.sync_data());
        if written.is_err() {
            // A part of a line must not be the beginning of the next.
            drop(file.0.set_len(end));
        }
        written.map_err(DataError::io("write", &self.path))?;
        file.1 += 1;
        Ok(())
    }
}

fn append(path: &Path) -> Result<File> {
    Ok(OpenOptions::new().append(true).open(path).map_err(DataError::io("write", path))?)
}

fn rewrite(path: &Path, versions: &[Version]) -> Result<()> {
    let text: String = versions.iter().map(line).collect();
    write_file(path, text.as_bytes())?;
    Ok(path.parent().map_or(Ok(()), sync_dir)?)
}

fn line(version: &Version) -> String {
    let mut line = serde_json::to_string(version).expect("a version has only string keys");
    line.push('\n');
    line
}
