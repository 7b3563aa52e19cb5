//! Checkpoints: after an epoch, all that the next ones depend on, so that a run that was stopped ends with the same
//! results as one that was not.
//!
//! `checkpoints/choose-3/` or `checkpoints/refit-2/` in the run directory holds the learner's state, the weights of the
//! best model so far (`best.safetensors`) in the fit that chooses the epoch, and `manifest.toml`: how far the run has
//! come, its config and data, and the hash of every other file. The manifest is written last, by rename: a directory
//! without it is ignored. It is TOML, whose reader gives each number back to the last bit. Only the newest checkpoint
//! is kept. No state of a generator is in it: every draw follows from the seed, the epoch and its position in the
//! epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use burnrec_data::tensors::{self, TensorFile};
use burnrec_data::write::{list_dir, write_file};
use burnrec_data::{Csr, Error as DataError, Prepared, hash};
use burnrec_models::device::OpenDevice;
use burnrec_models::{Error as ModelError, Learner, Phase, Shape};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::evaluate::Scores;
use crate::fit::{Best, FitState};
use crate::{Result, TrainConfig};

/// The number of the format that this program writes and the only one it reads.
const FORMAT: u32 = 1;

const CHECKPOINTS: &str = "checkpoints";
const MANIFEST: &str = "manifest.toml";
const BEST: &str = "best.safetensors";

/// The settings that do not change the results, so that a run may be resumed with other values.
const FREE: [&str; 1] = ["checkpoint_every"];

/// What a checkpoint says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the checkpoint.
    pub format: u32,
    /// The version of the program that wrote it.
    pub version: String,
    /// The fit under way.
    pub phase: Phase,
    /// Epochs of it that are done.
    pub epoch: u32,
    /// Training time of these, in seconds.
    pub fit_seconds: f64,
    /// Seconds of all fits and evaluations so far.
    pub total_seconds: f64,
    /// Evaluations on valid since the best one.
    #[serde(rename = "worse")]
    pub since_best: u32,
    /// The hash of the prepared split.
    pub data: String,
    /// The device that it was trained on, as in the run record.
    pub device: String,
    /// The best on valid so far.
    pub best: Option<BestSoFar>,
    /// What the fit that chooses gave, once it is over.
    pub chosen: Option<Chosen>,
    /// Every setting, defaults included.
    pub config: Table,
    /// SHA-256 of each file beside the manifest.
    pub files: BTreeMap<String, String>,
}

/// The best model on valid so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestSoFar {
    /// The epoch it is of.
    pub epoch: u32,
    /// Its value of the metric `select_by`, negated for metrics where lower is better.
    pub value: f64,
}

/// What the fit that chooses leaves to the final one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chosen {
    /// The number of epochs.
    pub epochs: u32,
    /// The scores of their model on valid.
    pub valid: Scores,
}

/// The checkpoints of one run directory.
pub struct Checkpoints {
    dir: PathBuf,
    every: u32,
    config: Table,
    data: String,
    device: String,
    newest: Option<(PathBuf, Manifest)>,
}

impl Checkpoints {
    /// Makes the checkpoints of a run that starts anew in `run`, and removes those that are there.
    ///
    /// # Errors
    /// When there is a checkpoint with a manifest and `replace` is not set, or the system refuses.
    pub fn start(
        run: &Path,
        config: &TrainConfig,
        data: &Prepared,
        device: &OpenDevice,
        replace: bool,
    ) -> Result<Self> {
        if !replace {
            refuse_stopped(run)?;
        }
        let checkpoints = Self::new(run, config, data, device);
        checkpoints.clear()?;
        Ok(checkpoints)
    }

    /// Opens the checkpoints of a run that goes on after its newest one in `run`; `None` where there is none with a
    /// manifest.
    ///
    /// # Errors
    /// When the checkpoint is of another config or other data, naming the key and both values, or one of its files is
    /// missing or changed.
    pub fn resume(
        run: &Path,
        config: &TrainConfig,
        data: &Prepared,
        device: &OpenDevice,
    ) -> Result<Option<Self>> {
        let mut checkpoints = Self::new(run, config, data, device);
        let Some((_, _, dir)) = newest(run)? else { return Ok(None) };
        let manifest = read(&dir)?;
        checkpoints.fits(&dir, &manifest)?;
        for (name, expected) in &manifest.files {
            let path = dir.join(name);
            let found = hash::file(&path)?;
            if found != *expected {
                let expected = format!("{expected}, as the checkpoint's manifest says; --force starts anew");
                return Err(DataError::malformed(path, format!("SHA-256 {found}"), expected).into());
            }
        }
        checkpoints.newest = Some((dir, manifest));
        Ok(Some(checkpoints))
    }

