//! `evaluate`: judges a trained model again.

use std::io::Write;

use anyhow::{Context, Result, bail};
use burnrec::data::Candidates;
use burnrec::models::saved::manifest;
use burnrec::models::trained::Answering;
use burnrec::train::evaluate::evaluate;
use burnrec::{EvaluateOptions, Prepared, Progress, RunRecord};

use super::open;
use crate::cli::{Evaluate, On};
use crate::progress::Bars;
use crate::show;

pub fn run(args: Evaluate) -> Result<()> {
    let saved = manifest(&args.run)?;
    let dir = args
        .data
        .or_else(|| saved.data.path.clone())
        .context("no prepared data named; expected --data DIR")?;
    let data = Prepared::open(&dir)?;
    let holdout = match args.on {
        On::Valid => &data.split.valid,
        On::Test => &data.split.test,
    };
    let n_pairs = match &holdout.candidates {
        Candidates::Unseen => holdout.len().saturating_mul(saved.n_items),
        Candidates::Drawn(lists) => lists.items().len(),
    };
    let run = open(&args.run, args.device.choice, n_pairs)?;
    let config = RunRecord::of(&run).and_then(|record| record.run_config());
    let config = config.with_context(|| args.run.display().to_string())?;
    if matches!(args.on, On::Valid) && config.refit {
        bail!(
            "{}: found a model fitted again on train and valid, expected one trained with refit = false; its scores \
             on valid from before are in {}",
            args.run.display(),
            args.run.join("manifest.json").display()
        );
    }
    if data.manifest.hash != run.data.hash {
        bail!(
            "{}: found a split with hash {}, expected {}, which the run was trained on",
            dir.display(),
            data.manifest.hash,
            run.data.hash
        );
    }
    let options = EvaluateOptions::of(&run.model.config(), holdout, config.seed, config.select_by);
    let bars = Bars::default();
    let answering = Answering::new(&*run.model, run.trained());
    let scores = evaluate(&answering, holdout, &run.seen, &options, &bars)?;
    bars.end();
    if args.json {
        show::say(format_args!("{}", serde_json::to_string(&scores)?))?;
        return Ok(());
    }
    let row = |&metric| vec![format!("{metric}"), show::interval(&scores, metric)];
    let rows: Vec<Vec<String>> = scores.metrics.keys().map(row).collect();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{} on {}, {}", run.kind(), data.name, scores.protocol)?;
    Ok(show::table(&mut stdout, &["metric", "value [95 %]"], &rows)?)
}
