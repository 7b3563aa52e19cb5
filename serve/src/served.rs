//! The models that answer: opened, checked, exchanged while the service runs.

mod at_hand;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use burnrec_models::saved::short_manifest_hash;
use burnrec_models::{Compute, DeviceChoice, Error as ModelError, Recommender};

pub use at_hand::AtHand;

use crate::config::{ModelEntry, ServeConfig};
use crate::metrics::ModelLabels;
pub use crate::model::{Served, Set};
use crate::settings::{Live, Settings};
use crate::state::State;
use crate::{Error, Result};

/// Of how many versions of a model replies are counted: those of the latest to serve.
const COUNTED_VERSIONS: usize = 4;

/// Of how many versions of all models.
const MOST_COUNTED: usize = 512;

/// The models by name and the settings by which they answer, with the way to exchange them.
pub struct Models {
    device: DeviceChoice,
    live: RwLock<Arc<Live>>,
    /// How often they were exchanged.
    exchanges: AtomicU64,
    exchanging: Mutex<()>,
    /// What each request over HTTP asks of the settings.
    pub at_hand: AtHand,
    /// The counts of replies, those of the latest models to serve at the back.
    replies: Mutex<VecDeque<(ModelLabels, Arc<AtomicU64>)>>,
    /// The histories, some of them folded into the models.
    state: Arc<State>,
    /// Why a model's directory was not taken up, by name.
    troubles: Mutex<BTreeMap<String, String>>,
    /// What the directories looked like when they were last opened, by name; locked by the one reload at a time.
    stamps: Mutex<BTreeMap<String, Stamp>>,
}

/// The files of a directory, each with its inode, size and time of change.
type Stamp = BTreeMap<OsString, (u64, u64, i64, i64)>;

impl Models {
    /// Opens all models of a config with its settings; the histories of `state` are folded into them.
    ///
    /// # Errors
    /// When one cannot be opened, or the device that it needs cannot.
    pub fn open(config: &ServeConfig, settings: Settings, state: Arc<State>) -> Result<Self> {
        let choice: DeviceChoice = config
            .device
            .parse()
            .map_err(|_| Error::config("device", &config.device, "auto, cpu, gpu or gpu:N"))?;
        let replies = Mutex::default();
        let set = config.models.iter().map(|(name, entry)| {
            let served = counted(&replies, open(name, entry, choice)?);
            Ok((name.clone(), Arc::new(served)))
        });
        let models = Arc::new(set.collect::<Result<_>>()?);
        Ok(Self::new(choice, Live { settings: Arc::new(settings), models }, state, replies))
    }

    fn new(
        device: DeviceChoice,
        live: Live,
        state: Arc<State>,
        replies: Mutex<VecDeque<(ModelLabels, Arc<AtomicU64>)>>,
    ) -> Self {
        let at_hand = AtHand::default();
        at_hand.set(&live.settings);
        Self {
            device,
            live: RwLock::new(Arc::new(live)),
            exchanges: AtomicU64::default(),
            exchanging: Mutex::default(),
            at_hand,
            replies,
            state,
            troubles: Mutex::default(),
            stamps: Mutex::default(),
        }
    }

    /// Returns models that nothing exchanges, with settings and histories of their own.
    pub fn beside(&self, live: Live, state: Arc<State>) -> Self {
        Self::new(self.device, live, state, Mutex::default())
    }

    /// Returns the settings and the models as they are now.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the models as they are now.
    pub fn set(&self) -> Arc<Set> {
        Arc::clone(&self.live().models)
    }

    /// Returns how often settings or models were exchanged, for those who keep what [`Models::live`] returned.
    pub fn exchanges(&self) -> u64 {
        self.exchanges.load(Ordering::Acquire)
    }

    /// Takes up a model in place of the one of its name, whose folded-in users go with it.
    pub fn take_up(&self, served: Served) {
        self.take_up_at(served, None);
    }

    /// Takes up a model of an entry, if the settings that answer still have it; of any where none is given.
    fn take_up_at(&self, served: Served, of: Option<&ModelEntry>) {
        let served = counted(&self.replies, served);
        self.exchange(|live| {
            let is_asked = of.is_none_or(|of| live.settings.models.get(&served.name) == Some(of));
            let mut models = Set::clone(&live.models);
            if is_asked {
                models.insert(served.name.clone(), Arc::new(served));
            }
            Live { settings: Arc::clone(&live.settings), models: Arc::new(models) }
        });
    }