    /// Returns the manifest of the newest checkpoint, if there is one.
    pub fn newest(&self) -> Option<&Manifest> {
        self.newest.as_ref().map(|(_, manifest)| manifest)
    }

    /// Returns the device that this run trains on, as in its record.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Removes all checkpoints: of a run that is finished and saved, or starts anew.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn clear(&self) -> Result<()> {
        found(&self.dir)?.iter().try_for_each(|(_, _, checkpoint)| remove(checkpoint))?;
        // Files that are no checkpoint stay, and the directory with them.
        match fs::remove_dir(&self.dir) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(DataError::io("remove", &self.dir)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// Restores a new learner over `train`, and the state of its fit, from the newest checkpoint, if that is of this
    /// fit.
    ///
    /// # Errors
    /// When a file does not hold the state of such a learner.
    pub(crate) fn load(
        &self,
        phase: Phase,
        learner: &mut dyn Learner,
        train: &Csr,
        config: &TrainConfig,
        device: &OpenDevice,
    ) -> Result<FitState> {
        let Some((dir, manifest)) = self.newest.as_ref().filter(|(_, manifest)| manifest.phase == phase)
        else {
            return Ok(FitState::default());
        };
        learner.load_state(dir)?;
        let shape = Shape { n_users: train.n_rows(), n_items: train.n_cols() };
        let best = |BestSoFar { epoch, value }| -> Result<Best> {
            let model = config.model().load(&TensorFile::open(&dir.join(BEST))?, shape, device)?;
            Ok(Best { epoch, value, model })
        };
        let best = manifest.best.map(best).transpose()?;
        Ok(FitState {
            epoch: manifest.epoch,
            seconds: manifest.fit_seconds,
            since_best: manifest.since_best,
            best,
        })
    }

    /// Writes a checkpoint if one is due after this epoch (`checkpoint_every`), and then removes the older ones.
    ///
    /// # Errors
    /// When a file cannot be written; the older checkpoint then stays.
    pub(crate) fn save(
        &mut self,
        learner: &dyn Learner,
        state: &FitState,
        chosen: Option<&Chosen>,
        total_seconds: f64,
    ) -> Result<()> {
        if self.every == 0 || !state.epoch.is_multiple_of(self.every) {
            return Ok(());
        }
        let phase = if chosen.is_some() { Phase::Refit } else { Phase::Choose };
        let dir = self.dir.join(format!("{phase}-{}", state.epoch));
        if dir.exists() {
            remove(&dir)?;
        }
        fs::create_dir_all(&dir).map_err(DataError::io("create", &dir))?;
        learner.save_state(&dir)?;
        if let Some(best) = &state.best {
            self.put_best(&dir.join(BEST), best)?;
        }
        let manifest = Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase,
            epoch: state.epoch,
            fit_seconds: state.seconds,
            total_seconds,
            since_best: state.since_best,
            data: self.data.clone(),
            device: self.device.clone(),
            best: state.best.as_ref().map(|best| BestSoFar { epoch: best.epoch, value: best.value }),
            chosen: chosen.cloned(),
            config: self.config.clone(),
            files: hashes(&dir)?,
        };
        let text = toml::to_string(&manifest).expect("a manifest has only string keys and small integers");
        write_file(&dir.join(MANIFEST), text.as_bytes())?;
        self.newest = Some((dir.clone(), manifest));
        found(&self.dir)?.iter().filter(|(.., other)| *other != dir).try_for_each(|(.., older)| remove(older))
    }

    fn new(run: &Path, config: &TrainConfig, data: &Prepared, device: &OpenDevice) -> Self {
        Self {
            dir: run.join(CHECKPOINTS),
            every: config.run.checkpoint_every,
            config: config.to_table(),
            data: data.manifest.hash.clone(),
            device: config.device_name(device),
            newest: None,
        }
    }

    /// Refuses a checkpoint of other settings or other data than this run's.
    fn fits(&self, dir: &Path, manifest: &Manifest) -> Result<()> {
        let same = |key: &str, found: String, expected: String| match found == expected {
            true => Ok(()),
            false => {
                let expected = format!("{expected}, as {} has; --force starts anew", dir.display());
                Err(ModelError::config(key, found, expected))
            }
        };
        let told = |table: &Table, key| table.get(key).map_or_else(|| "none".to_owned(), Value::to_string);
        let keys: BTreeSet<&str> =
            self.config.keys().chain(manifest.config.keys()).map(String::as_str).collect();
        // The key `model` is compared first: another model differs in other keys as well, which would say less.
        for key in ["model"].into_iter().chain(keys).filter(|key| !FREE.contains(key)) {
            same(key, told(&self.config, key), told(&manifest.config, key))?;
        }
        Ok(same("data", self.data.clone(), manifest.data.clone())?)
    }

