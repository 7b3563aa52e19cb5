//! A part of a blend: a saved run, opened with the weights of one of its stages, and how a blend names it in its own files.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::device::OpenDevice;
use crate::model::Model;
use crate::saved::{self, Stage};
use crate::scorer::Shape;
use crate::{Error, Result};

/// A saved run that a blend takes scores from.
pub struct Part {
    saved: SavedPart,
    model: Box<dyn Model>,
}

/// How a blend names a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedPart {
    /// The run directory: in a file by its path from the file's directory, where it has one.
    run: PathBuf,
    /// SHA-256 of the run's manifest.
    manifest: String,
    /// Which of its weights.
    stage: Stage,
}

impl Part {
    /// Opens the weights of a stage of a run.
    ///
    /// # Errors
    /// When there is no finished run, it does not have the weights of this stage, or a file is missing or changed.
    pub fn open(run: &Path, stage: Stage, device: &OpenDevice) -> Result<Self> {
        let (manifest, hash) = (saved::manifest(run)?, saved::manifest_hash(run)?);
        let weights = saved::weights(run, &manifest, stage)?;
        let shape = Shape { n_users: manifest.n_users, n_items: manifest.n_items };
        let model = manifest.model.load(&weights, shape, device)?;
        let run = run.canonicalize().unwrap_or_else(|_| run.to_owned());
        Ok(Self { saved: SavedPart { run, manifest: hash, stage }, model })
    }

    /// Returns the model.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// Returns the run directory.
    pub fn run(&self) -> &Path {
        &self.saved.run
    }

    /// Returns how a file in `dir` names the part.
    pub(super) fn named_from(&self, dir: &Path) -> SavedPart {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        SavedPart { run: relative(&dir, &self.saved.run), ..self.saved.clone() }
    }
}

impl SavedPart {
    /// Returns the run directory that a file in `dir` names.
    pub(super) fn run_from(&self, dir: &Path) -> PathBuf {
        dir.join(&self.run)
    }

    /// Opens the part that a file in `dir` names so.
    ///
    /// # Errors
    /// When the run is gone, or is not the one that was named.
    pub(super) fn open(&self, dir: &Path, device: &OpenDevice) -> Result<Part> {
        let run = self.run_from(dir);
        let refused = |found: String, expected: &str| {
            let expected =
                format!("{expected} the blend in {} was made of; train the blend again", dir.display());
            Error::Run { path: run.clone(), found, expected }
        };
        let manifest = saved::manifest(&run).map_err(|error| match error {
            Error::Run { found, .. } => refused(found, "a run that"),
            other => other,
        })?;
        let found = saved::manifest_hash(&run)?;
        // A run from which users were erased is the same one for a blend from which they are erased as well: the number of users
        // says whether they are, since whom a blend loses its parts have lost before.
        if found != self.manifest && !manifest.before.contains(&self.manifest) {
            let expected = format!("the one with {} that", self.manifest);
            return Err(refused(format!("a run whose manifest has SHA-256 {found}"), &expected));
        }
        Part::open(&run, self.stage, device)
    }
}

/// Returns the path of `to` from the directory `from`, both absolute; `to` itself where they have no folder in common.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let is_common = |component: &Component<'_>| matches!(component, Component::Normal(_));
    if !to.components().take(common).any(|component| is_common(&component)) {
        return to.to_owned();
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_from_a_directory_leads_there() {
        for (from, to, expected) in [
            ("/a/runs/blend", "/a/runs/als", "../als"),
            ("/a/runs/blend/checkpoints/choose-1", "/a/runs/als", "../../../als"),
            ("/a", "/a/als", "als"),
            ("/a/blend", "/a", ".."),
            ("/a/blend", "/b/als", "/b/als"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(expected), "from {from} to {to}");
        }
    }
}
