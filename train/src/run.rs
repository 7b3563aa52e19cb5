//! A whole training run: choose the epoch on valid, fit again on train and valid together, touch test once.

use std::time::Instant;

use burnrec_data::{Csr, Prepared};
use burnrec_models::checkpoint::DataFacts;
use burnrec_models::device::OpenDevice;
use burnrec_models::{Model, ModelConfig, Output, Scorer};

use crate::als::AlsLearner;
use crate::burn::BurnLearner;
use crate::evaluate::{EvaluateOptions, able, evaluate};
use crate::fit::{Fitted, Judge, fit};
use crate::machine::{Machine, peak_memory_bytes};
use crate::popularity::PopularityLearner;
use crate::pretrained;
use crate::record::{EpochRecord, Metrics, Phase, RunRecord};
use crate::warm_start::{self, Start};
use crate::{Learner, Progress, Result, TrainConfig};

/// A trained model with its record.
pub struct Trained {
    /// The model that was judged on test.
    pub model: Box<dyn Model>,
    /// The one that was chosen on valid, where another model may start from it.
    pub chosen: Option<Box<dyn Model>>,
    /// `[n_users, n_items]`: what it was trained on.
    pub seen: Csr,
    /// How, and what it scored.
    pub record: RunRecord,
}

/// Runs a config on prepared data; `on_epoch` sees every epoch as it ends.
///
/// # Errors
/// When the model cannot be made, diverges, or cannot be judged as the data's protocol asks.
pub fn run(
    data: &Prepared,
    config: &TrainConfig,
    device: &OpenDevice,
    on_epoch: &mut dyn FnMut(&EpochRecord) -> Result<()>,
    progress: &dyn Progress,
) -> Result<Trained> {
    let start = Instant::now();
    let (n_users, n_items) = (data.users.len(), data.items.len());
    let split = &data.split;
    let train = split.train.to_csr(n_users, n_items);
    let metric = config.select_by();
    let options = options(config);
    let quick = EvaluateOptions { resamples: 0, ..options.clone() };
    let on_valid = |scorer: &dyn Scorer| evaluate(scorer, &split.valid, &train, &quick, progress);
    let mut learner = learner(config, &train, data, Phase::Choose, device)?;
    if split.valid.fold_in || split.test.fold_in {
        able(&*learner.model())?;
    }
    let judge = Judge { evaluate: &on_valid, metric };
    let chosen = fit(&mut *learner, &config.run, config.run.epochs, Some(judge), on_epoch, progress)?;
    drop(learner);
    let valid = evaluate(&*chosen.model, &split.valid, &train, &options, progress)?;
    let (fitted, chosen, seen) = if config.run.refit {
        let epochs = chosen.epoch;
        let both = train.union(&split.valid_rows.to_csr(n_users, n_items), 0..n_users);
        // At 20 M rows each of these is worth hundreds of megabytes.
        drop(train);
        let is_part = matches!(config.model, ModelConfig::Gmf(_) | ModelConfig::Mlp(_));
        let chosen = Some(chosen.model).filter(|_| is_part);
        let mut learner = self::learner(config, &both, data, Phase::Refit, device)?;
        let fitted = fit(&mut *learner, &config.run, epochs, None, on_epoch, progress)?;
        drop(learner);
        (fitted, chosen, both)
    } else {
        (chosen, None, train)
    };
    let test = evaluate(&*fitted.model, &split.test, &seen, &options, progress)?;
    let record = record(data, config, device, &fitted, Metrics { valid, test }, start);
    Ok(Trained { model: fitted.model, chosen, seen, record })
}

/// The learner of a config over a training matrix `[n_users, n_items]` of the data, for one fit of the run.
///
/// # Errors
/// When the settings cannot be met by the data or the device.
pub fn learner<'a>(
    config: &TrainConfig,
    train: &'a Csr,
    data: &Prepared,
    phase: Phase,
    device: &OpenDevice,
) -> Result<Box<dyn Learner + 'a>> {
    let seed = config.run.seed;
    Ok(match (&config.model, &config.burn) {
        (ModelConfig::Popularity(_), _) => Box::new(PopularityLearner::new(train)),
        (ModelConfig::Als(als), _) => {
            let mut learner = match &config.run.warm_start {
                None => AlsLearner::new(train, als.clone(), seed)?,
                Some(dir) => {
                    let Start { users, items } = warm_start::read(dir, data, als, seed)?;
                    AlsLearner::with_factors(train, als.clone(), users, items)?
                }
            };
            learner.set_loss(config.run.track_loss);
            Box::new(learner)
        }
        (model, burn) => {
            let burn = burn.clone().unwrap_or_default();
            match &config.run.pretrained {
                None => Box::new(BurnLearner::new(train, model, &burn, seed, device)?),
                Some(pretrained) => {
                    let weights = pretrained::weights(pretrained, model, data, phase)?;
                    Box::new(BurnLearner::with_weights(train, model, &burn, seed, weights, device)?)
                }
            }
        }
    })
}

/// How the models of a config are judged.
pub fn options(config: &TrainConfig) -> EvaluateOptions {
    let rating = config.model.output() == Output::Rating;
    EvaluateOptions::with(rating, config.run.seed, Some(config.select_by()))
}

fn record(
    data: &Prepared,
    config: &TrainConfig,
    device: &OpenDevice,
    fitted: &Fitted,
    metrics: Metrics,
    start: Instant,
) -> RunRecord {
    RunRecord {
        model: config.model.name(),
        config: serde_json::to_value(config.to_table()).unwrap_or_default(),
        data: DataFacts {
            name: data.name.clone(),
            synthetic: data.synthetic,
            hash: data.manifest.hash.clone(),
            path: None,
        },
        metrics,
        fit_seconds: fitted.seconds,
        total_seconds: start.elapsed().as_secs_f64(),
        epochs: fitted.epoch,
        peak_memory_bytes: peak_memory_bytes(),
        parameters: fitted.model.weights().iter().map(|(_, tensor)| tensor.len() as u64).sum(),
        device: if config.burn.is_some() { device.name.clone() } else { "cpu".to_owned() },
        threads: rayon::current_num_threads(),
        machine: Machine::read(),
        version: env!("CARGO_PKG_VERSION"),
        burn: burnrec_models::BURN_VERSION,
    }
}
