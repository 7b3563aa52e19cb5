//! `replay`: a range of a topic, or what was rejected, answered again.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use burnrec::serve::kafka::{Range, replay};
use burnrec::serve::metrics::OutcomeLabels;
use serde_json::json;

use super::serve::{log, teller};
use crate::cli::Replay;
use crate::interrupt;
use crate::layers::given;
use crate::show;

pub fn run(args: Replay) -> Result<()> {
    log(args.server.log)?;
    let config = given(&args.server.settings.set)?.serve_config(&args.server.config)?;
    interrupt::install_telling(teller(args.server.log))?;
    let range = Range { rejects: args.rejects, from: args.from, to: args.to, only: None };
    let ends = replay(&config, &range, &interrupt::asked)?;
    print(&ends, args.json)?;
    let is_left = |ended: &OutcomeLabels| !["replied", "filtered", "resubmitted"].contains(&ended.outcome);
    let left: u64 = ends.iter().filter(|(ended, _)| is_left(ended)).map(|(_, n)| n).sum();
    if args.rejects && left > 0 {
        bail!("{left} of the rejects could not be answered");
    }
    Ok(())
}

fn print(ends: &BTreeMap<OutcomeLabels, u64>, json: bool) -> Result<()> {
    if json {
        let all =
            ends.iter().map(|(ended, n)| json!({ "outcome": ended.outcome, "of": ended.of, "count": n }));
        show::say(json!(all.collect::<Vec<_>>()))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = ends
        .iter()
        .map(|(ended, n)| vec![ended.outcome.to_owned(), ended.of.to_owned(), n.to_string()])
        .collect();
    Ok(show::table(&mut std::io::stdout().lock(), &["outcome", "of", "events"], &rows)?)
}
