//! `release`: the versions of a model in one directory, and which of them serves.

use std::path::Path;

use anyhow::Result;
use burnrec::Releases;
use burnrec::train::releases::{self, LogEntry};
use serde_json::json;

use crate::cli::{By, Release, ReleaseAct};
use crate::show;

pub fn run(args: Release) -> Result<()> {
    match args.act {
        ReleaseAct::Publish { run, dir, by } => {
            let release = Releases::new(&dir).publish(&run, who(&by))?;
            show::say(format!("{} is release {release}", run.display()))?;
            show::say(format!("next: burnrec release promote {} {release}", dir.display()))?;
        }
        ReleaseAct::List { dir, log, json } => list(&dir, log, json)?,
        ReleaseAct::Promote { dir, release, by } => {
            Releases::new(&dir).promote(release, who(&by))?;
            show::say(format!("release {release} is promoted"))?;
        }
        ReleaseAct::Rollback { dir, by } => {
            let release = Releases::new(&dir).rollback(who(&by))?;
            show::say(format!("release {release} is promoted again"))?;
        }
        ReleaseAct::Prune { dir, keep, by } => {
            let pruned = Releases::new(&dir).prune(keep, who(&by))?;
            let pruned: Vec<String> = pruned.iter().map(u32::to_string).collect();
            let which = if pruned.is_empty() { "none".to_owned() } else { pruned.join(", ") };
            show::say(format!("releases removed: {which}"))?;
        }
    }
    Ok(())
}

fn who(by: &By) -> releases::By<'_> {
    releases::By { name: &by.by, note: &by.note }
}

fn list(dir: &Path, log: bool, json: bool) -> Result<()> {
    let releases = Releases::new(dir);
    let mut stdout = std::io::stdout().lock();
    if log {
        let entries = releases.log()?;
        if json {
            drop(stdout);
            show::say(json!(entries))?;
            return Ok(());
        }
        let row = |entry: &LogEntry| {
            let act = json!(entry.act).as_str().unwrap_or_default().to_owned();
            vec![entry.at.clone(), entry.by.clone(), act, entry.facts.release.to_string(), entry.note.clone()]
        };
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        return Ok(show::table(&mut stdout, &["at", "by", "act", "release", "note"], &rows)?);
    }
    let all = releases.list()?;
    if json {
        drop(stdout);
        show::say(json!(all))?;
        return Ok(());
    }
    let row = |release: &releases::Release| {
        let LogEntry { at, by, facts, note, .. } = &release.published;
        let scores: Vec<String> =
            facts.scores.iter().take(2).map(|(metric, value)| format!("{metric} {value:.4}")).collect();
        let promoted = if release.promoted { "promoted" } else { "" };
        let cells = [
            &facts.release.to_string(),
            promoted,
            &facts.model,
            &facts.hash,
            &scores.join(", "),
            at,
            by,
            note,
        ];
        cells.map(str::to_owned).to_vec()
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    Ok(show::table(
        &mut stdout,
        &["release", "", "model", "hash", "on test", "published", "by", "note"],
        &rows,
    )?)
}
