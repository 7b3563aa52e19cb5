//! `evaluate`: judges a trained model again.

use std::io::Write;

use anyhow::{Context, Result};
use burnrec::data::Candidates;
use burnrec::models::saved::manifest;
use burnrec::{EvaluateOn, Prepared, Progress, evaluate_run};

use super::opening::open;
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
    let on = match args.on {
        On::Valid => EvaluateOn::Valid,
        On::Test => EvaluateOn::Test,
    };
    let holdout = on.holdout(&data);
    let n_pairs = match &holdout.candidates {
        Candidates::Unseen => holdout.len().saturating_mul(saved.n_items),
        Candidates::Drawn(lists) => lists.items().len(),
    };
    let run = open(&args.run, args.device.choice, n_pairs)?;
    let bars = Bars::default();
    let scores = evaluate_run(&run, &data, on, &bars)
        .with_context(|| format!("{} on {}", args.run.display(), dir.display()))?;
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
