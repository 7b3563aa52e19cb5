//! Shared by tests: the folder of real data, and counted skips.

use std::io::Write;
use std::path::PathBuf;

/// Returns a folder of real data (`ml-1m`, …) in the folder that `BURNREC_DATA` names, or in `../shared/data` beside
/// the repository; MovieLens may not be redistributed, so that it can be absent, which is then a counted skip.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let folder = std::env::var_os("BURNREC_DATA").map_or_else(beside, PathBuf::from).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(
        "data",
        &format!("{} is not there; set BURNREC_DATA to the folder that holds {name}", folder.display()),
    );
    None
}

/// Prints that a test was skipped for want of `what` (`data`, `gpu`), and adds a line to the file that
/// `BURNREC_SKIPS` names, if it does.
///
/// # Panics
/// When that file cannot be written: a skip must not go uncounted.
pub fn skipped(what: &str, why: &str) {
    let line = format!("{what}: {why}");
    eprintln!("SKIPPED {line}");
    if let Some(path) = std::env::var_os("BURNREC_SKIPS") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("the file of skips can be opened"), "{line}").expect("and written");
    }
}
