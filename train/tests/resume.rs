//! A run that was stopped and resumed ends with the same results as one that was not: the same weights to the last bit,
//! the same record but for times.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use burnrec_data::Prepared;
use burnrec_models::{Error as ModelError, Model, Phase, Progress};
use burnrec_train::checkpoints::{Checkpoints, newest};
use burnrec_train::record::{EpochLog, EpochRecord};
use burnrec_train::run::{Trained, run};
use burnrec_train::{Error, Result, TrainConfig};
use common::runs::{config, cpu, leave_one_out};
use serde_json::Value;

const ALS: &str = "model = 'als'\ndim = 6\nepochs = 5\ntrack_loss = true";
const MF: &str = "model = 'mf'\ndim = 6\nepochs = 5\nbatch_size = 700\nlearning_rate = 0.02\nreg = 0.001";
const NEUMF: &str =
    "model = 'neumf'\ndim = 4\nepochs = 5\nbatch_size = 700\nlearning_rate = 0.01\ndropout = 0.3";

fn data(seed: u64) -> Prepared {
    leave_one_out(120, 80, 3000, seed)
}

/// Stops the run in the piece of work of this number, counted from 1, or never: in an epoch after its first step, in an
/// evaluation at once.
struct StopIn {
    piece: Option<usize>,
    /// How many pieces have begun, and whether the last one may be stopped now.
    at: Mutex<(usize, bool)>,
    names: Mutex<Vec<String>>,
}

impl StopIn {
    fn new(piece: Option<usize>) -> Self {
        Self { piece, at: Mutex::default(), names: Mutex::default() }
    }
}

impl Progress for StopIn {
    fn begin(&self, what: &str, _: u64) {
        let mut at = self.at.lock().expect("no panic");
        *at = (at.0 + 1, !what.contains("epoch"));
        self.names.lock().expect("no panic").push(what.to_owned());
    }
    fn advance(&self, _: u64) {
        self.at.lock().expect("no panic").1 = true;
    }
    fn note(&self, _: &str) {}
    fn end(&self) {}
    fn interrupted(&self) -> bool {
        let (piece, begun) = *self.at.lock().expect("no panic");
        Some(piece) == self.piece && begun
    }
}

/// One run directory, as the program works with it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn dir(&self) -> &Path {
        self.0.path()
    }

    fn lines(&self) -> PathBuf {
        self.dir().join("record.jsonl")
    }

    /// Runs from the newest checkpoint on if there is one.
    fn go(&self, data: &Prepared, config: &TrainConfig, progress: &StopIn) -> Result<Trained> {
        let (mut checkpoints, mut log) = match Checkpoints::resume(self.dir(), config, data, &cpu())? {
            Some(checkpoints) => {
                let newest = checkpoints.newest().expect("resumed");
                let log = EpochLog::up_to(&self.lines(), newest.phase, newest.epoch)?;
                (checkpoints, log)
            }
            None => (
                Checkpoints::start(self.dir(), config, data, &cpu(), false)?,
                EpochLog::create(&self.lines())?,
            ),
        };
        let mut on_epoch = |epoch: &EpochRecord| log.add(epoch);
        let trained = run(data, config, &cpu(), Some(&mut checkpoints), &mut on_epoch, progress)?;
        checkpoints.clear()?;
        Ok(trained)
    }

    /// Returns the recorded epochs without their times.
    fn epochs(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.lines()).expect("record.jsonl");
        let epochs = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        epochs.map(|epoch| without(epoch, &["seconds", "samples_per_second"])).collect()
    }

    fn newest(&self) -> Option<(Phase, u32)> {
        newest(self.dir()).expect("readable").map(|(phase, epoch, _)| (phase, epoch))
    }
}

fn without(mut value: Value, keys: &[&str]) -> Value {
    let object = value.as_object_mut().expect("an object");
    keys.iter().for_each(|key| assert!(object.remove(*key).is_some(), "no {key}"));
    value
}

fn weights(model: &dyn Model) -> BTreeMap<String, Vec<u8>> {
    model.weights().into_iter().map(|(name, tensor)| (name, tensor.bytes().to_vec())).collect()
}

/// Returns everything that must not depend on whether the run was stopped.
fn numbers(place: &Place, trained: &Trained) -> (BTreeMap<String, Vec<u8>>, String, Vec<Value>) {
    let record = serde_json::to_value(&trained.record).expect("JSON");
    let record = without(record, &["fit_seconds", "total_seconds", "peak_memory_bytes"]);
    (weights(&*trained.recommender.model), record.to_string(), place.epochs())
}

#[track_caller]
fn interrupted(result: Result<Trained>) {
    match result {
        Err(Error::Model(ModelError::Interrupted)) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the run came to its end"),
    }
}

/// Stops a run of several epochs in each of its pieces of work in turn, and resumes it.
fn stopped_anywhere(text: &str) {
    stopped_in_each_piece(text, "of epoch 2");
}

