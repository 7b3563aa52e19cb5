//! `evaluate`: judge a trained model again.

use std::io::Write;

use anyhow::{Context, Result, bail};
use burnrec_data::Prepared;
use burnrec_models::Output;
use burnrec_train::Progress;
use burnrec_train::evaluate::{EvaluateOptions, evaluate};

use super::open;
use crate::cli::{Evaluate, On};
use crate::progress::Bars;
use crate::show;

pub fn run(args: Evaluate) -> Result<()> {
    let (run, manifest) = open(&args.run, args.device.choice)?;
    if matches!(args.on, On::Valid) && manifest.record["config"]["refit"] == true {
        bail!(
            "{}: found a model fitted again on train and valid, expected one trained with refit = false; its scores \
             on valid from before are in {}",
            args.run.display(),
            args.run.join("manifest.json").display()
        );
    }
    let dir = args.data.or(manifest.data.path).context("no prepared data named; expected --data DIR")?;
    let data = Prepared::open(&dir)?;
    if data.manifest.hash != manifest.data.hash {
        bail!(
            "{}: found a split with hash {}, expected {}, which the run was trained on",
            dir.display(),
            data.manifest.hash,
            manifest.data.hash
        );
    }
    let holdout = match args.on {
        On::Valid => &data.split.valid,
        On::Test => &data.split.test,
    };
    let config = &manifest.record["config"];
    let seed = config["seed"].as_u64().unwrap_or_default();
    let select_by = config["select_by"].as_str().and_then(|name| name.parse().ok());
    let options = EvaluateOptions::with(manifest.output == Output::Rating, seed, select_by);
    let bars = Bars::default();
    let scores = evaluate(&*run.model, holdout, &run.seen, &options, &bars)?;
    bars.end();
    if args.json {
        show::say(format_args!("{}", serde_json::to_string(&scores)?))?;
        return Ok(());
    }
    let row = |&metric| vec![format!("{metric}"), show::interval(&scores, metric)];
    let rows: Vec<Vec<String>> = scores.metrics.keys().map(row).collect();
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{} on {}, {}", manifest.model.name(), data.name, scores.protocol)?;
    Ok(show::table(&mut stdout, &["metric", "value [95 %]"], &rows)?)
}
