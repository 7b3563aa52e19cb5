//! Writes files that appear whole or not at all, in directories that one process at a time changes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// Writes a temporary file in the same directory, and renames it to `path` once all bytes are on disk.
///
/// # Errors
/// When a byte cannot be written, for example on a full disk; `path` is then as it was before.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_file_with(path, |file| file.write_all(bytes))
}

/// Does the same as [`write_file`], with the bytes written by `fill`.
///
/// # Errors
/// When `fill` fails or the file cannot be renamed to `path`, which is then as it was before.
pub fn write_file_with(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = || Error::io("write", path);
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent)
        .map_err(failed())?;
    fill(file.as_file_mut()).map_err(failed())?;
    file.as_file().sync_all().map_err(failed())?;
    file.persist(path).map_err(|error| failed()(error.error))?;
    Ok(())
}

/// The file by which a directory is locked. Readers pass over names that begin with `_`.
pub const LOCK: &str = "_lock";

/// Makes a directory where it is not there, and keeps other processes from changing it until the file that is returned is
/// closed.
///
/// # Errors
/// When another process has it, or it cannot be written.
pub fn lock_dir(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let path = dir.join(LOCK);
    let lock = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("write", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::malformed(dir, "another process that changes it", "one at a time")),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// Waits until the names in a directory are on disk.
///
/// # Errors
/// When the system says so.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("write", dir))
}