/// Stops a run in each of its pieces of work in turn, one of which has `name` in its own, and resumes it.
fn stopped_in_each_piece(text: &str, name: &str) {
    let (data, config) = (data(7), config(text));
    let whole = Place::new();
    let progress = StopIn::new(None);
    let expected = whole.go(&data, &config, &progress).expect("a run");
    let expected = numbers(&whole, &expected);
    assert_eq!(whole.newest(), None, "a finished run keeps no checkpoint");
    let pieces = progress.names.into_inner().expect("no panic");
    assert!(pieces.iter().any(|piece| piece.contains(name)), "{pieces:?}");
    let mut places = Vec::new();
    for piece in 1..=pieces.len() {
        let place = Place::new();
        interrupted(place.go(&data, &config, &StopIn::new(Some(piece))));
        places.push(place.newest());
        let resumed = place.go(&data, &config, &StopIn::new(None)).expect("the rest of the run");
        assert_eq!(numbers(&place, &resumed), expected, "{text}: stopped in {piece} of {pieces:?}");
        assert_eq!(place.newest(), None);
    }
    assert!(places.is_sorted() && places[0].is_none(), "{places:?}");
    let refit = places.iter().flatten().any(|(phase, _)| *phase == Phase::Refit);
    assert_eq!(refit, config.run.refit, "{places:?}");
}

#[test]
fn als_goes_on_to_the_same_numbers() {
    stopped_anywhere(ALS);
    stopped_anywhere(&format!("{ALS}\nrefit = false\nconvention = 'implicit'\nweighting = 'bm25'"));
}

#[test]
fn mf_goes_on_to_the_same_numbers() {
    stopped_anywhere(MF);
    stopped_anywhere(&format!("{MF}\nloss = 'mse'\noptimizer = 'sgd'\nrefit = false\neval_every = 2"));
}

#[test]
fn neumf_goes_on_to_the_same_numbers() {
    stopped_anywhere(NEUMF);
    stopped_anywhere(&format!("{NEUMF}\nrefit = false"));
}

#[test]
fn a_closed_form_goes_on_to_the_same_numbers_and_has_one_epoch() {
    for (text, name) in [
        ("model = 'ease'\nreg = 20", "blocks of the inverse"),
        ("model = 'knn'\nsimilarity = 'bm25'\nk = 20", "items"),
        ("model = 'rp3beta'\nk = 20\nrefit = false", "items"),
        ("model = 'slim'\nk = 20\nrefit = false", "items"),
    ] {
        stopped_in_each_piece(text, name);
        let (place, config) = (Place::new(), config(&format!("{text}\nepochs = 9\neval_every = 4")));
        let trained = place.go(&data(7), &config, &StopIn::new(None)).expect("a run");
        let fits = 1 + usize::from(config.run.refit);
        assert_eq!((trained.record.epochs, place.epochs().len()), (1, fits), "{text}");
    }
}

/// The best model is from an early epoch, and after resuming it is known only by its saved weights; the count of
/// evaluations since then goes on.
#[test]
fn early_stopping_and_the_best_so_far_survive() {
    let text = MF.replace("0.02", "0.3").replace("epochs = 5", "epochs = 30");
    let text = format!("{text}\nrefit = false\n[early_stopping]\npatience = 3");
    let (data, config) = (data(7), config(&text));
    let whole = Place::new();
    let expected = whole.go(&data, &config, &StopIn::new(None)).expect("a run");
    let (best, epochs) = (expected.record.epochs, whole.epochs().len() as u32);
    assert!(best + 3 == epochs && epochs < 30, "the best of {epochs} is {best}");
    let expected = numbers(&whole, &expected);
    let place = Place::new();
    // An epoch is two pieces: training and judging.
    for stops in 1..=2 {
        let start = place.newest().map_or(0, |(_, epoch)| epoch);
        let stop = 2 * (best + stops - start) as usize + 1;
        interrupted(place.go(&data, &config, &StopIn::new(Some(stop))));
        assert_eq!(place.newest(), Some((Phase::Choose, best + stops)));
    }
    let resumed = place.go(&data, &config, &StopIn::new(None)).expect("the rest");
    assert_eq!(numbers(&place, &resumed), expected);
}

#[test]
fn checkpoints_come_as_often_as_set() {
    let data = data(7);
    for (every, expected) in [(0, None), (1, Some(3)), (2, Some(2)), (5, None)] {
        let config = config(&format!("{ALS}\ncheckpoint_every = {every}"));
        let place = Place::new();
        interrupted(place.go(&data, &config, &StopIn::new(Some(7))));
        assert_eq!(place.newest(), expected.map(|epoch| (Phase::Choose, epoch)), "every {every}");
        let n = fs::read_dir(place.dir().join("checkpoints")).map_or(0, Iterator::count);
        assert_eq!(n, usize::from(expected.is_some()), "only the newest is kept");
        assert_eq!(place.epochs().len(), 3);
        // `checkpoint_every` does not change the results, so a resumed run may have another value.
        let trained = place.go(&data, &self::config(ALS), &StopIn::new(None)).expect("the rest");
        assert_eq!(place.epochs().len() as u32, 5 + trained.record.epochs, "each epoch once");
    }
}

