//! Parts of the names of files, of compressed ones too.

use std::path::Path;

/// The ends of the names of compressed files.
pub const COMPRESSED: [&str; 3] = [".gz", ".zst", ".zstd"];

/// Returns a file's name without the end that says that it is compressed.
pub fn uncompressed(name: &str) -> &str {
    COMPRESSED.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Returns the last part of a path, or all of one that has none.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Returns a file's name without its end, and without the one that says that it is compressed.
pub fn stem(path: &Path) -> String {
    let name = file_name(path);
    Path::new(uncompressed(&name)).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the end of a file's name in lower case, without the one that says that it is compressed.
pub fn extension(path: &Path) -> String {
    let name = file_name(path).to_ascii_lowercase();
    Path::new(uncompressed(&name)).extension().unwrap_or_default().to_string_lossy().into_owned()
}
