//! Writes files that appear whole or not at all.

use std::fs::{self, File};
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