/// Returns a run that was stopped in its fourth epoch, and the directory of its newest checkpoint.
fn stopped(data: &Prepared, config: &TrainConfig) -> (Place, PathBuf) {
    let place = Place::new();
    interrupted(place.go(data, config, &StopIn::new(Some(7))));
    let (_, _, dir) = newest(place.dir()).expect("readable").expect("a checkpoint");
    (place, dir)
}

#[track_caller]
fn refused(result: Result<Trained>, words: &[&str]) {
    let error = result.err().expect("refused").to_string();
    words.iter().for_each(|word| assert!(error.contains(word), "no {word:?} in {error}"));
}

#[test]
fn another_config_or_other_data_are_refused() {
    let data = data(7);
    let (place, _) = stopped(&data, &config(ALS));
    let go = |data: &Prepared, text: &str| place.go(data, &config(text), &StopIn::new(None));
    refused(go(&data, &ALS.replace("dim = 6", "dim = 7")), &["dim: found 7, expected 6, as ", "choose-3"]);
    refused(go(&data, &format!("{ALS}\nseed = 1")), &["seed: found 1, expected 42"]);
    let stopping = format!("{ALS}\n[early_stopping]\npatience = 2");
    refused(go(&data, &stopping), &["early_stopping: found { patience = 2 }, expected none"]);
    refused(go(&data, MF), &["model: found \"mf\", expected \"als\""]);
    let other = self::data(8);
    refused(go(&other, ALS), &["data: found", &other.manifest.hash, &data.manifest.hash]);
    assert!(go(&data, ALS).is_ok());
}

#[test]
fn a_half_written_checkpoint_counts_for_nothing() {
    let (data, config) = (data(7), config(ALS));
    let (place, dir) = stopped(&data, &config);
    let half = dir.with_file_name("choose-4");
    fs::create_dir(&half).expect("a directory");
    fs::write(half.join("als.safetensors"), "half").expect("written");
    // This is what a crash between a line and its checkpoint leaves.
    let text = fs::read_to_string(place.lines()).expect("lines");
    let last = text.lines().last().expect("a line").replace("\"epoch\":3", "\"epoch\":4");
    fs::write(place.lines(), format!("{text}{last}\n{}", &last[..20])).expect("written");
    assert_eq!(place.newest(), Some((Phase::Choose, 3)));
    let whole = Place::new();
    let expected = whole.go(&data, &config, &StopIn::new(None)).expect("a run");
    let resumed = place.go(&data, &config, &StopIn::new(None)).expect("the rest");
    assert_eq!(numbers(&place, &resumed), numbers(&whole, &expected));
}

#[test]
fn damaged_files_are_named() {
    let (data, config) = (data(7), config(ALS));
    let go = |place: &Place| place.go(&data, &config, &StopIn::new(None));
    for name in ["als.safetensors", "best.safetensors"] {
        let (place, dir) = stopped(&data, &config);
        let bytes = fs::read(dir.join(name)).expect("a file");
        fs::write(dir.join(name), &bytes[..bytes.len() / 2]).expect("written");
        refused(go(&place), &[name, "SHA-256"]);
        fs::remove_file(dir.join(name)).expect("removed");
        refused(go(&place), &[name, "cannot read"]);
        fs::write(dir.join(name), &bytes).expect("written");
        assert!(go(&place).is_ok());
    }
    let (place, dir) = stopped(&data, &config);
    let manifest = dir.join("manifest.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    for (bad, words) in [
        (text.replace("format = 1", "format = 2"), "found format 2, expected format 1"),
        (text.replace("epoch = ", "epoch = x"), "expected the manifest of a checkpoint"),
        (text.replace("worse = ", "wors = "), "expected the manifest of a checkpoint"),
    ] {
        assert_ne!(bad, text);
        fs::write(&manifest, bad).expect("written");
        refused(go(&place), &["manifest.toml", words]);
    }
    fs::write(&manifest, &text).expect("written");
    fs::write(place.lines(), "").expect("written");
    refused(go(&place), &["record.jsonl", "no line of an epoch", "choose epoch 3"]);
    let started = Checkpoints::start(place.dir(), &config, &data, &cpu(), false).err().expect("refused");
    assert!(started.to_string().contains("--resume to go on"), "{started}");
    Checkpoints::start(place.dir(), &config, &data, &cpu(), true).expect("replaced");
    assert!(!place.dir().join("checkpoints").exists());
}