    /// Writes the weights of the best model, as a link if the newest checkpoint has them already.
    fn put_best(&self, path: &Path, best: &Best) -> Result<()> {
        let has_it = |manifest: &Manifest| manifest.best.is_some_and(|known| known.epoch == best.epoch);
        match self.newest.as_ref().filter(|(_, manifest)| has_it(manifest)) {
            None => {
                let dir = path.parent().unwrap_or(Path::new(""));
                tensors::write(path, &best.model.weights_in(dir))?;
            }
            Some((dir, _)) => {
                let known = dir.join(BEST);
                // Not every file system has links.
                let put = fs::hard_link(&known, path).or_else(|_| fs::copy(&known, path).map(drop));
                put.map_err(DataError::io("write", path))?;
            }
        }
        Ok(())
    }
}

/// Returns the newest checkpoint with a manifest in a run directory: the fit, the epoch and the checkpoint's directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn newest(run: &Path) -> Result<Option<(Phase, u32, PathBuf)>> {
    let all = found(&run.join(CHECKPOINTS))?;
    Ok(all.into_iter().filter(|(.., checkpoint)| checkpoint.join(MANIFEST).exists()).max())
}

/// Returns the manifest of the newest checkpoint in a run directory, if there is one.
///
/// # Errors
/// When the directory or the manifest cannot be read.
pub fn newest_manifest(run: &Path) -> Result<Option<Manifest>> {
    newest(run)?.map(|(.., checkpoint)| read(&checkpoint)).transpose()
}

/// Refuses a directory with a run that was stopped.
///
/// # Errors
/// When there is a checkpoint with a manifest, or the directory cannot be read.
pub(crate) fn refuse_stopped(run: &Path) -> Result<()> {
    let Some((phase, epoch, _)) = newest(run)? else { return Ok(()) };
    Err(ModelError::Run {
        path: run.to_owned(),
        found: format!("a run that was stopped after {phase} epoch {epoch}"),
        expected: "a new directory, --resume to go on with it, or --force to start anew".into(),
    }
    .into())
}

/// Returns all checkpoints in a directory, those without a manifest included.
fn found(dir: &Path) -> Result<Vec<(Phase, u32, PathBuf)>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let parse = |path: PathBuf| {
        let (phase, epoch) = path.file_name()?.to_str()?.split_once('-')?;
        let phase = [Phase::Choose, Phase::Refit].into_iter().find(|known| known.to_string() == phase)?;
        Some((phase, epoch.parse().ok()?, path.clone()))
    };
    Ok(list_dir(dir)?.into_iter().filter_map(parse).collect())
}

/// Returns the hash of every file in `dir` and the folders in it, by its path from there.
fn hashes(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut hashes = BTreeMap::new();
    for path in list_dir(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let inner = self::hashes(&path)?;
            hashes.extend(inner.into_iter().map(|(inner, hash)| (format!("{name}/{inner}"), hash)));
        } else {
            hashes.insert(name, hash::file(&path)?);
        }
    }
    Ok(hashes)
}

/// Removes a checkpoint, its manifest first, so that what a crash leaves is no checkpoint.
fn remove(dir: &Path) -> Result<()> {
    let manifest = dir.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest).map_err(DataError::io("remove", &manifest))?;
    }
    Ok(fs::remove_dir_all(dir).map_err(DataError::io("remove", dir))?)
}

fn read(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST);
    let bad = |found: String, expected: &str| {
        DataError::malformed(&path, found, format!("{expected}; --force starts anew"))
    };
    let text = fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
    let table: Table = toml::from_str(&text)
        .map_err(|error| bad(error.message().to_owned(), "the manifest of a checkpoint"))?;
    // The format is checked first, because another one may have other fields.
    let format = table.get("format").map_or_else(|| "none".to_owned(), Value::to_string);
    if format != FORMAT.to_string() {
        return Err(bad(format!("format {format}"), "format 1").into());
    }
    let manifest = table.try_into();
    Ok(manifest
        .map_err(|error: toml::de::Error| bad(error.message().to_owned(), "the manifest of a checkpoint"))?)
}
