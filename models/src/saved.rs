//! Saved runs: a directory with all that recommending and serving need, each file of which is written whole or not at
//! all.
//!
//! `weights`, `vocab` (outside ids), `seen` (each user's history), `titles` where there are titles, `chosen` where the
//! model was chosen before it was trained on valid as well and others may start from it, all in safetensors, and
//! `manifest.json`. The manifest is written last, by rename, and holds the hash of every other file: a directory without
//! a manifest is no saved run. The names of the other files hold their hashes (`weights-3f2a91c0d1e2.safetensors`), so
//! that a run which replaces another overwrites none of its files: the old run is whole until the new manifest is there.

mod erase;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burnrec_data::tensors::{self, Tensor, TensorFile};
use burnrec_data::vocab_file as stored;
use burnrec_data::write::{list_dir, write_file, write_file_with};
use burnrec_data::{Error as DataError, Prepared, hash};
use serde::{Deserialize, Serialize};

use crate::device::{DeviceChoice, OpenDevice};
#[cfg(feature = "train")]
use crate::learner::Phase;
use crate::model::{ModelConfig, Output};
use crate::recommender::{DataFacts, Recommender};
use crate::scorer::Shape;
use crate::{Error, Result};

pub use erase::{UserInRun, erase_user, runs_of, user_in};

/// The number of the format that this program writes and the only one it reads.
pub const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "weights";
const CHOSEN: &str = "chosen";
const VOCAB: &str = "vocab";
const SEEN: &str = "seen";
const TITLES: &str = "titles";

/// What a run directory says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: u32,
    /// The version of the program that wrote it.
    pub version: String,
    /// The model's settings.
    pub model: ModelConfig,
    /// What a score means.
    pub output: Output,
    /// The number of users.
    pub n_users: usize,
    /// The number of items.
    pub n_items: usize,
    /// SHA-256 of each file beside the manifest, by what it holds.
    pub files: BTreeMap<String, String>,
    /// What the model was trained on.
    pub data: DataFacts,
    /// How it was trained and what it scored: the run record, as it was when the run ended.
    pub record: serde_json::Value,
    /// The SHA-256 that the manifest had before a user was erased from the run, each time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

impl Recommender {
    /// Opens a run directory, as training writes it. A network scores on a graphics card if there is one, else on the
    /// CPU; other models always on the CPU.
    ///
    /// # Errors
    /// When there is no finished run, the kind of model is unknown, or a file is missing, changed or of another format.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(dir, DeviceChoice::Auto)
    }

    /// Opens a run directory with a device for networks to score on.
    ///
    /// # Errors
    /// As [`Recommender::open`], and when the device cannot be had.
    pub fn open_on(dir: impl AsRef<Path>, device: DeviceChoice) -> Result<Self> {
        let dir = dir.as_ref();
        let mut found = manifest(dir)?;
        loop {
            let device = found.model.scores_on().open(device)?;
            let opened = open(dir, &found, &device);
            // A run that was replaced between the reading of its manifest and that of its files is no broken one.
            let now = if opened.is_err() { manifest(dir)? } else { return opened };
            if now.files == found.files {
                return opened;
            }
            found = now;
        }
    }

    /// Writes a run directory, which is all that recommending and serving need. The manifest is written last, by
    /// rename; a run that is there already can be opened until then, and is gone afterwards.
    ///
    /// # Errors
    /// When a file cannot be written, and the directory then holds the run that it held before or none; or when it
    /// holds something that is no run.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        make_room(dir, true)?;
        let mut files = BTreeMap::new();
        let kind = self.kind();
        put(dir, kind, WEIGHTS, &self.model.weights_in(dir), &mut files)?;
        if let Some(chosen) = &self.chosen {
            put(dir, kind, CHOSEN, &chosen.weights_in(dir), &mut files)?;
        }
        let ids = stored::vocab_tensors("users", self.users.vocab()).into_iter();
        let ids = ids.chain(stored::vocab_tensors("items", self.items.vocab())).collect::<Vec<_>>();
        put(dir, kind, VOCAB, &ids, &mut files)?;
        put(dir, kind, SEEN, &stored::csr_tensors("seen", &self.seen), &mut files)?;
        if let Some(titles) = &self.titles {
            put(dir, kind, TITLES, &stored::titles_tensors("titles", titles), &mut files)?;
        }
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.model.config(),
            output: self.output,
            n_users: self.model.n_users(),
            n_items: self.model.n_items(),
            files,
            data: self.data.clone(),
            record: self.record.clone(),
            before: Vec::new(),
        };
        put_manifest(dir, &manifest)
    }
}

/// Puts the manifest of a run in place, whose other files are there, and removes those of the run that it replaces.
fn put_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let text =
        serde_json::to_vec_pretty(manifest).expect("a manifest has only string keys and finite numbers");
    write_file(&dir.join(MANIFEST), &text)?;
    remove_others(dir, &manifest.files)
}

