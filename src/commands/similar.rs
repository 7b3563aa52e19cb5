//! `similar`: the items that are most like an item.

use std::io::Write;

use anyhow::{Context, Result};
use burnrec::Recommender;
use serde_json::json;

use super::opening::for_pairs;
use crate::cli::Similar;
use crate::show;

pub fn run(args: Similar) -> Result<()> {
    let recommender = Recommender::open_on(&args.run, for_pairs(args.device.choice, 0))?;
    let best = recommender.similar(&args.item, args.k as usize);
    let best = best.with_context(|| args.run.display().to_string())?;
    let measure = recommender.model.likeness().map_or("likeness", |likeness| likeness.name());
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let items = show::json_items(&recommender, &best, measure)?;
        writeln!(stdout, "{}", json!({ "item": show::json_id(&recommender, &args.item)?, "items": items }))?;
        return Ok(());
    }
    Ok(show::table(&mut stdout, &["rank", "item", measure, "title"], &show::items(&best))?)
}
