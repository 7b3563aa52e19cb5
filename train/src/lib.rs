//! Training runs, evaluation, and the search for settings.
//!
//! ```
//! use burnrec_data::filter::Filters;
//! use burnrec_data::split::SplitConfig;
//! use burnrec_data::synth::{SynthConfig, synth};
//! use burnrec_data::Prepared;
//! use burnrec_models::{DeviceChoice, Silent};
//! use burnrec_train::device::{Work, choose};
//! use burnrec_train::{TrainConfig, run::run};
//!
//! let dataset = synth(&SynthConfig::new(60, 40, 900, 1))?;
//! let split = SplitConfig::LeaveOneOut { candidates: None };
//! let data = Prepared::build(dataset, None, None, &Filters::default(), &split, 42)?;
//! let config: TrainConfig = "model = 'als'\ndim = 8\nepochs = 3".parse()?;
//! let device = choose(&config, DeviceChoice::Auto, &data, Work::of_run(&config), None, &Silent)?.device;
//! let trained = run(&data, &config, &device, None, &mut |_| Ok(()), &Silent)?;
//! println!("{}", trained.record.metrics.test);
//! # Ok::<(), burnrec_train::Error>(())
//! ```
//!
//! [`run`](run::run) takes any trainer through a whole run: [`fit`](fit::fit) is the only epoch loop, the epoch is
//! chosen on valid, the model is fitted again on train and valid together, test is touched once.
//! [`evaluate`](evaluate::evaluate) judges any scorer on a holdout: in its ranking, ties and NaN count against the
//! model, and metrics are pure functions of ranks. [`tune`] searches for the best settings. No family of models is
//! known here by name. [`device`] chooses where a run is trained.

#![deny(missing_docs)]

pub mod bootstrap;
pub mod checkpoints;
pub mod config;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod fit;
pub mod gate;
pub mod machine;
pub mod metrics;
pub mod rank;
pub mod record;
pub mod releases;
pub mod run;
pub mod run_dir;
pub mod stats;
pub mod tune;

pub use config::{RunConfig, TrainConfig};
pub use error::{Error, Result};
