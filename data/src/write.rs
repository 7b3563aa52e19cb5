//! Writes files, and folders of files, that appear whole or not at all, in directories that one process at a time changes; lists
//! directories.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

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
    let parent = parent(path);
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
        Err(TryLockError::WouldBlock) => {
            Err(Error::malformed(dir, "another process that changes it", "one at a time"))
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
    }
}

/// Waits until no other process changes a file, and keeps others from it until what is returned is closed. The lock is a file
/// beside it, `.NAME.lock`, as the file itself is exchanged when it is written.
///
/// # Errors
/// When the lock cannot be made.
pub fn lock_file(path: &Path) -> Result<File> {
    let folder = parent(path);
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let path = folder.join(format!(".{name}.lock"));
    let lock = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io("write", &path))?;
    lock.lock().map_err(Error::io("lock", &path))?;
    Ok(lock)
}

/// Waits until the names in a directory are on disk.
///
/// # Errors
/// When the system says so.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("write", dir))
}

/// Returns the paths of what is in a directory, sorted.
///
/// # Errors
/// When it cannot be read.
pub fn list_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut paths: Vec<PathBuf> = entries.map_err(Error::io("read", dir))?;
    paths.sort();
    Ok(paths)
}

/// Fills a temporary folder beside `path`, and renames it to `path` once it is filled.
///
/// # Errors
/// When there is something at `path` but an empty folder, or `fill` fails; nothing is left behind then.
pub fn write_folder<E: From<Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let is_free = !path.exists() || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !is_free {
        let found = "a folder with files, or a file";
        return Err(Error::malformed(path, found, "a new folder, which is written whole").into());
    }
    let parent = parent(path);
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(parent)
        .map_err(Error::io("write", path))?;
    fill(folder.path())?;
    fs::rename(folder.path(), path).map_err(Error::io("write", path))?;
    // The folder has another name now, under which nothing removes it.
    let _ = folder.keep();
    Ok(())
}

/// Returns the folder that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let fails = write_folder(&path, |inside| {
            write_file(&inside.join("x"), b"1")?;
            Err(Error::setting("x", "1", "2"))
        });
        assert!(fails.is_err() && !path.exists());
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 0, "nothing is left behind");
        fs::create_dir_all(&path).unwrap();
        write_folder(&path, |inside| write_file(&inside.join("x/y"), b"1")).unwrap();
        assert_eq!(fs::read(path.join("x/y")).unwrap(), b"1");
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
        let error = write_folder(&path, |_| Ok::<(), Error>(())).unwrap_err().to_string();
        assert!(error.contains("expected a new folder"), "{error}");
        assert_eq!(fs::read(path.join("x/y")).unwrap(), b"1", "what is there stays");
    }
}
