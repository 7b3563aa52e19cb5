//! `similar`: the items whose vectors point the same way.

use std::io::Write;

use anyhow::{Context, Result};
use burnrec::Recommender;
use serde_json::{Value, json};

use crate::cli::Similar;
use crate::show;

pub fn run(args: Similar) -> Result<()> {
    let recommender = Recommender::open_on(&args.run, args.device.choice)?;
    let best = recommender.similar(&args.item, args.k as usize);
    let best = best.with_context(|| args.run.display().to_string())?;
    let mut stdout = std::io::stdout().lock();
    if args.json {
        // An integer id is a number in JSON.
        let id =
            |id: &str| -> Result<Value> { Ok(json!(recommender.items.vocab().id(recommender.item(id)?.0))) };
        let items = best.iter().map(|item| {
            let title = item.title.clone().unwrap_or_default();
            Ok(json!({ "item": id(&item.id)?, "title": title, "cosine": item.score }))
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        writeln!(stdout, "{}", json!({ "item": id(&args.item)?, "items": items }))?;
        return Ok(());
    }
    Ok(show::table(&mut stdout, &["rank", "item", "cosine", "title"], &show::items(&best))?)
}
