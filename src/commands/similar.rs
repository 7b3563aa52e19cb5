//! `similar`: the items whose vectors point the same way.

use std::io::Write;

use anyhow::{Context, Result};
use burnrec_models::similar::similar;
use serde_json::json;

use super::{ids, open};
use crate::cli::Similar;
use crate::show;

pub fn run(args: Similar) -> Result<()> {
    let (run, manifest) = open(&args.run, args.device.choice)?;
    let item = ids::item(&run, &args.item)?;
    let vectors = run.model.item_vectors().with_context(|| {
        format!("{}: {} has no item vectors to compare", args.run.display(), manifest.model.name())
    })?;
    let best = similar(vectors, item, args.k as usize);
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let items: Vec<_> = best
            .iter()
            .map(|&(item, cosine)| {
                json!({ "item": run.items.id(item.0), "title": ids::title(&run.titles, item), "cosine": cosine })
            })
            .collect();
        writeln!(stdout, "{}", json!({ "item": run.items.id(item.0), "items": items }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = best
        .iter()
        .enumerate()
        .map(|(at, &(item, cosine))| {
            let id = run.items.id(item.0).to_string();
            vec![format!("{}", at + 1), id, format!("{cosine:.4}"), ids::title(&run.titles, item)]
        })
        .collect();
    Ok(show::table(&mut stdout, &["rank", "item", "cosine", "title"], &rows)?)
}
