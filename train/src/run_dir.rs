//! A training run that leaves a run directory: checkpoints and a line in `record.jsonl` after each epoch, and at the
//! end the saved model with its record.

use std::path::Path;

use burnrec_data::Prepared;
use burnrec_models::device::OpenDevice;
use burnrec_models::{DeviceChoice, Error as ModelError, Progress, saved};

use crate::checkpoints::{Checkpoints, Manifest, newest_manifest, refuse_stopped};
use crate::device::{AutoDevice, ChosenDevice, Work, choose};
use crate::record::{EpochLog, EpochRecord};
use crate::run::{Trained, run};
use crate::{Result, TrainConfig};

/// The file of a run directory with a line for each epoch.
pub const EPOCHS: &str = "record.jsonl";

/// What to do about a run that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Refuse to run.
    New,
    /// Start anew and replace it.
    Replace,
    /// Go on after its newest checkpoint; start anew without one.
    Resume,
}

/// Follows a run, for example to print its progress.
pub trait Watch {
    /// Called before the first epoch with the checkpoint after which the run goes on, if there is one, the device's
    /// name, and why it was taken where `auto` chose.
    fn begun(&mut self, _resumed: Option<&Manifest>, _device: &str, _auto: Option<&AutoDevice>) {}

    /// Called after every epoch.
    fn epoch(&mut self, _epoch: &EpochRecord) {}
}

/// Ignores all that it is called with.
pub struct Unwatched;

impl Watch for Unwatched {}

/// Trains a config on prepared data and saves the run in `out`, on the device asked for or, by `auto`, the fastest.
/// `data_dir` says where the data is saved, for the record.
///
/// # Errors
/// When `out` holds a run that `begin` does not allow for, when the device cannot be had, or as [`run`]; the checkpoints
/// then stay, for [`Begin::Resume`].
#[expect(clippy::too_many_arguments, reason = "each is a part of a run")]
pub fn run_to(
    out: &Path,
    begin: Begin,
    data: &Prepared,
    data_dir: Option<&Path>,
    config: &TrainConfig,
    device: DeviceChoice,
    watch: &mut dyn Watch,
    progress: &dyn Progress,
) -> Result<Trained> {
    refuse(out, begin)?;
    let resumed = if begin == Begin::Resume { newest_manifest(out)? } else { None };
    let made_on = resumed.as_ref().map(|manifest| manifest.device.as_str());
    let ChosenDevice { device, auto } =
        choose(config, device, data, Work::of_run(config), made_on, progress)?;
    let (mut checkpoints, mut log) = open(out, begin, data, config, &device)?;
    watch.begun(checkpoints.newest(), checkpoints.device(), auto.as_ref());
    let mut on_epoch = |epoch: &EpochRecord| {
        watch.epoch(epoch);
        log.add(epoch)
    };
    let mut trained = run(data, config, &device, Some(&mut checkpoints), &mut on_epoch, progress)?;
    trained.set_auto_device(auto);
    trained.set_data_dir(data_dir);
    trained.recommender.save(out)?;
    checkpoints.clear()?;
    Ok(trained)
}

/// Refuses a directory that `begin` does not allow for, before anything is measured.
fn refuse(out: &Path, begin: Begin) -> Result<()> {
    match begin {
        Begin::New => {
            saved::make_room(out, false)?;
            refuse_stopped(out)
        }
        // A run that replaces another leaves that one there until it ends.
        Begin::Resume if saved::manifest(out).is_ok() && newest_manifest(out)?.is_none() => {
            let expected = "one that was stopped; --force trains it anew".to_owned();
            Err(ModelError::Run { path: out.to_owned(), found: "a finished run".into(), expected }.into())
        }
        Begin::Resume | Begin::Replace => Ok(()),
    }
}

/// Opens the run directory for the next epoch: its checkpoints, and its log up to the newest of them.
fn open(
    out: &Path,
    begin: Begin,
    data: &Prepared,
    config: &TrainConfig,
    device: &OpenDevice,
) -> Result<(Checkpoints, EpochLog)> {
    let lines = out.join(EPOCHS);
    if begin == Begin::Resume
        && let Some(checkpoints) = Checkpoints::resume(out, config, data, device)?
        && let Some(newest) = checkpoints.newest()
    {
        let log = EpochLog::up_to(&lines, newest.phase, newest.epoch)?;
        return Ok((checkpoints, log));
    }
    let replace = begin == Begin::Replace;
    saved::make_room(out, replace)?;
    let checkpoints = Checkpoints::start(out, config, data, device, replace)?;
    Ok((checkpoints, EpochLog::create(&lines)?))
}
