//! The result of a case, trained by burnrec or by a peer, and the record that is made of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burnrec_data::Error as DataError;
use burnrec_train::Result;
use burnrec_train::evaluate::{ITEM_K, Scores};
use burnrec_train::machine::Machine;
use burnrec_train::metrics::Metric;
use burnrec_train::record::{EpochRecord, RunRecord};

use super::plan::{CaseKey, CaseMethod, CasePlan};
use crate::record::{CaseRecord, EpochPoint, FORMAT, Inference, Task, Tuned};

/// The result of a case; the fields are those of [`CaseRecord`].
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// Every setting, defaults included.
    pub config: serde_json::Value,
    /// Whether the model reads the order of a user's rows.
    pub order_aware: bool,
    /// How settings were searched on valid; none where they were taken as they stood.
    pub tuned: Option<Tuned>,
    /// The epochs, those of the final fit too.
    pub epochs: Vec<EpochPoint>,
    /// The number of epochs chosen on valid.
    pub chosen_epochs: u32,
    /// Seconds of the final fit alone, without any evaluation.
    pub fit_seconds: f64,
    /// Seconds of all fits and evaluations together.
    pub total_seconds: f64,
    /// The most memory that the process held while it trained, in bytes.
    pub peak_memory_bytes: u64,
    /// The number of weights.
    pub parameters: u64,
    /// The device that it was trained on.
    pub device: String,
    /// The number of CPU threads.
    pub threads: usize,
    /// The machine that it was trained on.
    pub machine: Machine,
    /// Versions by name: `burnrec`, `burn`, or the peer's.
    pub versions: BTreeMap<String, String>,
    /// How fast it answers.
    pub inference: Inference,
    /// The chosen epoch's scores on valid.
    pub valid: Scores,
    /// The final model's scores on test.
    pub test: Scores,
}

impl CaseOutcome {
    /// Takes the figures of a run of `burnrec train`.
    pub fn of_run(run: RunRecord, order_aware: bool, epochs: Vec<EpochPoint>, inference: Inference) -> Self {
        Self {
            config: serde_json::to_value(run.config).expect("settings are plain values"),
            order_aware,
            tuned: None,
            epochs,
            chosen_epochs: run.epochs,
            fit_seconds: run.fit_seconds,
            total_seconds: run.total_seconds,
            peak_memory_bytes: run.peak_memory_bytes,
            parameters: run.parameters,
            // The name of Burn's CPU backend is cut off, so that networks and ALS on one CPU have the same device.
            device: run.device.split_once(" (flex").map_or(run.device.clone(), |(cpu, _)| cpu.to_owned()),
            threads: run.threads,
            machine: run.machine,
            versions: versions(),
            inference,
            valid: run.metrics.valid,
            test: run.metrics.test,
        }
    }

    pub(super) fn into_record(
        self,
        key: &CaseKey,
        case: &CasePlan,
        metric: Metric,
        data_hash: String,
    ) -> CaseRecord {
        let rating = key.task == Task::Rating;
        let kept = [metric, Metric::Hr(10), Metric::Ndcg(10)];
        let per_user = self.test.per_user.into_iter().filter(|(metric, _)| kept.contains(metric) && !rating);
        let errors = self.test.errors.iter().map(|errors| [errors.squared, errors.absolute, errors.pairs]);
        let per_user_errors = if rating { errors.collect() } else { Vec::new() };
        let peer = match &case.method {
            CaseMethod::Peer { peer, .. } => Some(peer.clone()),
            CaseMethod::Train { .. } | CaseMethod::Cluster { .. } => None,
        };
        CaseRecord {
            format: FORMAT,
            task: key.task,
            case: case.name.clone(),
            label: case.label.clone(),
            peer,
            order_aware: self.order_aware,
            seed: key.seed,
            data_hash,
            config: self.config,
            tuned: self.tuned,
            metric,
            epochs: self.epochs,
            chosen_epochs: self.chosen_epochs,
            fit_seconds: self.fit_seconds,
            total_seconds: self.total_seconds,
            peak_memory_bytes: self.peak_memory_bytes,
            parameters: self.parameters,
            device: self.device,
            threads: self.threads,
            machine: self.machine,
            versions: self.versions,
            inference: self.inference,
            valid: Scores { per_user: BTreeMap::new(), ..self.valid },
            per_user: per_user.collect(),
            per_user_errors,
            k: ITEM_K,
            item_shown: self.test.per_item.shown.clone(),
            item_hits: self.test.per_item.hits.clone(),
            test: Scores {
                per_user: BTreeMap::new(),
                judged_users: Vec::new(),
                errors: Vec::new(),
                per_item: Default::default(),
                ..self.test
            },
        }
    }
}

/// Returns the versions of burnrec and of Burn.
pub fn versions() -> BTreeMap<String, String> {
    let versions = [("burnrec", env!("CARGO_PKG_VERSION")), ("burn", burnrec_models::BURN_VERSION)];
    versions.map(|(name, version)| (name.to_owned(), version.to_owned())).into()
}

/// Reads the epochs of a run's `record.jsonl`; `metric` is the one that chose among them.
///
/// # Errors
/// When the file cannot be read, or a line is no epoch.
pub fn epochs(path: &Path, metric: Metric) -> Result<Vec<EpochPoint>> {
    let text = fs::read_to_string(path).map_err(DataError::io("read", path))?;
    let point = |line: &str| {
        let epoch: EpochRecord = serde_json::from_str(line)
            .map_err(|error| DataError::malformed(path, error.to_string(), "lines of epochs"))?;
        Ok(EpochPoint::of(&epoch, metric))
    };
    text.lines().map(point).collect()
}
