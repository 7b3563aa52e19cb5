//! The models that answer: opened, checked, exchanged while the service runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use burnrec_data::{Index, Titles, hash};
use burnrec_models::checkpoint::{self, Run};
use burnrec_models::device::{self, OpenDevice};
use burnrec_models::popularity::Popularity;
use burnrec_models::{DeviceChoice, Model, Output};

use crate::config::{ModelEntry, ServeConfig};
use crate::{Error, Result};

/// A model ready to answer. It never changes; a new one takes its place as a whole.
pub struct Served {
    /// Its name in the config.
    pub name: String,
    /// What replies call its version.
    pub version: String,
    /// The first half of the SHA-256 of its manifest, which holds the hashes of all its files.
    pub hash: String,
    /// No two that are served have the same.
    pub number: u64,
    /// What a score says.
    pub output: Output,
    /// What kind of model it is, such as `mf`.
    pub kind: &'static str,
    /// The model.
    pub model: Box<dyn Model>,
    /// The users' ids.
    pub users: Index,
    /// The items' ids.
    pub items: Index,
    /// The items' titles.
    pub titles: Option<Titles>,
    /// Each user's history.
    pub seen: burnrec_data::Csr,
    /// What JSON replies end with: what a score is of, and whose.
    pub tail: String,
    popularity: OnceLock<Popularity>,
}

impl Served {
    /// Of an opened run.
    pub fn new(name: &str, version: &str, hash: String, run: Run, output: Output) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let text = |text: &str| serde_json::to_string(text).expect("a text is JSON");
        let (model, of) = (text(name), text(version));
        Self {
            tail: format!(",\"model\":{model},\"version\":{of},\"hash\":\"{hash}\""),
            name: name.to_owned(),
            version: version.to_owned(),
            hash,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            output,
            kind: run.model.config().name(),
            users: Index::new(run.users),
            items: Index::new(run.items),
            titles: run.titles,
            seen: run.seen,
            popularity: OnceLock::new(),
            model: run.model,
        }
    }

    /// `name@hash`, for headers and messages.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.hash)
    }

    /// The same catalogue scored by how many users took an item.
    pub fn popularity(&self) -> &Popularity {
        self.popularity.get_or_init(|| Popularity::new(&self.seen))
    }
}

/// The models as they stand at one moment: a batch is answered by one set from its beginning to its end.
pub type Set = BTreeMap<String, Arc<Served>>;

/// The models by name, with the way to exchange them.
pub struct Models {
    entries: BTreeMap<String, ModelEntry>,
    device: OpenDevice,
    set: RwLock<Arc<Set>>,
    /// Why a model's directory was not taken up, by name.
    troubles: Mutex<BTreeMap<String, String>>,
    /// One reload at a time.
    reloading: Mutex<()>,
}

impl Models {
    /// Opens all models of a config.
    ///
    /// # Errors
    /// When one cannot be opened, or the device cannot.
    pub fn open(config: &ServeConfig) -> Result<Self> {
        let choice: DeviceChoice = config
            .device
            .parse()
            .map_err(|_| Error::config("device", &config.device, "auto, cpu, gpu or gpu:N"))?;
        let device = device::open(choice)
            .map_err(|error| Error::config("device", &config.device, error.to_string()))?;
        let set = config
            .models
            .iter()
            .map(|(name, entry)| Ok((name.clone(), Arc::new(open(name, entry, &device)?))));
        Ok(Self {
            set: RwLock::new(Arc::new(set.collect::<Result<_>>()?)),
            entries: config.models.clone(),
            device,
            troubles: Mutex::default(),
            reloading: Mutex::default(),
        })
    }

    /// The models now.
    pub fn set(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up a model in place of the one of its name.
    pub fn take_up(&self, served: Served) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        let mut new = Set::clone(&set);
        new.insert(served.name.clone(), Arc::new(served));
        *set = Arc::new(new);
    }

    /// Where they compute.
    pub fn device(&self) -> &str {
        &self.device.name
    }

    /// Why models' directories were not taken up, by name.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up the models whose manifest has changed; all of them are checked first, and what cannot be opened leaves
    /// the old one serving. Gives the names of the new ones.
    pub fn reload(&self) -> Vec<String> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        for (name, entry) in &self.entries {
            let old = self.set().get(name).cloned();
            let same = match (manifest_hash(entry), &old) {
                (Ok(hash), Some(old)) => hash == old.hash,
                _ => false,
            };
            let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
            if same {
                troubles.remove(name);
                continue;
            }
            drop(troubles);
            let opened = open(name, entry, &self.device);
            troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
            match opened {
                Ok(served) => {
                    tracing::info!(model = name, hash = served.hash, "a new model serves");
                    self.take_up(served);
                    troubles.remove(name);
                    taken.push(name.clone());
                }
                Err(error) => {
                    let text = error.to_string();
                    if troubles.insert(name.clone(), text.clone()).as_ref() != Some(&text) {
                        tracing::warn!(
                            model = name,
                            error = text,
                            "the new model is not taken up; the old one serves"
                        );
                    }
                }
            }
        }
        taken
    }
}

fn manifest_hash(entry: &ModelEntry) -> Result<String, burnrec_data::Error> {
    Ok(short(hash::file(&manifest_path(entry))?))
}

fn manifest_path(entry: &ModelEntry) -> PathBuf {
    entry.run.join("manifest.json")
}

fn short(mut hash: String) -> String {
    hash.truncate(12);
    hash
}

fn open(name: &str, entry: &ModelEntry, device: &OpenDevice) -> Result<Served> {
    let trouble = |source| Error::Model { name: name.to_owned(), source };
    // The hash first: a manifest that changes while its files are read is then seen to have changed.
    let hash = manifest_hash(entry);
    let manifest = checkpoint::manifest(&entry.run).map_err(trouble)?;
    let cpu;
    let device = if manifest.model.scores_on_burn() {
        device
    } else {
        cpu = device::open(DeviceChoice::Cpu).map_err(trouble)?;
        &cpu
    };
    let (run, manifest) = checkpoint::open(&entry.run, device).map_err(trouble)?;
    let folder = || entry.run.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = entry.version.clone().unwrap_or_else(folder);
    Ok(Served::new(name, &version, hash?, run, manifest.output))
}