/// Copies a run to another directory, where it appears whole or not at all.
///
/// # Errors
/// When there is no run, `to` holds another one or something else, or a file cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let found = manifest(from)?;
    make_room(to, false)?;
    let put = |source: &Path, target: &Path| -> Result<()> {
        let mut source = std::fs::File::open(source).map_err(DataError::io("read", source))?;
        Ok(write_file_with(target, |file| std::io::copy(&mut source, file).map(|_| ()))?)
    };
    found.files.keys().try_for_each(|name| put(&path(from, &found, name), &path(to, &found, name)))?;
    put(&from.join(MANIFEST), &to.join(MANIFEST))
}

/// Reads the manifest of a run directory and checks its format.
///
/// # Errors
/// When there is none, it cannot be read, or it is of another format.
pub fn manifest(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let bad =
        |found: String, expected: &str| Error::Run { path: path.clone(), found, expected: expected.into() };
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::Run {
            path: dir.to_owned(),
            found: format!("no {MANIFEST}"),
            expected: "a finished run directory, as `burnrec train … --out` writes it".into(),
        },
        _ => bad(error.to_string(), "a readable manifest"),
    })?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| bad(error.to_string(), "JSON"))?;
    let format = value.get("format").cloned().unwrap_or_default();
    if format != FORMAT {
        return Err(bad(format!("format {format}"), "format 1; train again with this version of burnrec"));
    }
    serde_json::from_value(value).map_err(|error| bad(error.to_string(), "the manifest of a run"))
}

/// Opens the run of a manifest, checking every file against its hash and every array against its shape.
fn open(dir: &Path, manifest: &Manifest, device: &OpenDevice) -> Result<Recommender> {
    let file = |name: &str| checked(dir, manifest, name);
    let fits = |name: &str, what: &str, found: usize, expected: usize| {
        if found == expected {
            return Ok(());
        }
        let expected = format!("{expected}, as the manifest says");
        Err(Error::Run { path: path(dir, manifest, name), found: format!("{found} {what}"), expected })
    };
    let shape = Shape { n_users: manifest.n_users, n_items: manifest.n_items };
    let ids = file(VOCAB)?;
    let model = manifest.model.load(&file(WEIGHTS)?, shape, device)?;
    let (users, items) = (stored::read_vocab(&ids, "users")?, stored::read_vocab(&ids, "items")?);
    let titles = match manifest.files.contains_key(TITLES) {
        true => Some(stored::read_titles(&file(TITLES)?, "titles")?),
        false => None,
    };
    let seen = stored::read_csr(&file(SEEN)?, "seen")?;
    fits(VOCAB, "users", users.len(), shape.n_users)?;
    fits(VOCAB, "items", items.len(), shape.n_items)?;
    fits(SEEN, "rows", seen.n_rows(), shape.n_users)?;
    fits(SEEN, "columns", seen.n_cols(), shape.n_items)?;
    if let Some(titles) = &titles {
        fits(TITLES, "titles", titles.0.len(), shape.n_items)?;
    }
    let recommender = Recommender::new(model, users, items, seen).with_titles(titles);
    Ok(recommender.with_record(manifest.data.clone(), manifest.record.clone()))
}

/// Which weights of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The weights as they were chosen on valid, of a model that was not trained on it.
    Chosen,
    /// The final weights, which are served.
    Final,
}

#[cfg(feature = "train")]
impl Stage {
    /// Returns the weights that a fit of another run may start from: none that know valid, while something is chosen on it.
    pub fn of(phase: Phase) -> Self {
        match phase {
            Phase::Choose => Self::Chosen,
            Phase::Refit => Self::Final,
        }
    }
}

/// Opens the weights of a run, checked against their hash. Without a refit those chosen on valid are the final ones.
///
/// # Errors
/// When the file is missing or changed, or the run was refitted on valid and kept no weights from before.
pub fn weights(dir: &Path, manifest: &Manifest, stage: Stage) -> Result<TensorFile> {
    let has_chosen = manifest.files.contains_key(CHOSEN);
    if stage == Stage::Chosen
        && !has_chosen
        && manifest.record.pointer("/config/refit") != Some(&false.into())
    {
        let found = "a run that kept no weights from before it was trained on valid".to_owned();
        let expected =
            "one trained with keep_chosen = true, as what starts from it is chosen on valid".to_owned();
        return Err(Error::Run { path: dir.to_owned(), found, expected });
    }
    checked(dir, manifest, if stage == Stage::Chosen && has_chosen { CHOSEN } else { WEIGHTS })
}

