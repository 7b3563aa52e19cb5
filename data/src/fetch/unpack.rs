//! Unpacks an archive that is not trusted: no entry may leave its folder, be a link, or fill the disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::write::list_dir;
use crate::{Error, Result};

/// The most bytes that are unpacked, far more than any MovieLens dataset has.
const MOST_BYTES: u64 = 8 << 30;

/// Unpacks `archive`, which came from `url`, into the new folder `into`; returns the folder that holds the files: the
/// one folder at the top of the archive, if all is in one.
///
/// # Errors
/// When the archive is damaged or has an entry that is not plainly a file or folder inside it, or a file cannot be
/// written.
pub fn unpack(archive: &Path, url: &str, into: &Path) -> Result<PathBuf> {
    let bad = |found: String| Error::Download {
        url: url.to_owned(),
        found,
        expected: "a zip archive of files".to_owned(),
    };
    let file = File::open(archive).map_err(Error::io("read", archive))?;
    let mut archive = ZipArchive::new(file).map_err(|error| bad(error.to_string()))?;
    fs::create_dir_all(into).map_err(Error::io("create", into))?;
    let mut left = MOST_BYTES;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| bad(error.to_string()))?;
        let name = entry.name().map_err(|error| bad(error.to_string()))?.into_owned();
        let inside = entry.enclosed_name().filter(|_| !entry.is_symlink() && !name.starts_with('/'));
        let Some(path) = inside.map(|inside| into.join(inside)) else {
            return Err(bad(format!("the entry {name:?}, a link or outside of its folder")));
        };
        if entry.is_dir() {
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let mut out = File::create(&path).map_err(Error::io("create", &path))?;
        let copied = copy(&mut entry, &mut out, left, &path).map_err(|error| match error {
            Failed::Read(error) => bad(format!("the entry {name:?}: {error}")),
            Failed::Write(error) => error,
        })?;
        left = left.checked_sub(copied).ok_or_else(|| bad(format!("over {MOST_BYTES} bytes")))?;
    }
    match list_dir(into)?.as_slice() {
        [only] if only.is_dir() => Ok(only.clone()),
        _ => Ok(into.to_owned()),
    }
}

enum Failed {
    Read(io::Error),
    Write(Error),
}

/// Copies at most one byte more than `left`; returns the number of bytes.
fn copy(entry: &mut impl Read, out: &mut File, left: u64, path: &Path) -> Result<u64, Failed> {
    let (mut entry, mut block, mut copied) = (entry.take(left + 1), vec![0; 1 << 16], 0);
    loop {
        let n = entry.read(&mut block).map_err(Failed::Read)?;
        if n == 0 {
            return Ok(copied);
        }
        io::Write::write_all(out, &block[..n])
            .map_err(|error| Failed::Write(Error::io("write", path)(error)))?;
        copied += n as u64;
    }
}
