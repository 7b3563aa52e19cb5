//! A copy of a run that others open without any other run.

use std::path::Path;

use burnrec_data::Error as DataError;
use burnrec_models::{DeviceChoice, Recommender, saved};

use crate::Result;

/// Opens a run, and copies it to `dir` where that is another directory.
///
/// # Errors
/// When the run cannot be opened, takes its scores from other runs, or `dir` holds another one.
pub(super) fn open_alone(run: &Path, dir: &Path) -> Result<Recommender> {
    let recommender = Recommender::open_on(run, DeviceChoice::Cpu)?;
    if let Some(part) = recommender.model.runs().first() {
        let found = format!("a {} of other runs, the first {}", recommender.kind(), part.display());
        return Err(DataError::malformed(run, found, "a run that needs no other").into());
    }
    if !is_same(run, dir) {
        saved::copy(run, dir)?;
    }
    Ok(recommender)
}

fn is_same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