/// Returns the SHA-256 of a run's manifest, which holds those of all its other files.
///
/// # Errors
/// When there is none.
pub fn manifest_hash(dir: &Path) -> Result<String> {
    Ok(hash::file(&dir.join(MANIFEST))?)
}

/// Returns the first 12 hex digits of [`manifest_hash`], by which replies and releases name a run.
///
/// # Errors
/// When there is no manifest.
pub fn short_manifest_hash(dir: &Path) -> Result<String> {
    Ok(hash::short(&manifest_hash(dir)?).to_owned())
}

/// Refuses a run that was trained on other data, or has other users, for the setting `key` that names it.
///
/// # Errors
/// When it was, or has.
pub fn check_data(key: &str, dir: &Path, manifest: &Manifest, data: &Prepared) -> Result<()> {
    let Manifest { data: DataFacts { name, hash, .. }, .. } = manifest;
    if data.had_hash(hash) {
        if stored::read_vocab(&checked(dir, manifest, VOCAB)?, "users")? == data.users {
            return Ok(());
        }
        let found = format!("a run of {} users in {}", manifest.n_users, dir.display());
        let expected = format!("one of the same {} users as the data: {ERASED_FROM_ONE}", data.users.len());
        return Err(Error::config(key, found, expected));
    }
    let found = format!("a run on {name:?} ({hash}) in {}", dir.display());
    let expected = format!("one on the same split, {:?} ({})", data.name, data.manifest.hash);
    Err(Error::config(key, found, expected))
}

fn checked(dir: &Path, manifest: &Manifest, name: &str) -> Result<TensorFile> {
    let path = path(dir, manifest, name);
    let expected = manifest.files.get(name).cloned().unwrap_or_default();
    let found = hash::file(&path)?;
    if found != expected {
        let (found, expected) = (format!("SHA-256 {found}"), format!("{expected}, as the manifest says"));
        return Err(Error::Run { path, found, expected });
    }
    Ok(TensorFile::open(&path)?)
}

/// Makes room for a run in `dir`: creates it. With `replace` a run may be there; it stays until another is saved.
///
/// # Errors
/// When there is a run and `replace` is not set, when there is anything else with a manifest, such as prepared data,
/// or when the system refuses.
pub fn make_room(dir: &Path, replace: bool) -> Result<()> {
    let path = dir.join(MANIFEST);
    if path.exists() {
        let is_run = manifest(dir).is_ok();
        if !is_run || !replace {
            let found = if is_run { "a finished run" } else { "something that is no run of this format" };
            let expected =
                if is_run { "a new directory, or --force to replace it" } else { "a new directory" };
            return Err(Error::Run { path: dir.to_owned(), found: found.into(), expected: expected.into() });
        }
    }
    Ok(std::fs::create_dir_all(dir).map_err(DataError::io("create", dir))?)
}

/// Writes a file of a run, which says in its metadata what it belongs to.
fn put<N: AsRef<str>>(
    dir: &Path,
    kind: &str,
    name: &str,
    arrays: &[(N, Tensor)],
    files: &mut BTreeMap<String, String>,
) -> Result<()> {
    let staged = dir.join(format!("{name}{ENDING}"));
    let format = format!("burnrec-run-{FORMAT}");
    tensors::write_with(&staged, arrays, &[("format", &format), ("model", kind), ("holds", name)])?;
    let hash = hash::file(&staged)?;
    let path = dir.join(file_name(name, &hash));
    std::fs::rename(&staged, &path).map_err(DataError::io("write", &path))?;
    files.insert(name.to_owned(), hash);
    Ok(())
}

const ENDING: &str = ".safetensors";

/// What is to be done where a run and its data do not have the same users.
pub const ERASED_FROM_ONE: &str = "who was erased from one is to be erased from the other as well";

/// Returns the name of a file that holds this and has this hash.
fn file_name(name: &str, hash: &str) -> String {
    format!("{name}-{}{ENDING}", hash::short(hash))
}

/// Returns the path of a file of a run.
pub fn path(dir: &Path, manifest: &Manifest, name: &str) -> PathBuf {
    dir.join(file_name(name, manifest.files.get(name).map_or("", String::as_str)))
}

/// Removes the files of runs that were here before, finished or not.
fn remove_others(dir: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    let kept: Vec<String> = files.iter().map(|(name, hash)| file_name(name, hash)).collect();
    let is_ours = |file: &str| {
        let Some(stem) = file.strip_suffix(ENDING) else { return false };
        let name = stem.split_once('-').map_or(stem, |(name, _)| name);
        [WEIGHTS, CHOSEN, VOCAB, SEEN, TITLES].contains(&name)
    };
    for path in list_dir(dir)? {
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if is_ours(file) && !kept.iter().any(|kept| kept == file) {
            std::fs::remove_file(&path).map_err(DataError::io("remove", &path))?;
        }
    }
    Ok(())
}
