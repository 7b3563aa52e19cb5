//! What a saved run holds of one user, and the run without it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burnrec_data::held::HeldRow;
use burnrec_data::tensors::{Tensor, TensorFile};
use burnrec_data::vocab_file::{csr_tensors, read_csr, read_vocab, vocab_tensors};
use burnrec_data::{Id, UserIx, Vocab};
use serde::Serialize;

use super::{
    CHOSEN, Manifest, SEEN, VOCAB, WEIGHTS, checked, manifest, manifest_hash, path, put, put_manifest,
};
use crate::device::DeviceChoice;
use crate::model::ModelConfig;
use crate::scorer::Shape;
use crate::user_array::{HeldArray, UserArray, without_user};
use crate::{Error, Result};

/// What a run holds of a user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UserInRun {
    /// The value of the `model` key.
    pub model: String,
    /// The rows that the run was trained on.
    pub seen: Vec<HeldRow>,
    /// The user's rows of the weights, by the names of the arrays.
    pub weights: BTreeMap<String, HeldArray>,
    /// Those of the weights that were chosen on valid, where the run keeps them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub chosen: BTreeMap<String, HeldArray>,
}

/// A run from which a user is looked up, with the ids that it knows.
struct Opened {
    manifest: Manifest,
    users: Vocab,
    items: Vocab,
}

impl Opened {
    fn open(dir: &Path) -> Result<Self> {
        let manifest = manifest(dir)?;
        let ids = checked(dir, &manifest, VOCAB)?;
        Ok(Self { users: read_vocab(&ids, "users")?, items: read_vocab(&ids, "items")?, manifest })
    }

    /// Returns the files of weights that the run has.
    fn weights(&self) -> impl Iterator<Item = &'static str> {
        [WEIGHTS, CHOSEN].into_iter().filter(|name| self.manifest.files.contains_key(*name))
    }

    fn user_arrays(&self) -> Result<Vec<UserArray>> {
        let model = &self.manifest.model;
        let lacks = "list of what its weights have of each user, so that one could be erased from them";
        model.user_arrays().ok_or_else(|| Error::Unable { kind: model.kind(), lacks })
    }
}

/// Returns what a run holds of a user; none where its vocabulary does not have the id. What the runs hold that it takes its scores
/// from is theirs.
///
/// # Errors
/// When there is no run, a file is missing or changed, or the family does not say what its weights have of each user.
pub fn user_in(dir: &Path, user: Id<'_>) -> Result<Option<UserInRun>> {
    let run = Opened::open(dir)?;
    let Some(user) = run.users.row(user).map(UserIx) else { return Ok(None) };
    let arrays = run.user_arrays()?;
    let held = |name: &str| -> Result<BTreeMap<String, HeldArray>> {
        let file = checked(dir, &run.manifest, name)?;
        let of = |array: &UserArray| -> Result<(String, HeldArray)> {
            Ok((array.name().to_owned(), array.held(&file, user, &run.items)?))
        };
        arrays.iter().map(of).collect()
    };
    let seen = read_csr(&checked(dir, &run.manifest, SEEN)?, "seen")?;
    let chosen = run.manifest.files.contains_key(CHOSEN);
    Ok(Some(UserInRun {
        model: run.manifest.model.kind().to_owned(),
        seen: HeldRow::of_history(&seen.history(user.at()), &run.items),
        weights: held(WEIGHTS)?,
        chosen: if chosen { held(CHOSEN)? } else { BTreeMap::new() },
    }))
}

/// Returns the directories of the runs that a run takes its scores from.
///
/// # Errors
/// When there is no run, or a file is missing or changed.
pub fn runs_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let run = Opened::open(dir)?;
    let mut all = BTreeSet::new();
    for name in run.weights() {
        all.extend(run.manifest.model.runs_in(&checked(dir, &run.manifest, name)?)?);
    }
    Ok(all.into_iter().collect())
}

/// Writes a run again without a user: without the id, the history and the user's rows of the weights. The rows of all others have the
/// bits that they had. Returns whether the run had the user. A user is erased first from the runs that it takes its scores
/// from, so that the same call goes on where it was stopped. The manifest is replaced last, by rename: services take the run up as
/// one that was trained anew.
///
/// # Errors
/// As [`user_in`], when it is the only user of the run, or a file cannot be written; the run then is as it was.
pub fn erase_user(dir: &Path, user: Id<'_>) -> Result<bool> {
    let run = Opened::open(dir)?;
    for part in runs_of(dir)? {
        erase_user(&part, user)?;
    }
    let Some(row) = run.users.row(user).map(UserIx) else { return Ok(false) };
    if run.users.len() < 2 {
        let expected = "another user beside the one who is erased; remove the run".to_owned();
        return Err(Error::Run { path: dir.to_owned(), found: "its only user".to_owned(), expected });
    }
    let (arrays, found) = (run.user_arrays()?, &run.manifest);
    let mut left = found.clone();
    left.before.push(manifest_hash(dir)?);
    left.n_users -= 1;
    let shape = Shape { n_users: left.n_users, n_items: left.n_items };
    let kind = found.model.kind();
    let mut write = |name: &str, tensors: &[(String, Tensor)]| put(dir, kind, name, tensors, &mut left.files);
    for name in run.weights() {
        write(name, &without_user(&checked(dir, found, name)?, &arrays, row, run.items.len())?)?;
    }
    let ids = [vocab_tensors("users", &run.users.without(row.0)), vocab_tensors("items", &run.items)];
    write(VOCAB, &ids.into_iter().flatten().collect::<Vec<_>>())?;
    let seen = read_csr(&checked(dir, found, SEEN)?, "seen")?;
    write(SEEN, &csr_tensors("seen", &seen.without_row(row.at())))?;
    for name in run.weights() {
        check(&left.model, &TensorFile::open(&path(dir, &left, name))?, shape)?;
    }
    put_manifest(dir, &left)?;
    Ok(true)
}

/// Opens the weights as a model: a family whose arrays are not those that it named is noticed before the run is replaced.
fn check(model: &ModelConfig, weights: &TensorFile, shape: Shape) -> Result<()> {
    let device = model.scores_on().open(DeviceChoice::Cpu)?;
    model.load(weights, shape, &device).map(|_| ())
}
