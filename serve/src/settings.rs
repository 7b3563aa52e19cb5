//! What may change while the service runs, as it stands at one moment: the settings of a version of the config, and the
//! models. It is one value that never changes and is exchanged as a whole, so that a batch is answered under one version.

mod columns;
mod join;
mod route;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burnrec_data::read::read_item_table;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::config::{
    Failure, Failures, FlowConfig, Limits, Mode, ModelEntry, OutputConfig, ServeConfig, UnknownConfig,
};
use crate::model::Set;
use crate::reject::Stage;
use crate::step::interned;
use crate::tenants::Tenants;

pub use columns::check as check_columns;
pub use join::Join;
pub(crate) use join::Row;
pub(crate) use route::Route;
pub use route::Routes;

/// The most events of a batch in `message` mode: each event waits for few others.
const MOST_MESSAGES: usize = 32;

/// Whether the flow takes events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// It reads events and answers them.
    #[default]
    Running,
    /// It reads none, and what it has read waits.
    Paused,
    /// It reads none, and answers what it has read.
    Draining,
}

impl Run {
    /// Returns its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}

/// The settings of a version of the config, ready to be used.
#[derive(Clone)]
pub struct Settings {
    /// The number of the version; 0 where the config does not change while the service runs.
    pub version: u64,
    /// Whether the flow takes events.
    pub run: Run,
    /// The models by name.
    pub models: BTreeMap<String, ModelEntry>,
    /// Which events go to which models.
    pub routes: Routes,
    /// Those whose events are answered apart from each other's.
    pub tenants: Tenants,
    /// How replies look.
    pub output: OutputConfig,
    /// The table joined to replies.
    pub join: Option<Join>,
    /// What to do with ids that the model does not know.
    pub unknown: UnknownConfig,
    /// The largest requests that are answered.
    pub limits: Limits,
    /// Batches and queues; in `message` mode a batch waits for no event that is not there yet.
    pub flow: FlowConfig,
    /// What to do where a stage fails.
    pub failures: Failures,
    /// What to do where a step of one's own fails.
    pub steps: BTreeMap<&'static str, Failure>,
}

impl Settings {
    /// Reads the settings of a config, and the table that it names.
    ///
    /// # Errors
    /// When the table cannot be read or does not fit the config.
    pub fn open(config: &ServeConfig, version: u64, run: Run) -> Result<Self> {
        let join = config.table.as_ref().map(|table| {
            let mut columns = table.columns.clone();
            columns.extend(
                table.threshold.clone().filter(|name| !table.columns.is_empty() && !columns.contains(name)),
            );
            Join::new(read_item_table(&table.path, &table.on, &columns)?, table)
        });
        let join = join.transpose()?;
        check_columns(&config.output, join.as_ref())?;
        let mut flow = config.flow.clone();
        if config.kafka.as_ref().is_some_and(|kafka| kafka.mode == Mode::Message) {
            (flow.batch_events, flow.batch_ms) = (flow.batch_events.min(MOST_MESSAGES), 0);
        }
        Ok(Self {
            version,
            run,
            models: config.models.clone(),
            routes: Routes::new(config),
            tenants: Tenants::new(config),
            output: config.output.clone(),
            join,
            unknown: config.unknown,
            limits: config.limits,
            flow,
            failures: config.failures,
            steps: config.steps.iter().map(|(name, step)| (interned(name), step.failures)).collect(),
        })
    }

    /// Returns what to do where this stage fails.
    pub fn failure(&self, stage: Stage) -> Failure {
        match stage {
            // What is refused before it is read, by a quota or as it is of no tenant, is rejected at once.
            Stage::Queue => Failure::default(),
            Stage::Decode => self.failures.decode,
            Stage::Score => self.failures.score,
            Stage::Sink => self.failures.sink,
            Stage::Step(name) => self.steps.get(name).copied().unwrap_or_default(),
        }
    }
}

/// The settings and the models as they stand at one moment.
#[derive(Clone)]
pub struct Live {
    /// The settings.
    pub settings: Arc<Settings>,
    /// The models by name; all that the settings name are there.
    pub models: Arc<Set>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} with {:?}", self.settings.version, self.models.keys())
    }
}