    /// Opens the models that settings name and that are not served, under their names.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open_new(&self, settings: &Settings) -> Result<Vec<Served>> {
        let live = self.live();
        let is_new = |(name, entry): &(&String, &ModelEntry)| live.settings.models.get(*name) != Some(*entry);
        let new = settings.models.iter().filter(is_new);
        new.map(|(name, entry)| open(name, entry, self.device)).collect()
    }

    /// Takes up settings with the models that [`Models::open_new`] opened for them; models that they do not name go.
    pub fn change(&self, settings: Settings, new: Vec<Served>) {
        let new = new.into_iter().map(|served| counted(&self.replies, served));
        let mut new: Set = new.map(|served| (served.name.clone(), Arc::new(served))).collect();
        self.exchange(|live| {
            let kept = live.models.iter().filter(|(name, _)| settings.models.contains_key(*name));
            for (name, served) in kept {
                new.entry(name.clone()).or_insert_with(|| Arc::clone(served));
            }
            let tenants = settings.tenants.clone().after(&live.settings.tenants);
            Live { settings: Arc::new(Settings { tenants, ..settings }), models: Arc::new(new) }
        });
        let live = self.live();
        let is_gone = |name: &String| !live.models.contains_key(name);
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| !is_gone(name));
    }

    /// Calls the settings that answer those of another version.
    pub fn renumber(&self, version: u64) {
        self.exchange(|live| {
            let settings = Settings { version, ..Settings::clone(&live.settings) };
            Live { settings: Arc::new(settings), models: Arc::clone(&live.models) }
        });
    }

    fn exchange(&self, change: impl FnOnce(&Live) -> Live) {
        // One after the other to the end, so that users are folded into the models that serve last.
        let _alone = self.exchanging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let new = change(&live);
        let numbers = new.models.values().map(|served| served.number).collect();
        self.at_hand.set(&new.settings);
        *live = Arc::new(new);
        self.exchanges.fetch_add(1, Ordering::Release);
        drop(live);
        self.state.serve(numbers);
    }

    /// Returns how many replies each version of each model gave.
    pub fn replies(&self) -> Vec<(ModelLabels, u64)> {
        let all = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(of, replies)| (of.clone(), replies.load(Ordering::Relaxed))).collect()
    }

    /// Returns the name of the device that the models compute on.
    pub fn device(&self) -> String {
        let set = self.set();
        let computes = set.values().map(|served| served.recommender.model.config().scores_on());
        computes
            .max()
            .unwrap_or(Compute::Host)
            .open(self.device)
            .map_or_else(|error| error.to_string(), |device| device.name)
    }

    /// Returns why models' directories were not taken up, by name.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up the models whose manifest has changed. A new model is opened and checked first; if that fails, the old
    /// one goes on serving. Returns the names of the models taken up.
    pub fn reload(&self) -> Vec<String> {
        self.refresh(true).1
    }

    /// Does what [`Models::reload`] does, but only where a file has come, gone or changed: a directory that is broken is
    /// read once. Returns the number of directories that were read.
    pub fn look(&self) -> usize {
        self.refresh(false).0
    }

    /// Returns how many directories were read, and the names of the models taken up.
    fn refresh(&self, all: bool) -> (usize, Vec<String>) {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut read, mut taken) = (0, Vec::new());
        for (name, entry) in &self.live().settings.models {
            let stamp = stamp(&entry.run);
            if !all && stamps.get(name) == Some(&stamp) {
                continue;
            }
            stamps.insert(name.clone(), stamp);
            read += 1;
            let old = self.set().get(name).cloned();
            let same = match (short_manifest_hash(&entry.run), &old) {
                (Ok(hash), Some(old)) => hash == old.hash,
                _ => false,
            };
            let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
            if same {
                troubles.remove(name);
                continue;
            }
            drop(troubles);
            let opened = open(name, entry, self.device);
            troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
            match opened {
                Ok(served) => {
                    tracing::info!(model = name, hash = served.hash, "a new model serves");
                    self.take_up_at(served, Some(entry));
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
        (read, taken)
    }
}

/// Lets a model count its replies on from those of its name and version that served before. Counts of versions that served
/// longest ago are dropped, so that there are few.
fn counted(all: &Mutex<VecDeque<(ModelLabels, Arc<AtomicU64>)>>, mut served: Served) -> Served {
    let of = ModelLabels { model: served.name.clone(), version: served.version.clone() };
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = all.iter().position(|(known, _)| *known == of) {
        served.replies = all.remove(at).map_or_else(Arc::default, |(_, replies)| replies);
    }
    all.push_back((of, Arc::clone(&served.replies)));
    let of_name = |(known, _): &(ModelLabels, _)| known.model == served.name;
    if all.iter().filter(|known| of_name(known)).count() > COUNTED_VERSIONS
        && let Some(oldest) = all.iter().position(of_name)
    {
        all.remove(oldest);
    }
    if all.len() > MOST_COUNTED {
        all.pop_front();
    }
    drop(all);
    served
}

/// Returns what the files of a run look like, without the records and checkpoints of one that is being trained there. A
/// directory that cannot be read looks empty.
fn stamp(dir: &Path) -> Stamp {
    let ending = |file: &DirEntry| file.path().extension().map(OsStr::to_owned);
    let is_of_run = |file: &DirEntry| ending(file).is_some_and(|of| of == "json" || of == "safetensors");
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().filter(is_of_run);
    let facts = files.filter_map(|file| {
        let of = file.metadata().ok()?;
        Some((file.file_name(), (of.ino(), of.len(), of.ctime(), of.ctime_nsec())))
    });
    facts.collect()
}

fn open(name: &str, entry: &ModelEntry, device: DeviceChoice) -> Result<Served> {
    let trouble = |source| match source {
        ModelError::Device { asked, why } => Error::config("device", asked, why),
        source => Error::Model { name: name.to_owned(), source },
    };
    // The hash first: a manifest that changes while its files are read is then seen to have changed.
    let hash = short_manifest_hash(&entry.run);
    let recommender = Recommender::open_on(&entry.run, device).map_err(trouble)?;
    // Of a link, such as that to a promoted release, it is the folder that it leads to.
    let run = entry.run.canonicalize().unwrap_or_else(|_| entry.run.clone());
    let folder = || run.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = entry.version.clone().unwrap_or_else(folder);
    Ok(Served::new(name, &version, hash.map_err(trouble)?, recommender))
}
